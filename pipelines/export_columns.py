"""The columns of an exported document, and where each of them comes from."""

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.plan import ORDER, SELECT, Plan

#: Of every export; `text` is the text that leaves.
DOCUMENT_COLUMNS = (
    "doc_id",
    "id",
    "text",
    "source",
    "path",
    "url",
    "snapshot",
    "domain",
    "license",
    "lang",
    "meta",
)
#: Of exports whose spec selects or orders: how often a document is to be read, and its part of the curriculum.
CHOSEN = {f"{SELECT}.epochs": pa.int64(), f"{ORDER}.phase": pa.int64()}


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns as they are written (`schema`), and the full names of what is read for them."""

    schema: pa.Schema
    read: tuple[str, ...]

    @classmethod
    def of_plan(cls, plan: Plan) -> "Columns":
        """Those of a run's export."""
        known = plan.fields()
        more = [name for name in CHOSEN if name in known]
        read = [plan.text if name == "text" else name for name in DOCUMENT_COLUMNS]
        fields = [(name, pa.string()) for name in DOCUMENT_COLUMNS]
        return cls(pa.schema([*fields, *((n.rpartition(".")[2], CHOSEN[n]) for n in more)]), (*read, *more))

    @property
    def measured(self) -> tuple[str, ...]:
        """What is read of sidecars."""
        return tuple(name for name in self.read if "." in name)

    def of(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The columns as they are written."""
        arrays = [batch[name].cast(field.type) for name, field in zip(self.read, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def json(self) -> list[dict[str, Any]]:
        """Name and type of each column."""
        return [{"name": field.name, "type": str(field.type)} for field in self.schema]
