"""The columns of an exported document, and where each of them comes from."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stages.base import Sink, Stage
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.sinks.token_ids import TOKENS, Coding
from stages.text.tokens import Tokens

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
EPOCHS = "select.epochs"
CHOSEN = (EPOCHS, "order.phase")
_TYPES = dict.fromkeys(DOCUMENT_COLUMNS, pa.string()) | dict.fromkeys(CHOSEN, pa.int64())
#: Columns whose values the dataset card counts, as long as they are few.
COUNTED = ("source", "license", "lang")
#: Bytes of the text that leaves.
SIZE = "verdict.text_bytes"


@dataclass(frozen=True, slots=True)
class Columns:
    """What is read of a document for an export.

    `schema` has the columns under the names that they are written by, and after them those that are only counted; `read` has
    the full name of each; the first `written` of them are what the sink gets. `tokens` is the step whose tokens are written.
    """

    schema: pa.Schema
    read: tuple[str, ...]
    written: int
    tokens: str | None = None

    @classmethod
    def of(cls, sink: Sink, known: Mapping[str, pa.Field], stages: Mapping[str, Stage], text: str) -> "Columns":
        """Those of an export by a sink, of a run with these columns and steps whose leaving text is `text`.

        Raises:
            SpecError: the sink needs or names a column that there is not, or cannot write one.
        """
        own = {f"{name}.ids": stage for name, stage in stages.items() if isinstance(stage, Tokens)}
        documents = (*DOCUMENT_COLUMNS, *(name for name in CHOSEN if name in known))
        wanted = sink.wanted(documents, list(own))
        for name in wanted:
            if name not in known:
                raise SpecError(
                    f"the export is to hold {name!r}, which no step writes{did_you_mean(name, list(known))}",
                    column=name,
                )
        ids = [name for name in wanted if name in own]
        if len(ids) > 1:
            raise SpecError(f"the export is to hold both {ids[0]!r} and {ids[1]!r}; name the tokens of one step")
        fields = [
            _coding(own[full]).field(short) if full in own else pa.field(short, _TYPES.get(full, known[full].type))
            for full, short in _names(wanted, ids).items()
        ]
        hidden = [name for name in COUNTED if name not in wanted]
        fields += [pa.field(name, pa.string()) for name in hidden] + [pa.field(SIZE, pa.int64())]
        read = [text if name == "text" else name for name in (*wanted, *hidden, SIZE)]
        found = cls(pa.schema(fields), tuple(read), len(wanted), ids[0].rpartition(".")[0] if ids else None)
        sink.check(found.leaving)
        return found

    @property
    def leaving(self) -> pa.Schema:
        """What the sink gets."""
        return pa.schema([self.schema.field(i) for i in range(self.written)])

    @property
    def measured(self) -> tuple[str, ...]:
        """What is read of sidecars."""
        return tuple(name for name in self.read if "." in name)

    def batch(self, found: pa.RecordBatch) -> pa.RecordBatch:
        """The columns, of a batch that has them under their full names."""
        arrays = [found[name].cast(field.type) for name, field in zip(self.read, self.schema, strict=True)]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)

    def json(self) -> list[dict[str, Any]]:
        """Name and type of each column that leaves."""
        return [{"name": field.name, "type": str(field.type)} for field in self.leaving]


def _coding(stage: Tokens) -> Coding:
    """The coding of a step's tokens; without a vocabulary where the step was planned without its store."""
    return Coding(stage.vocabulary, stage.end_of_text)


def _names(wanted: tuple[str, ...], ids: list[str]) -> dict[str, str]:
    """What each column is written as: its own name, unless another has it too, and `tokens` for token ids."""
    short = {name: TOKENS if name in ids else name.rpartition(".")[2] for name in wanted}
    shared = Counter(short.values())
    taken = {*DOCUMENT_COLUMNS, TOKENS}
    return {
        name: name if "." in name and name not in ids and (shared[leaf] > 1 or leaf in taken) else leaf
        for name, leaf in short.items()
    }
