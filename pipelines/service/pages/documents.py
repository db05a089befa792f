"""The document browser: what was kept, rejected and quarantined, by reason and by what was measured, in any order."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipelines.sample import FATES, value_columns
from pipelines.service.explorer.columns import TooManyTextsError
from pipelines.service.explorer.explorer import Explorer, Found
from pipelines.service.pages.asking import EVERY, KNOWN, UNKNOWN, Asked, AskedFor, cluster_columns, shown_columns
from pipelines.service.pages.rendering import page
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from stages.rule_models import SYMBOLS

router = APIRouter(include_in_schema=False)

#: Characters of a text that a list shows.
BEGINNING = 240
_TESTS = {**{symbol.strip(): symbol for symbol in SYMBOLS.values()}, "in": " in "}
_WORDS = {"is unknown": UNKNOWN, "is known": KNOWN}


@router.get("/runs/{run}/documents")
def documents(  # noqa: PLR0913, PLR0917 - what the address says
    request: Request,
    run: RunId,
    service: Served,
    token: Reader,
    asked: AskedFor,
    texts: Annotated[bool, Query()] = False,  # noqa: FBT002 - an option of the address
    column: Annotated[str, Query(max_length=200)] = "",
    test: Annotated[str, Query(max_length=20)] = "",
    value: Annotated[str, Query(max_length=2_000)] = "",
    page_number: Annotated[int | None, Query(alias="page", ge=1, le=2**40)] = None,
) -> Response:
    """A page of documents; with a test from the form, the address that has it."""
    del token
    row = service.row(run)
    here = f"/runs/{row.id}/documents"
    if column or test or page_number is not None:
        return RedirectResponse(f"{here}?{_with(asked, column, test, value, page_number)}", 303)
    explorer: Explorer = service.explorer(run)
    view = explorer.view
    columns = shown_columns(view)
    extra = _all_held(explorer, columns) if EVERY in asked.columns else list(asked.columns)
    found = explorer.documents(
        asked.fate,
        asked.reason,
        asked.tests(),
        offset=asked.offset,
        limit=asked.limit,
        sort=asked.sort,
        columns=extra,
    )
    beginnings = explorer.read(found.places, BEGINNING) if texts and found.places else None
    return page(
        request,
        "documents.html.j2",
        here="runs",
        row=row,
        run=view.run,
        asked=asked,
        columns=columns,
        clusters=cluster_columns(view),
        values=_values(found, value_columns(view), extra),
        rules=set(value_columns(view)),
        found=found,
        beginnings=beginnings,
        tabs=_tabs(explorer, asked),
        reasons=_reasons(explorer),
        tests=[*_TESTS, *_WORDS],
    )


def _with(asked: Asked, column: str, test: str, value: str, number: int | None) -> str:
    if number is not None:
        return asked.query(offset=(number - 1) * asked.limit)
    written = f"{column}{_WORDS[test]}" if test in _WORDS else f"{column}{_TESTS.get(test, test)}{value}"
    wanted = asked.where if written in asked.where or not column else (*asked.where, written)
    return asked.query(where=wanted, offset=0)


def _all_held(explorer: Explorer, columns: Mapping[str, str]) -> list[str]:
    """Every column that arrays can hold; looked at for the first time, it is read from its sidecars."""
    found = []
    for name in columns:
        try:
            explorer.arrays.column(name)
        except TooManyTextsError:
            continue
        found.append(name)
    return found


def _values(found: Found, rules: list[str], extra: list[str]) -> list[str]:
    """The columns that the page has values of, those of rules first."""
    there = found.rows[0].get("values", {}) if found.rows else {}
    return [name for name in dict.fromkeys([*rules, *extra]) if name in there]


def _tabs(explorer: Explorer, asked: Asked) -> list[tuple[str, str | None, int, str]]:
    """Every fate with its documents: how it is called, what it is, how many there are, and its address."""
    counts = dict(explorer.arrays.meta["fates"])
    counts["quarantined"] = explorer.documents("quarantined", limit=0).total
    whole = asked.query(fate=None, reason=None, offset=0)
    tabs: list[tuple[str, str | None, int, str]] = [("all documents", None, explorer.arrays.rows, whole)]
    for fate in FATES:
        changes: dict[str, Any] = {"fate": fate, "reason": None, "offset": 0}
        if fate == "quarantined":
            changes |= {"where": (), "sort": None, "columns": ()}
        tabs.append((fate, fate, counts[fate], asked.query(**changes)))
    return tabs


def _reasons(explorer: Explorer) -> list[tuple[str, int]]:
    """Every reason that rejected something, the most frequent first."""
    counts = explorer.arrays.meta["counts"]
    return sorted(((r, n) for r, n in counts.items() if n), key=lambda found: -found[1])
