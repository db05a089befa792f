"""One file of an export: reads the rows that belong to it, streams them into the sink, and hands the file over."""

import hashlib
import os
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.export_columns import COUNTED, SIZE, Columns
from pipelines.export_places import Target
from pipelines.export_plan import File, Piece, kept_rows
from pipelines.shards import batches
from pipelines.store import Store
from stages.base import Counts, Sink
from stages.errors import StorageError

#: How many values of a column the dataset card counts at most.
MAX_COUNTED = 1000
#: Longer values are counted by their beginning.
MAX_COUNTED_CHARS = 64


class Rows(Protocol):
    """The documents of one file, in order; picklable."""

    def rows(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        """The rows, some at a time."""


@dataclass(frozen=True, slots=True)
class WriteExportFile:
    """Writes one data file and its companions; picklable, and gives the same bytes every time.

    Holds one batch and what the sink holds. Companions are handed over first, so a data file that is there is complete.
    """

    target: Target
    sink: Sink
    stem: str
    documents: Rows
    columns: Columns

    @property
    def names(self) -> tuple[str, ...]:
        """The files, the data file first."""
        return tuple(self.stem + end for end in (self.sink.suffix, *self.sink.companions))

    def __call__(self) -> dict[str, Any]:
        """What the manifest says of the file: name, rows, bytes, text_bytes, sha256, companions; and counts for the card.

        Raises:
            StorageError: it cannot be written.
        """
        done = self._done()
        if done is not None:
            return done
        began = time.process_time()
        seen = _Seen(self.columns)
        locals_ = [self.target.scratch() / uuid.uuid4().hex for _ in self.names]
        try:
            counts = self._write(locals_, seen)
            first, *others = (_facts(*pair) for pair in zip(self.names, locals_, strict=True))
            for local, facts in zip(locals_[1:], others, strict=True):
                self.target.put(local, facts["name"], facts)
            cost = {"cpu_seconds": round(time.process_time() - began, 6)}
            own = {"companions": others} if others else {}
            self.target.put(locals_[0], self.names[0], first | seen.facts() | {"written": dict(counts)} | own | cost)
        except OSError as error:
            message = f"cannot write the export file {self.names[0]!r}: {error}; check the disk and run again"
            raise StorageError(message, file=self.names[0]) from error
        finally:
            for local in locals_:
                local.unlink(missing_ok=True)
        found = self._done()
        assert found is not None, self.names
        return found

    def _done(self) -> dict[str, Any] | None:
        """The record of the data file, when all files are there."""
        found = [self.target.find(name) for name in self.names]
        return None if None in found else found[0]

    def _write(self, paths: Sequence[Path], seen: "_Seen") -> Counts:
        with ExitStack() as opened:
            files = [opened.enter_context(path.open("xb")) for path in paths]
            batches = seen.watching(self.documents.rows(self.columns))
            counts = self.sink.write_all(batches, self.columns.leaving, files)
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        return counts


def _facts(name: str, path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        sha256, nbytes = hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
    return {"name": name, "bytes": nbytes, "sha256": sha256}


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
            yield columns.batch(batch.take(rows))


class _Seen:
    """What went past on its way into a file."""

    def __init__(self, columns: Columns) -> None:
        self._leaving = columns.leaving
        self.rows = self.text_bytes = 0
        self.counts: dict[str, Counter[str] | None] = {name: Counter() for name in COUNTED}

    def watching(self, found: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Count every batch and pass on what leaves of it."""
        for batch in found:
            self.rows += batch.num_rows
            self.text_bytes += pc.sum(batch[SIZE]).as_py() or 0
            for name, counter in self.counts.items():
                if counter is not None:
                    self.counts[name] = _few(counter, batch[name])
            yield pa.RecordBatch.from_arrays(batch.columns[: len(self._leaving)], schema=self._leaving)

    def facts(self) -> dict[str, Any]:
        """The counts as data: documents by value, or None for a column of many values; "" is not stated."""
        return {"rows": self.rows, "text_bytes": self.text_bytes, "counts": self.counts}


def _few(counter: Counter[str], values: pa.Array) -> Counter[str] | None:
    """The counter with these values added; None when it would hold too many."""
    short = pc.utf8_slice_codeunits(values.fill_null(""), 0, MAX_COUNTED_CHARS)
    tally = pc.value_counts(short)
    counter.update(dict(zip(tally.field(0).to_pylist(), tally.field(1).to_pylist(), strict=True)))
    return counter if len(counter) <= MAX_COUNTED else None
