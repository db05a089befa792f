"""How the values of a column are spread, and which documents lie at a threshold: from the documents in their order."""

import math
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from pipelines.sample import FATES
from pipelines.service.explorer.arrays import Arrays
from pipelines.service.explorer.judging_again import percentile_of
from pipelines.service.explorer.parts import chunks
from stages.errors import SpecError
from stages.rules import Percentile, Request, check_value

if TYPE_CHECKING:
    from stages.rule_models import Test

#: What part of the values at each end a histogram leaves to `below` and `above`, unless it is told where to begin and end.
TAIL = 0.005
#: Documents that are looked at at once, on the way from a threshold to those of a fate.
STEP = 4096
#: Distinct values of a text column that are counted one by one.
MOST_VALUES = 1000


def histogram(
    arrays: Arrays, column: str, bins: int, fate: str | None, low: float | None, high: float | None
) -> dict[str, Any]:
    """Documents by value and fate; a bin has its lower edge and not its upper one, but for the last, which has both.

    Raises:
        SpecError: there is no such column, or it is neither number, truth value nor text.
    """
    held = arrays.column(column)
    fates = [f for f in FATES if fate in (None, f)]
    if held.kind != "number":
        return {"column": column, "kind": held.kind, "values": _by_value(arrays, column, fates)}
    order = arrays.order(column)
    edges = _edges(held.values, order, bins, low, high)
    places = _places(held.values, order, edges)
    in_order = arrays.fates_in_order(column)
    cuts = list(pairwise([0, *places, len(order)]))
    counts = np.array([[np.count_nonzero(in_order[a:b] == f) for a, b in cuts] for f in range(len(FATES))])
    everybody = [arrays.meta["fates"][f] for f in FATES]
    absent = np.array(everybody) - counts.sum(axis=1)
    rows = {f: counts[FATES.index(f)].tolist() for f in fates}
    return {
        "column": column,
        "kind": "number",
        "edges": edges.tolist(),
        "counts": {f: found[1:-1] for f, found in rows.items()},
        "below": {f: found[0] for f, found in rows.items()},
        "above": {f: found[-1] for f, found in rows.items()},
        "null": {f: int(absent[FATES.index(f)]) for f in fates},
        "least": held.values[order[0]].item() if len(order) else None,
        "most": held.values[order[-1]].item() if len(order) else None,
    }


def _edges(values: NDArray[Any], order: NDArray[Any], bins: int, low: float | None, high: float | None) -> NDArray[Any]:
    last = len(order) - 1
    if last < 0:
        return np.array([0.0, 1.0])
    begin = float(values[order[int(TAIL * last)]]) if low is None else float(low)
    end = float(values[order[math.ceil((1 - TAIL) * last)]]) if high is None else float(high)
    if not (math.isfinite(begin) and math.isfinite(end)) or begin > end:
        raise SpecError(f"a histogram cannot go from {begin} to {end}; give the lower end first")
    whole = np.issubdtype(values.dtype, np.integer)
    if whole and end - begin < bins and begin.is_integer() and end.is_integer():
        return np.arange(begin, end + 2) - 0.5  # a bin for each whole number
    if begin == end:
        end = max(begin + 1.0, math.nextafter(begin, math.inf))
    return np.unique(np.linspace(begin, end, bins + 1))


def _places(values: NDArray[Any], order: NDArray[Any], edges: NDArray[Any]) -> list[int]:
    """Where each edge lies among the documents in their order; the last one after those that are equal to it."""
    return [place_of(values, order, e, after=i == len(edges) - 1) for i, e in enumerate(edges)]


def place_of(values: NDArray[Any], order: NDArray[Any], limit: Any, *, after: bool) -> int:
    """How many documents lie before a number, or at it too where `after`."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        value = values[order[middle]].item()  # Python compares whole and broken numbers exactly
        if value < limit or (after and value == limit):
            low = middle + 1
        else:
            high = middle
    return low


def _by_value(arrays: Arrays, column: str, fates: list[str]) -> list[dict[str, Any]]:
    """Documents of each value of a text or truth column, the most frequent values first, and of none at all."""
    held = arrays.column(column)
    names = [False, True] if held.dictionary is None else held.dictionary.to_pylist()
    counts = np.zeros((len(names) + 1, len(FATES)), np.int64)
    for a, b in chunks(arrays.rows):
        codes = np.where(held.present(slice(a, b)), held.values[a:b].astype(np.int64), len(names))
        cells = np.bincount(codes * len(FATES) + arrays.fate[a:b], minlength=counts.size)
        counts += cells.reshape(counts.shape)
    counted = [FATES.index(f) for f in fates]
    total = counts[:, counted].sum(axis=1)
    chosen = [int(i) for i in np.argsort(-total, kind="stable")[:MOST_VALUES] if total[i]]
    values = [*names, None]
    return [{"value": values[i], **{f: int(counts[i, FATES.index(f)]) for f in fates}} for i in chosen]


def around(
    arrays: Arrays, column: str, value: float | str, n: int, test: str, fate: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], float | int | None]:
    """The documents nearest to a threshold: those below it, nearest first, those above it, and the threshold itself.

    Who is equal to it lies with those that pass the test, as for a rule. A percentile is that of all documents.

    Raises:
        SpecError: there is no such column, it is no number, or the value does not fit it.
    """
    held = arrays.column(column)
    if held.kind != "number":
        raise SpecError(
            f"{column!r} is no number, so nothing lies near a threshold of it; filter by a value", column=column
        )
    if test not in ("ge", "gt", "le", "lt"):
        raise SpecError(f"nothing lies near a threshold of {test!r}; ask for ge, gt, le or lt", test=test)
    limit = check_value(arrays.view.fields[column], column, cast("Test", test), value, f"{column} {test}")
    if isinstance(limit, Percentile):
        limit = percentile_of(arrays, Request(column, None, limit))
    nobody = np.empty(0, np.int64)
    if limit is None:
        return nobody, nobody, None
    if np.issubdtype(held.values.dtype, np.floating):
        with np.errstate(over="ignore"):
            limit = held.values.dtype.type(limit).item()  # as a rule compares
    order = arrays.order(column)
    place = place_of(held.values, order, limit, after=test in ("gt", "le"))
    return _first(arrays, order[:place][::-1], n, fate), _first(arrays, order[place:], n, fate), limit


def _first(arrays: Arrays, rows: NDArray[Any], n: int, fate: str | None) -> NDArray[np.int64]:
    """The first documents of a fate."""
    found: list[NDArray[Any]] = []
    left = n
    for start in range(0, len(rows), STEP):
        here = rows[start : start + STEP]
        mine = here if fate is None else here[arrays.fate[here] == FATES.index(fate)]
        found.append(mine[:left])
        left -= len(found[-1])
        if left <= 0:
            break
    return np.concatenate([*found, np.empty(0, np.int64)]).astype(np.int64)
