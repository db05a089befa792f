"""A run's spec with other thresholds: the rules that `what-if` replaces, written into the spec that the run had.

A rule of a rule file cannot be changed in its place, so the file's rules are written out where the file was named; their
reasons stay as they were. A rule about what no rule tested before comes after all others.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from pipelines.runs import RunFolder
from pipelines.service.pages.editing import Asked, edited
from pipelines.service.pages.written import as_yaml
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from pipelines.service.service import Service
from pipelines.what_if import changed, parse
from stages.rule_models import TESTS
from stages.rules import BoundRule

router = APIRouter(include_in_schema=False)


@router.get("/runs/{run}/fork")
def fork(
    request: Request,
    run: RunId,
    service: Served,
    token: Reader,
    rule: Annotated[list[str], Query(min_length=1, max_length=20)],
) -> Response:
    """The editor with the run's spec and these rules in it."""
    spec = as_yaml(forked(service, run, rule))
    return edited(request, service, token, Asked(spec=spec, action="edit", forked_from=service.row(run).id))


def forked(service: Service, run: str, rules: Sequence[str]) -> dict[str, Any]:
    """The spec of a finished run with these rules (such as `stats.words>=50`) in place of its own.

    Raises:
        NotFoundError: there is no such run.
        ConflictError: it has not finished.
        SpecError: a rule cannot be read, or does not fit the run.
    """
    view, spec = service.view(run), service.reading.spec(run)
    changes = [parse(rule, view) for rule in rules]
    policy = changed(view.policy, changes)
    now = dict(zip((r.index for r in view.policy.plain), policy.plain, strict=False))
    touched = {r.index for change in changes for r in change.replaces}
    files = RunFolder(view.store, view.run).find("spec.json")["rules"]
    plain, keep = iter(view.policy.plain), list[dict[str, Any]]()
    for entry in spec.get("keep") or []:
        mine = tuple(islice(plain, _count(entry, files)))
        keep += _entries(entry, mine, now, touched)
    added = policy.plain[len(view.policy.plain) :]
    return {**spec, "keep": [*keep, *map(written, added)]}


def _count(entry: Mapping[str, Any], files: Mapping[str, Any]) -> int:
    """How many plain rules an entry stands for."""
    return 1 if "column" in entry else len(files[entry["rules"]]["rules"]) if "rules" in entry else 0


def _entries(
    entry: Mapping[str, Any], mine: Sequence[BoundRule], now: Mapping[int, BoundRule], touched: set[int]
) -> Iterator[dict[str, Any]]:
    if not any(rule.index in touched for rule in mine):
        yield dict(entry)
    elif "column" in entry:
        rule = now[mine[0].index]
        kept = {k: v for k, v in entry.items() if k not in TESTS and (k != "per" or rule.per)}
        yield {"column": kept.pop("column"), rule.test: _plain(rule.value), **kept}
    else:
        yield from (written(now[rule.index]) for rule in mine)


def written(rule: BoundRule) -> dict[str, Any]:
    """A bound rule as an entry of `keep`."""
    entry: dict[str, Any] = {"column": rule.column, rule.test: _plain(rule.value)}
    entry |= {"per": rule.per} if rule.per else {}
    entry |= {"where": {column: list(allowed) for column, allowed in rule.where}} if rule.where else {}
    entry |= {"on_null": rule.on_null, "reason": rule.reason}
    return entry | ({"cite": rule.cite} if rule.cite else {})


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | int | float | str) else str(value)
