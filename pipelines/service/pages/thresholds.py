"""The threshold explorer: how a column is spread, and what another threshold would keep, while it is moved."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

import pyarrow as pa
from fastapi import APIRouter, Depends, Query, Request, Response

from pipelines.service.explorer.explorer import Explorer
from pipelines.service.pages.asking import shown_columns
from pipelines.service.pages.histogram import figure, in_roots
from pipelines.service.pages.rendering import page
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from pipelines.view import RunView
from stages.errors import SpecError
from stages.rules import SYMBOLS, BoundRule, Percentile

router = APIRouter(include_in_schema=False)

#: Places of a range input, bars of a histogram, examples on each side, characters of each, values of a text column.
STEPS, BINS, EXAMPLES, BEGINNING, VALUES = 500, 80, 5, 400, 60
BOUNDS = ("ge", "gt", "le", "lt")


@dataclass(frozen=True, slots=True)
class Threshold:
    """A test of a column as an address has it; of texts there may be several values."""

    column: str | None
    test: str | None
    values: tuple[str, ...]
    others: tuple[str, ...]  # rules that are changed besides

    @property
    def rule(self) -> str:
        """The rule that it comes to."""
        symbol = SYMBOLS.get(self.test or "", self.test)  # type: ignore[call-overload]  # any text is looked up
        return f"{self.column} {symbol} {', '.join(self.values)}"

    @property
    def rules(self) -> list[str]:
        """Every changed rule."""
        return [*self.others, *([self.rule] if self.column and self.values else [])]

    def query(self) -> str:
        """The query string that asks for it."""
        pairs = [("column", self.column), ("test", self.test), *(("value", v) for v in self.values)]
        return urlencode([*((k, v) for k, v in pairs if v), *(("rule", r) for r in self.others)])


def threshold(
    column: Annotated[str | None, Query(max_length=200)] = None,
    test: Annotated[str | None, Query(max_length=10)] = None,
    value: Annotated[list[str] | None, Query(max_length=VALUES)] = None,
    rule: Annotated[list[str] | None, Query(max_length=20)] = None,
) -> Threshold:
    """What an address asks for."""
    return Threshold(column or None, test or None, tuple(v for v in value or () if v), tuple(rule or ()))


Wanted = Annotated[Threshold, Depends(threshold)]


@router.get("/runs/{run}/thresholds")
def thresholds(request: Request, run: RunId, service: Served, token: Reader, wanted: Wanted) -> Response:
    """A column, its histogram and a threshold on it."""
    del token
    row = service.row(run)
    explorer: Explorer = service.explorer(run)
    columns = _columns(explorer.view)
    if wanted.column is None and not columns:
        return page(request, "thresholds.html.j2", here="runs", row=row, columns={}, wanted=wanted)
    wanted = _complete(explorer.view, wanted, columns)
    spread = explorer.histogram(str(wanted.column), BINS)
    if wanted.test in BOUNDS and not wanted.values and spread["kind"] == "number":
        low, high = _ends(explorer, wanted, spread)
        end = low if wanted.test in ("ge", "gt") else high
        wanted = Threshold(wanted.column, wanted.test, (_written(end),), wanted.others)
    return page(
        request,
        "thresholds.html.j2",
        here="runs",
        row=row,
        columns=columns,
        wanted=wanted,
        own=[r for r in explorer.view.policy.plain if r.column == wanted.column],
        thresholds=explorer.view.thresholds,
        symbols=SYMBOLS,
        spread=spread,
        range=_range(explorer, wanted, spread),
        outcome=_outcome(explorer, wanted),
        most_values=VALUES,
    )


@router.get("/runs/{run}/thresholds/outcome")
def outcome(request: Request, run: RunId, service: Served, token: Reader, wanted: Wanted) -> Response:
    """What the threshold would keep, while it is moved; the page's address follows."""
    del token
    row = service.row(run)
    told = _outcome(service.explorer(run), wanted)
    address = {"HX-Replace-Url": f"/runs/{row.id}/thresholds?{wanted.query()}"}
    return page(request, "thresholds_outcome.html.j2", headers=address, row=row, wanted=wanted, outcome=told)


@router.get("/runs/{run}/thresholds/borderline")
def borderline(request: Request, run: RunId, service: Served, token: Reader, wanted: Wanted) -> Response:
    """The documents nearest to the threshold, with the beginnings of their texts."""
    del token
    row = service.row(run)
    sides = _borderline(service.explorer(run), wanted)
    return page(request, "thresholds_borderline.html.j2", row=row, wanted=wanted, sides=sides)


def _columns(view: RunView) -> dict[str, str]:
    """The columns that a rule may test; those that the run's rules test come first."""
    every = shown_columns(view)
    first = [c for c in view.policy.plain_columns if c in every]
    return {name: every[name] for name in dict.fromkeys([*first, *every])}


def _complete(view: RunView, wanted: Threshold, columns: Mapping[str, str]) -> Threshold:
    """The same with what the run has where the address says nothing: its first rule, or that of the column."""
    column = wanted.column or next(iter(columns))
    same = [r for r in view.policy.plain if r.column == column and wanted.test in (None, r.test)]
    if wanted.test is None and same:
        wanted = Threshold(column, same[0].test, wanted.values, wanted.others)
    test = wanted.test or ("ge" if columns.get(column) == "number" else "in")
    values = wanted.values or (_values_of(same[0]) if same else ())
    return Threshold(column, test, values, wanted.others)


def _values_of(rule: BoundRule) -> tuple[str, ...]:
    if isinstance(rule.value, tuple):
        return tuple(map(str, rule.value))
    return (str(rule.value) if isinstance(rule.value, Percentile) else _written(rule.value),)


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) and value == float(f"{value:g}") else str(value)


def _range(explorer: Explorer, wanted: Threshold, spread: Mapping[str, Any]) -> dict[str, Any] | None:
    """The range input over a histogram of numbers: its ends, step and place."""
    if spread["kind"] != "number" or wanted.test not in BOUNDS or not wanted.values:
        return None
    edges = spread["edges"]
    whole = _whole(explorer, wanted)
    limit = _limit(explorer, wanted)
    ends = _ends(explorer, wanted, spread)
    step = max(1, round((ends[1] - ends[0]) / STEPS)) if whole else (ends[1] - ends[0]) / STEPS
    shown = {**spread, "edges": [ends[0], *edges[1:-1], ends[1]]}
    label = f"How {wanted.column} is spread, with the threshold as a line"
    return {
        "low": ends[0],
        "high": ends[1],
        "step": step,
        "whole": whole,
        "value": ends[0] if limit is None else limit,
        "figure": figure(shown, limit, label),
        "roots": in_roots(spread),
    }


def _whole(explorer: Explorer, wanted: Threshold) -> bool:
    return bool(pa.types.is_integer(explorer.view.fields[str(wanted.column)].type))


def _ends(explorer: Explorer, wanted: Threshold, spread: Mapping[str, Any]) -> tuple[float, float]:
    """Where what is drawn begins and ends; at whole numbers where the column has only these."""
    low, high = spread["edges"][0], spread["edges"][-1]
    return (math.floor(low), math.ceil(high)) if _whole(explorer, wanted) else (low, high)


def _limit(explorer: Explorer, wanted: Threshold) -> float | None:
    """The threshold as a number: a percentile is that of all documents."""
    found: float | None = explorer.borderline(str(wanted.column), _number(wanted.values[0]), 0, test=str(wanted.test))[
        "value"
    ]
    return found


def _number(text: str) -> float | str:
    if Percentile.parse(text) is not None:
        return text
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise SpecError(f"the threshold {text!r} is no number and no percentile such as p70; write one of these")
    return int(text) if text.lstrip("+-").isdecimal() else number


def _outcome(explorer: Explorer, wanted: Threshold) -> dict[str, Any]:
    found = explorer.what_if(wanted.rules)
    before, after = found["before"]["reasons"], found["after"]["reasons"]
    names = dict.fromkeys([*before, *after])
    changed: Sequence[tuple[str, int, int]] = [
        (n, before.get(n, 0), after[n]) for n in names if n in after and before.get(n, 0) != after[n]
    ]
    return {**found, "changed": changed}


def _borderline(explorer: Explorer, wanted: Threshold) -> list[dict[str, Any]]:
    """Both sides of the threshold, the one that stays first; none for what has no sides."""
    if wanted.column is None or wanted.test not in BOUNDS or not wanted.values:
        return []
    found = explorer.borderline(wanted.column, _number(wanted.values[0]), EXAMPLES, test=wanted.test)
    passing = "above" if wanted.test in ("ge", "gt") else "below"
    sides = []
    for side in (passing, "below" if passing == "above" else "above"):
        rows = found[side]
        texts = explorer.read([row["place"] for row in rows], BEGINNING)
        documents = [{**row, **text} for row, text in zip(rows, texts, strict=True)]
        sides.append({"passes": side == passing, "documents": documents})
    return sides
