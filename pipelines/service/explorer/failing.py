"""Whom a rule rejects, over arrays: the run's own judge, asked for as little as possible.

Texts are judged once for each distinct one. Numbers are judged as if all were known; what is unknown, and where the rule
does not apply, is put right afterwards, which says the same: a null's outcome depends on `on_null` alone.
"""

from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.service.explorer.arrays import Arrays
from pipelines.service.explorer.columns import Column
from stages.rules import BoundRule, Thresholds, failing, judge

Mask = NDArray[np.bool_]


class Failing:
    """Says for rows of the arrays whether a rule rejects them."""

    def __init__(self, arrays: Arrays, rule: BoundRule, thresholds: Thresholds) -> None:
        self._arrays, self._rule, self._thresholds = arrays, rule, thresholds
        self._column = arrays.column(rule.column)
        self._bare = replace(rule, where=())
        self._by_text = _by_text(self._bare, self._column)
        # A document to which the rule does not apply has none of the allowed values, or no value.
        self._where = [Failing(arrays, _within(column, allowed), {}) for column, allowed in rule.where]

    def __call__(self, start: int, stop: int) -> Mask:
        """The mask of the rows from `start` to `stop`."""
        if self._rule.per:
            mask = self._judged(start, stop, nulls=True)
        else:
            mask = self._values(start, stop)
            if self._column.valid is not None:
                valid = np.asarray(self._column.valid[start:stop])
                mask = mask | ~valid if self._rule.on_null == "drop" else mask & valid
        for outside in self._where:
            mask = mask & ~outside(start, stop)
        return mask

    def _values(self, start: int, stop: int) -> Mask:
        """The same with anything at all where there is no value."""
        if self._by_text is None:
            return self._judged(start, stop, nulls=False)
        mask: Mask = np.take(self._by_text, self._column.values[start:stop])
        return mask

    def _judged(self, start: int, stop: int, *, nulls: bool) -> Mask:
        columns = [self._arrays.column(c) for c in dict.fromkeys(self._bare.columns)]
        table = pa.table([c.array(start, stop, nulls=nulls) for c in columns], [c.name for c in columns])
        mask: Mask = failing(judge([self._bare], table, self._thresholds))[0]
        return mask


def _by_text(bare: BoundRule, column: Column) -> Any:
    """Whether the rule rejects each distinct text, where the column holds texts."""
    if column.dictionary is None or bare.per:
        return None
    mask = failing(judge([bare], pa.table([column.dictionary], [column.name]), {}))[0]
    return np.append(mask, False)  # somewhere to look where there is no text at all


def _within(column: str, allowed: tuple[Any, ...]) -> BoundRule:
    """A rule that keeps what a `where` applies to."""
    return BoundRule(0, "", column, "in", allowed, "drop")
