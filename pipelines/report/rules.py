"""The rules of a run: what each decided about every document, and its threshold as a number."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.view import RunView
from stages.rules import BoundRule, Percentile, judge

STATUSES = ("passed", "failed", "not_applicable", "null_kept", "null_dropped")
ORDERED = ("ge", "gt", "le", "lt")


def resolved(view: RunView, rule: BoundRule) -> list[dict[str, Any]]:
    """What a rule compares with: one value, or a number for each group. A percentile nobody has a value for is None."""
    if not isinstance(rule.value, Percentile):
        return [{"group": None, "value": list(rule.value) if isinstance(rule.value, tuple) else rule.value}]
    value = view.thresholds.get(rule.reason)
    if isinstance(value, Mapping):
        return [{"group": str(group), "value": value[group]} for group in sorted(value, key=str)]
    return [{"group": None, "value": value}]


def written(rule: BoundRule) -> Any:
    """The rule's value as the spec writes it."""
    if isinstance(rule.value, Percentile):
        return str(rule.value)
    return list(rule.value) if isinstance(rule.value, tuple) else rule.value


def used_numbers(view: RunView) -> list[str]:
    """Numeric columns that a rule compares with a threshold, each once."""
    found = [r.column for r in view.policy.plain if r.test in ORDERED and _is_number(view.fields[r.column].type)]
    return list(dict.fromkeys(found))


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


class RuleCounts:
    """For every plain rule, how many documents passed, failed, were exempt or had no value."""

    def __init__(self, view: RunView) -> None:
        self._view = view
        self._rules = view.policy.plain
        self._counts = np.zeros((len(self._rules), len(STATUSES)), np.int64)

    def columns(self) -> list[str]:
        """What judging reads."""
        return list(self._view.policy.columns)

    def add(self, table: pa.Table) -> None:
        """Judge the rows of a shard; what is quarantined was never judged."""
        judged = table.filter(pc.not_equal(table["verdict.fate"], "quarantined"))
        statuses = judge(self._rules, judged, self._view.thresholds)
        for i, status_N in enumerate(statuses):
            self._counts[i] += np.bincount(status_N, minlength=len(STATUSES))

    def json(self) -> list[dict[str, Any]]:
        """One row a rule, in the order of the policy."""
        return [self._row(i) for i in range(len(self._rules))]

    def thresholds(self, column: str) -> list[float]:
        """The numbers that a column is compared with."""
        return [m["value"] for mark in self.marks(column) for m in mark["resolved"]]

    def marks(self, column: str) -> list[dict[str, Any]]:
        """The thresholds on a column, for its histogram."""
        keys = ("reason", "test", "written", "per", "where", "resolved")
        rows = [self._row(i) for i, r in enumerate(self._rules) if r.column == column and r.test in ORDERED]
        for row in rows:
            row["resolved"] = [r for r in row["resolved"] if isinstance(r["value"], (int, float))]
        return [{k: row[k] for k in keys} for row in rows]

    def _row(self, i: int) -> dict[str, Any]:
        rule = self._rules[i]
        return {
            "reason": rule.reason,
            "column": rule.column,
            "test": rule.test,
            "written": written(rule),
            "resolved": resolved(self._view, rule),
            "where": {column: list(values) for column, values in rule.where},
            "per": rule.per,
            "on_null": rule.on_null,
            "cite": rule.cite,
            **dict(zip(STATUSES, map(int, self._counts[i]), strict=True)),
        }


def choices(view: RunView) -> list[dict[str, Any]]:
    """The choices within clusters, in the order of the policy."""
    return [
        {"reason": c.reason, "column": c.cluster, "by": c.by, "order": c.order, "cite": c.cite}
        for c in view.policy.one_of
    ]
