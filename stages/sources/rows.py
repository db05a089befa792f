"""Rows on their way into document shards: records of one file after another, handed on in groups of bounded size.

A group is a row group of the shard's Parquet file. It ends after `GROUP_ROWS` rows, `GROUP_BYTES` of text or the
room that is left in the shard, so groups depend on the documents alone, never on how a file was read.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.document import DOCUMENT

GROUP_ROWS = 2_000
GROUP_BYTES = 16_000_000

#: Takes a group; gives the bytes of text for which the shard still has room.
WriteGroup = Callable[[pa.RecordBatch], int]

#: One document: ordinal, text in UTF-8, id, source, url, snapshot, domain, license, lang, meta.
Row = tuple[int, bytes, str | None, str | None, str | None, str | None, str | None, str | None, str | None, str | None]

#: Many documents at once: the fields of a `Row` as columns.
ROWS = pa.schema(
    [DOCUMENT.field(c) for c in ("ordinal", "text", "id")]
    + [pa.field("source", pa.string())]
    + [DOCUMENT.field(c) for c in ("url", "snapshot", "domain", "license", "lang", "meta")]
)


@dataclass(frozen=True, slots=True)
class Malformed:
    """A record that cannot become a document."""

    doc_id: str
    path: str
    ordinal: int
    reason: str  # a word of a short list: bad-json, utf-8, no-text, truncated ...
    message: str  # what, where in the file, what to do


class Rows:
    """Collects the rows of one source; `write` takes each full group, `reject` each malformed record."""

    def __init__(self, source: str, room: int, write: WriteGroup, reject: Callable[[Malformed], None]) -> None:
        self.source = source
        self.skipped: Counter[str] = Counter()
        self._write = write
        self._reject = reject
        self._room = room
        self._limit = min(room, GROUP_BYTES)
        self._path = ""
        self._rows: list[Row] = []
        self._batches: list[pa.RecordBatch] = []  # before `_rows`
        self._count = 0
        self._bytes = 0
        self._paths: list[str] = []  # of the files with rows in the group, but for the current one
        self._lengths: list[int] = []  # rows of each
        self._settled = 0  # their sum

    def begin(self, path: str) -> None:
        """Start the next file; paths come in order."""
        self._close_file()
        self._path = path

    def add(self, row: Row) -> None:
        """Add a document."""
        self._rows.append(row)
        self._count += 1
        self._bytes += len(row[1])
        if self._bytes >= self._limit or self._count >= GROUP_ROWS:
            self.flush()

    def add_batch(self, batch: pa.RecordBatch) -> None:
        """Add documents of the current file as a batch with the columns `ROWS`, none of whose texts is null."""
        ends = _ends(batch["text"])
        at = 0
        while at < batch.num_rows:
            stop = self._full(ends, at)
            self._take(batch, ends, at, stop)
            at = stop

    def add_files(self, paths: Sequence[str], counts: Sequence[int], batch: pa.RecordBatch) -> None:
        """Add the documents of many files at once, `counts` of each, at least one; ordinals are set here."""
        starts = np.cumsum([0, *counts])
        ordinals = np.arange(batch.num_rows) - np.repeat(starts[:-1], counts)
        self._close_file()
        batch = batch.set_column(0, ROWS.field(0), pa.array(ordinals))
        ends = _ends(batch["text"])
        at = file = 0
        while at < batch.num_rows:
            stop = self._full(ends, at)
            last = int(np.searchsorted(starts, stop))  # of the files that begin before `stop`, plus one
            self._paths += paths[file:last]
            self._lengths += np.diff(np.clip(starts[file : last + 1], at, stop)).tolist()
            self._settled += stop - at
            self._take(batch, ends, at, stop)
            file = last - 1 if starts[last] > stop else last
            at = stop

    def _full(self, ends: NDArray[np.int64], at: int) -> int:
        """Where the group that is being collected ends in a batch, at the latest at the batch's end."""
        room = ends[at] + self._limit - self._bytes
        full = int(np.searchsorted(ends[1:], room)) + 1
        return min(full, at + GROUP_ROWS - self._count, len(ends) - 1)

    def _take(self, batch: pa.RecordBatch, ends: NDArray[np.int64], at: int, stop: int) -> None:
        self._settle()
        self._batches.append(batch.slice(at, stop - at))
        self._count += stop - at
        self._bytes += int(ends[stop] - ends[at])
        if self._bytes >= self._limit or self._count >= GROUP_ROWS:
            self.flush()

    def malformed(self, ordinal: int, reason: str, message: str) -> None:
        """Quarantine a record; the message says what is wrong and where in the file."""
        name = f"{self.source}\0{self._path}\0{ordinal}".encode("utf-8", "surrogateescape")
        doc_id = blake2b(name, digest_size=16).hexdigest()
        self._reject(Malformed(doc_id, self._path, ordinal, reason, message))

    def skip(self, reason: str, records: int = 1) -> None:
        """Count records that were never meant to be documents."""
        self.skipped[reason] += records

    def flush(self) -> None:
        """Hand on what is collected, if anything."""
        self._close_file()
        if self._count:
            self._room = self._write(self._group())
            self._limit = min(self._room, GROUP_BYTES)
        self._batches, self._paths, self._lengths = [], [], []
        self._count = self._bytes = self._settled = 0

    def _close_file(self) -> None:
        if self._count > self._settled:
            self._paths.append(self._path)
            self._lengths.append(self._count - self._settled)
            self._settled = self._count

    def _settle(self) -> None:
        """Turn single rows into a batch."""
        if self._rows:
            ordinals, texts, *others = zip(*self._rows, strict=True)
            columns = [
                pa.array(ordinals, pa.int64()),
                pa.array(texts, pa.binary()).view(pa.string()),
                *(pa.array(values, pa.string()) for values in others),
            ]
            self._batches.append(pa.RecordBatch.from_arrays(columns, schema=ROWS))
            self._rows = []

    def _group(self) -> pa.RecordBatch:
        self._settle()
        rows = self._batches[0] if len(self._batches) == 1 else pa.concat_batches(self._batches)
        path = pa.array(self._paths, pa.string()).take(np.repeat(np.arange(len(self._paths)), self._lengths))
        names = pc.binary_join_element_wise(self.source, path, rows["ordinal"].cast(pa.string()), "\0")
        doc_ids = [blake2b(n, digest_size=16).hexdigest() for n in names.cast(pa.binary()).to_pylist()]
        own = pc.if_else(pc.equal(rows["source"], ""), None, rows["source"])
        columns = {
            **{name: rows[name] for name in rows.schema.names},
            "doc_id": pa.array(doc_ids, pa.string()),
            "path": path,
            "source": pc.fill_null(own, self.source),
        }
        return pa.RecordBatch.from_arrays([columns[name] for name in DOCUMENT.names], schema=DOCUMENT)


def _ends(texts: pa.StringArray) -> NDArray[np.int64]:
    """Bytes of text before each row, and after the last."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32)[texts.offset : texts.offset + len(texts) + 1]
    return offsets.astype(np.int64) - int(offsets[0])
