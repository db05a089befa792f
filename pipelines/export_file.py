"""One file of an export: reads the rows that belong to it, streams them into the sink, and hands the file over."""

import hashlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.export_columns import Columns
from pipelines.export_places import Target
from pipelines.export_plan import File, Piece, kept_rows
from pipelines.shards import batches
from pipelines.store import Store
from stages.base import Sink
from stages.errors import StorageError

#: Columns whose values the dataset card counts, as long as they are few.
COUNTED, MAX_COUNTED = ("source", "license", "lang"), 1000
#: Longer values are counted by their beginning.
MAX_COUNTED_CHARS = 64


class Rows(Protocol):
    """The documents of one file, in order; picklable."""

    def rows(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        """The rows, some at a time."""


@dataclass(frozen=True, slots=True)
class WriteExportFile:
    """Writes one file; picklable, and gives the same bytes every time. Holds one batch and one group of the sink."""

    target: Target
    sink: Sink
    name: str
    documents: Rows
    columns: Columns

    def __call__(self) -> dict[str, Any]:
        """What the manifest says of the file: name, rows, bytes, text_bytes, sha256; and the counts for the card.

        Raises:
            StorageError: it cannot be written.
        """
        done = self.target.find(self.name)
        if done is not None:
            return done
        began = time.process_time()
        seen = _Seen()
        local = self.target.scratch() / uuid.uuid4().hex
        try:
            with local.open("xb") as file:
                self.sink.write(seen.watching(self.documents.rows(self.columns)), self.columns.schema, file)
                file.flush()
                os.fsync(file.fileno())
            with local.open("rb") as file:
                sha256, nbytes = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
            record = {"name": self.name, "bytes": nbytes, "sha256": sha256, **seen.facts()}
            self.target.put(local, self.name, record | {"cpu_seconds": round(time.process_time() - began, 6)})
        except OSError as error:
            message = f"cannot write the export file {self.name!r}: {error}; check the disk and run again"
            raise StorageError(message, file=self.name) from error
        finally:
            local.unlink(missing_ok=True)
        found = self.target.find(self.name)
        assert found is not None, self.name
        return found


@dataclass(frozen=True, slots=True)
class CorpusOrder:
    """The rows of a file whose documents are in the order of the corpus, from neighbouring stretches of shards."""

    store: Store
    file: File
    shard_bytes: int

    def rows(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        """See `Rows`."""
        for piece in self.file.pieces:
            yield from self._of_piece(piece, columns)

    def _of_piece(self, piece: Piece, columns: Columns) -> Iterator[pa.RecordBatch]:
        wanted = {}
        for group, rows, numbers in kept_rows(self.store, piece, self.shard_bytes):
            own = rows[numbers == self.file.number]
            if len(own):
                wanted[group] = pa.array(own)
        found = batches(self.store, piece.shard, columns.read, piece.sidecars, wanted)
        for rows, batch in zip(wanted.values(), found, strict=True):
            yield columns.of(batch.take(rows))


class _Seen:
    """What went past on its way into a file."""

    def __init__(self) -> None:
        self.rows = self.text_bytes = 0
        self.counts: dict[str, Counter[str] | None] = {name: Counter() for name in COUNTED}

    def watching(self, found: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Count every batch and pass it on."""
        for batch in found:
            self.rows += batch.num_rows
            self.text_bytes += pc.sum(pc.binary_length(batch["text"])).as_py() or 0
            for name, counter in self.counts.items():
                if counter is not None:
                    self.counts[name] = _few(counter, batch[name])
            yield batch

    def facts(self) -> dict[str, Any]:
        """The counts as data: documents by value, or None for a column of many values; "" is not stated."""
        return {"rows": self.rows, "text_bytes": self.text_bytes, "counts": self.counts}


def _few(counter: Counter[str], values: pa.Array) -> Counter[str] | None:
    """The counter with these values added; None when it would hold too many."""
    short = pc.utf8_slice_codeunits(values.fill_null(""), 0, MAX_COUNTED_CHARS)
    tally = pc.value_counts(short)
    counter.update(dict(zip(tally.field(0).to_pylist(), tally.field(1).to_pylist(), strict=True)))
    return counter if len(counter) <= MAX_COUNTED else None
