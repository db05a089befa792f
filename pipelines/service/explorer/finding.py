"""Finding documents: by what became of them, why, and what was measured; a page at a time, in any order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sample import FATES
from pipelines.service.explorer.arrays import Arrays
from pipelines.service.explorer.failing import Failing
from pipelines.service.explorer.judging_again import thresholds_of
from pipelines.service.explorer.parts import CHUNK, chunks
from pipelines.what_if import parse
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.rules import TESTS, BoundPolicy, BoundRule, check_value

#: A test of a column: `("stats.words", "ge", 50)`, `("lang.code", "null", True)`, or as text `"stats.words>=50"`.
Where = str | tuple[str, str, Any]
NULL = "null"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which documents are asked for; what is not given does not matter."""

    fate: str | None = None
    reason: str | None = None
    where: tuple[Where, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether every document is asked for."""
        return self.fate is None and self.reason is None and not self.where


def mask_of(arrays: Arrays, wanted: Filter) -> Mask:
    """Which documents are wanted. A document without a value passes no test but `null`.

    Raises:
        SpecError: an unknown fate, reason, column or test, or a value that does not fit its column.
    """
    if wanted.fate is not None and wanted.fate not in FATES:
        raise SpecError(
            f"the fate {wanted.fate!r} does not exist{did_you_mean(wanted.fate, list(FATES))}", fate=wanted.fate
        )
    if wanted.reason is not None and wanted.reason not in arrays.reasons:
        raise SpecError(
            f"no rule of this run gives the reason {wanted.reason!r}{did_you_mean(wanted.reason, arrays.reasons)}",
            reason=wanted.reason,
        )
    rules, nulls = _tests(arrays, wanted.where)
    thresholds = thresholds_of(arrays, BoundPolicy(rules))
    judges = [Failing(arrays, rule, thresholds) for rule in rules]
    absent = [(arrays.column(c), value) for c, value in nulls]
    mask = np.ones(arrays.rows, np.bool_)
    for a, b in chunks(arrays.rows):
        here = mask[a:b]
        if wanted.fate is not None:
            here &= arrays.fate[a:b] == FATES.index(wanted.fate)
        if wanted.reason is not None:
            here &= arrays.failed(wanted.reason, a, b)
        for fails in judges:
            here &= ~fails(a, b)
        for column, value in absent:
            here &= column.present(slice(a, b)) != value
    return mask


def _tests(arrays: Arrays, where: Sequence[Where]) -> tuple[tuple[BoundRule, ...], list[tuple[str, bool]]]:
    rules: list[BoundRule] = []
    nulls: list[tuple[str, bool]] = []
    for number, given in enumerate(where):
        if isinstance(given, str):
            change = parse(given, arrays.view)
            column, test, value = change.column, str(change.test), change.value
        else:
            column, test, value = given
            arrays.column(column)
            if test == NULL:
                nulls.append((column, bool(value)))
                continue
            if test not in TESTS:
                raise SpecError(f"there is no test {test!r}{did_you_mean(test, [*TESTS, NULL])}", test=test)
            value = check_value(arrays.view.fields[column], column, test, value, f"where {column} {test}")
        # Nobody else's reason: percentiles are found under it.
        rules.append(BoundRule(number, f"\0{number}", column, test, value, "drop"))  # type: ignore[arg-type]  # checked
    return tuple(rules), nulls


def page(arrays: Arrays, mask: Mask | None, offset: int, limit: int, sort: str | None) -> NDArray[np.int64]:
    """Some of the wanted documents, after so many others.

    `sort` is a column, or one after `-` for the largest first; who has no value comes last. Documents come as the run has
    them otherwise, and where values are equal (after `-`, the other way round).
    """
    if sort is None:
        rows = np.arange(offset, min(offset + limit, arrays.rows)) if mask is None else _nth(mask, offset, limit)
        return rows.astype(np.int64)
    found: list[NDArray[Any]] = []
    skip, left = offset, limit
    for here in _in_order(arrays, sort):
        some = here if mask is None else here[mask[here]]
        if skip >= len(some):
            skip -= len(some)
            continue
        found.append(some[skip : skip + left])
        skip, left = 0, left - len(found[-1])
        if not left:
            break
    return np.concatenate([*found, np.empty(0, np.int64)]).astype(np.int64)


def _in_order(arrays: Arrays, sort: str) -> Iterator[NDArray[Any]]:
    """The documents in the order of a column, some at a time."""
    name = sort.removeprefix("-")
    order = arrays.order(name)
    order = order[::-1] if sort.startswith("-") else order
    for start in range(0, len(order), CHUNK):
        yield order[start : start + CHUNK]
    column = arrays.column(name)
    if column.valid is not None:
        for a, b in chunks(arrays.rows):
            yield a + np.flatnonzero(~column.present(slice(a, b)))


def _nth(mask: Mask, offset: int, limit: int) -> NDArray[np.int64]:
    """Where a mask is true, after so many others."""
    found: list[NDArray[Any]] = []
    skip, left = offset, limit
    for a, b in chunks(len(mask)):
        here = mask[a:b]
        many = int(np.count_nonzero(here))
        if skip >= many:
            skip -= many
            continue
        found.append(a + np.flatnonzero(here)[skip : skip + left])
        skip, left = 0, left - len(found[-1])
        if not left:
            break
    return np.concatenate([*found, np.empty(0, np.int64)])
