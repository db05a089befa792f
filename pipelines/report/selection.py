"""What a report says of `select` and `order`: what was chosen from and what of it, and how hard each phase is to read."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.plan import ORDER, Step
from pipelines.view import RunView

_PHASE = f"{ORDER}.phase"
_DOMAIN = "domain:"


class Selection:
    """The run's selection and order, gathered with the first pass of `collect`. Bounded by the number of phases."""

    def __init__(self, view: RunView) -> None:
        self._view = view
        by = getattr(view.plan.order.stage, "by", None) if view.plan.order else None
        field = view.fields.get(by) if by else None
        numeric = field is not None and (pa.types.is_integer(field.type) or pa.types.is_floating(field.type))
        self._by = by if numeric else None
        self._phased = _PHASE in view.fields
        self._documents = np.zeros(0, np.int64)
        self._valued = np.zeros(0, np.int64)
        self._sums = np.zeros(0)

    @property
    def columns(self) -> list[str]:
        """Full names of the columns read."""
        return [*([_PHASE] if self._phased else []), *([self._by] if self._phased and self._by else [])]

    def add(self, table: pa.Table) -> None:
        """Count the rows of a shard by phase."""
        if not self._phased:
            return
        rows = table.filter(pc.is_valid(table[_PHASE]))
        phase = rows[_PHASE].to_numpy()
        self._documents = _added(self._documents, np.bincount(phase))
        if self._by is None:
            return
        value = rows[self._by].cast(pa.float64()).fill_null(float("nan")).to_numpy()
        known = np.isfinite(value)
        self._valued = _added(self._valued, np.bincount(phase[known], minlength=0))
        self._sums = _added(self._sums, np.bincount(phase[known], weights=value[known], minlength=0))

    def json(self, ledger: Mapping[str, Any]) -> dict[str, Any]:
        """`selection` and `order`; None where the spec has none."""
        plan = self._view.plan
        steps = ledger.get("steps", {})
        return {
            "selection": plan.select and _about(plan.select, steps) | {"domains": _domains(plan.select, steps)},
            "order": plan.order and _about(plan.order, steps) | {"by": self._by, "phases": self._phases()},
        }

    def _phases(self) -> list[dict[str, Any]]:
        size = len(self._documents)
        valued, sums = (_added(np.zeros(size, kind.dtype), kind) for kind in (self._valued, self._sums))
        means = np.divide(sums, valued, out=np.zeros(size), where=valued > 0)
        return [
            {"phase": i, "documents": int(n), "mean": float(means[i]) if valued[i] else None}
            for i, n in enumerate(self._documents)
        ]


def _added(total: npt.NDArray[Any], more: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The sum of two arrays, the shorter one filled up with zeros."""
    size = max(len(total), len(more))
    longer = [np.pad(a, (0, size - len(a))) for a in (total, more)]
    found: npt.NDArray[Any] = longer[0] + longer[1]
    return found


def _about(step: Step, steps: Mapping[str, Any]) -> dict[str, Any]:
    counts = dict((steps.get(step.name) or {}).get("counts", {}))
    fields = step.stage.model_dump(mode="json", exclude_defaults=True, exclude={"kind"})
    plain = {name: number for name, number in counts.items() if not name.startswith(_DOMAIN)}
    return {"kind": step.stage.kind, "fields": fields, "counts": plain}


def _domains(step: Step, steps: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What each domain was to get and got; counts are named `domain:NAME:WHAT`."""
    found: dict[str, dict[str, Any]] = {}
    for name, number in (steps.get(step.name) or {}).get("counts", {}).items():
        if name.startswith(_DOMAIN):
            domain, _, what = name.removeprefix(_DOMAIN).rpartition(":")
            found.setdefault(domain, {"name": domain})[what] = number
    return sorted(found.values(), key=lambda row: (-row.get("amount", 0), row["name"]))
