"""Rows on their way into document shards: records of one file after another, handed on in groups of bounded size.

A group is a row group of the shard's Parquet file. It ends after `GROUP_ROWS` rows, `GROUP_BYTES` of text or the
room that is left in the shard, so groups depend on the documents alone, never on how a file was read.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

import pyarrow as pa

from stages.document import DOCUMENT

GROUP_ROWS = 2_000
GROUP_BYTES = 16_000_000

#: What one file contributed to a group or shard: path, ordinal of the first row, rows, UTF-8 bytes of text.
Segment = list[Any]

#: Takes a group and its segments; gives the bytes of text for which the shard still has room.
WriteGroup = Callable[[pa.RecordBatch, list[Segment]], int]

#: One document: ordinal, text in UTF-8, id, source, url, snapshot, domain, license, lang, meta.
Row = tuple[int, bytes, str | None, str | None, str | None, str | None, str | None, str | None, str | None, str | None]


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
        self._bytes = 0
        self._segments: list[Segment] = []
        self._begun = (0, 0)  # rows and bytes of the group before the current file

    def begin(self, path: str) -> None:
        """Start the next file; paths come in order."""
        self._close_segment()
        self._path = path

    def add(self, row: Row) -> None:
        """Add a document."""
        self._rows.append(row)
        self._bytes += len(row[1])
        if self._bytes >= self._limit or len(self._rows) >= GROUP_ROWS:
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
        self._close_segment()
        if self._rows:
            self._room = self._write(self._batch(), self._segments)
            self._limit = min(self._room, GROUP_BYTES)
        self._rows, self._segments, self._bytes, self._begun = [], [], 0, (0, 0)

    def _close_segment(self) -> None:
        rows, size = self._begun
        if len(self._rows) > rows:
            first = self._rows[rows][0]
            self._segments.append([self._path, first, len(self._rows) - rows, self._bytes - size])
        self._begun = (len(self._rows), self._bytes)

    def _batch(self) -> pa.RecordBatch:
        ordinals, texts, ids, sources, *others = zip(*self._rows, strict=True)
        doc_ids: list[str] = []
        paths: list[str] = []
        at = 0
        for path, _, count, _ in self._segments:
            prefix = f"{self.source}\0{path}\0"
            doc_ids += [
                blake2b(f"{prefix}{ordinal}".encode(), digest_size=16).hexdigest()
                for ordinal in ordinals[at : at + count]
            ]
            paths += [path] * count
            at += count
        texts_as_bytes = pa.array(texts, pa.binary())
        columns = [
            pa.array(doc_ids, pa.string()),
            pa.array(ids, pa.string()),
            texts_as_bytes.view(pa.string()),
            pa.array([s or self.source for s in sources], pa.string()),
            pa.array(paths, pa.string()),
            pa.array(ordinals, pa.int64()),
            *(pa.array(values, pa.string()) for values in others),
        ]
        return pa.RecordBatch.from_arrays(columns, schema=DOCUMENT)
