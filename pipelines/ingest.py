"""One pack of input files -> document shards, a file of malformed records, and one commit record.

Shards are cut by records once they hold `shard_bytes` of text; small files packed together make one shard of up to
twice that. The bytes of a shard depend on its documents alone, so its name does too.
"""

import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.commit import Attempt, Record
from pipelines.inputs import PackFiles
from pipelines.passes import peak_memory_bytes
from pipelines.store import Store
from stages.document import DOCUMENT
from stages.errors import DataError
from stages.sources.base import Small, Source
from stages.sources.rows import Malformed, Rows

#: Hex digits of a shard's name: the start of the SHA-256 of its file.
DIGEST_LENGTH = 32

#: One row for each malformed record of a pack.
MALFORMED = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),  # name of the spec's source
        pa.field("path", pa.string(), nullable=False),
        pa.field("ordinal", pa.int64(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
    ]
)
#: Files of up to so many stored bytes are held whole, so many bytes together.
SMALL_BYTES = 1 << 16
SMALL_TOGETHER = 1 << 20
_MALFORMED_GROUP = 10_000

#: Columns of a shard with few distinct values.
_REPETITIVE = ["source", "path", "snapshot", "domain", "license", "lang"]


@dataclass(frozen=True, slots=True)
class IngestPack:
    """Reads one pack and commits its shards at (`folder`, `name`); gives the commit record.

    Raises, when called:
        DataError: a file is gone or changed since it was frozen, cannot be read as this kind of source, or more
            records are malformed than the source allows.
        StorageError: the store cannot be written.
    """

    store: Store
    source_name: str
    source: Source
    folder: str
    name: str
    files: PackFiles

    def __call__(self) -> Record:
        """Ingest the pack."""
        began, cpu_began = time.monotonic(), time.process_time()
        with Attempt(self.store, self.folder, self.name) as attempt, ExitStack() as stack:
            rejected = stack.enter_context(_MalformedFile(attempt, self.source_name, self.source.max_malformed))
            shards = stack.enter_context(_Shards(attempt, self.source_name, self._shard_limit()))
            rows = Rows(self.source_name, shards.limit, shards.write, rejected.add)
            self._read(rows)
            rows.flush()
            shards.close()
            malformed = rejected.close()
            return attempt.commit(
                {
                    "shards": shards.records(),
                    "malformed": malformed,
                    "skipped": dict(sorted(rows.skipped.items())),
                    "documents_in": sum(s.rows for s in shards.done) + malformed["count"],
                    "bytes_in": sum(s.bytes for s in shards.done),
                    "seconds": time.monotonic() - began,
                    "cpu_seconds": time.process_time() - cpu_began,
                    "peak_memory_bytes": peak_memory_bytes(),
                }
            )

    def _read(self, rows: Rows) -> None:
        """Read every file in order; small ones are held and read together."""
        for group in self.files.groups(SMALL_BYTES, SMALL_TOGETHER):
            if group[0].size <= SMALL_BYTES:
                small = [Small(f.path, f.content()) for f in group]
                self.source.read_many([f for f in small if f.data], rows)
                continue
            [file] = group
            rows.begin(file.path)
            self.source.read(file, rows)
            file.check()

    def _shard_limit(self) -> int:
        """Files packed together make one shard, unless they hold far more text than was estimated."""
        return self.source.shard_bytes * (2 if len(self.files) > 1 else 1)


def shard_writer(path: Path) -> pq.ParquetWriter:
    """A writer with the one set of options that all document shards share; equal rows give equal bytes."""
    return pq.ParquetWriter(
        path,
        DOCUMENT,
        compression="lz4",
        use_dictionary=_REPETITIVE,
        write_statistics=False,
    )


@dataclass(slots=True)
class _Written:
    """A shard in the making, and what its commit record will say."""

    suffix: str
    rows: int
    bytes: int


class _Shards:
    """The shards of one attempt, written one after the other."""

    def __init__(self, attempt: Attempt, source: str, limit: int) -> None:
        self.limit = limit
        self.done: list[_Written] = []
        self._attempt = attempt
        self._source = source
        self._open: ExitStack | None = None
        self._writer: pq.ParquetWriter

    def write(self, group: pa.RecordBatch) -> int:
        """Append a row group; gives the bytes of text for which the shard has room."""
        if self._open is None:
            self._begin()
        shard = self.done[-1]
        self._writer.write_batch(group, row_group_size=group.num_rows)
        shard.rows += group.num_rows
        shard.bytes += pc.sum(pc.binary_length(group["text"])).as_py()
        if shard.bytes < self.limit:
            return self.limit - shard.bytes
        self.close()
        return self.limit

    def close(self) -> None:
        """Finish the shard in the making, if there is one."""
        if self._open is not None:
            self._open.close()
            self._open = None

    def records(self) -> list[Record]:
        """The finished shards for the commit record."""
        hashes = {f["path"]: f["sha256"] for f in self._attempt.files}
        return [
            {
                "digest": hashes[self._attempt.path(s.suffix)][:DIGEST_LENGTH],
                "path": self._attempt.path(s.suffix),
                "rows": s.rows,
                "bytes": s.bytes,
                "source": self._source,
            }
            for s in self.done
        ]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.__exit__(kind, error, trace)

    def _begin(self) -> None:
        suffix = f".{len(self.done):05d}.parquet"
        self._open = ExitStack()
        path = self._open.enter_context(self._attempt.file(suffix))
        self._writer = self._open.enter_context(shard_writer(path))
        self.done.append(_Written(suffix, 0, 0))


class _MalformedFile:
    """The malformed records of one attempt: counted by reason and written to a file of their own."""

    def __init__(self, attempt: Attempt, source: str, limit: int | None) -> None:
        self._attempt = attempt
        self._source = source
        self._limit = limit
        self._reasons: Counter[str] = Counter()
        self._rows: list[Malformed] = []
        self._open: ExitStack | None = None
        self._writer: pq.ParquetWriter

    def add(self, record: Malformed) -> None:
        """Count and keep one record.

        Raises:
            DataError: there are more than the source allows.
        """
        self._reasons[record.reason] += 1
        count = self._reasons.total()
        if self._limit is not None and count > self._limit:
            raise _too_many(self._source, self._limit, count, self._reasons, f"; the last one: {record.message}")
        self._rows.append(record)
        if len(self._rows) >= _MALFORMED_GROUP:
            self._flush()

    def close(self) -> Record:
        """Finish the file, if there is one; gives what the commit record says of it."""
        self._flush()
        path = None
        if self._open is not None:
            path = self._attempt.path(_MALFORMED_SUFFIX)
            self._open.close()
            self._open = None
        return {"count": self._reasons.total(), "path": path, "by_reason": dict(sorted(self._reasons.items()))}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._open is not None:
            self._open.__exit__(kind, error, trace)

    def _flush(self) -> None:
        if not self._rows:
            return
        if self._open is None:
            self._open = ExitStack()
            path = self._open.enter_context(self._attempt.file(_MALFORMED_SUFFIX))
            self._writer = self._open.enter_context(pq.ParquetWriter(path, MALFORMED, compression="zstd"))
        rows = [asdict(r) | {"source": self._source} for r in self._rows]
        self._writer.write_batch(pa.RecordBatch.from_pylist(rows, schema=MALFORMED))
        self._rows = []


_MALFORMED_SUFFIX = ".malformed.parquet"


def _too_many(name: str, limit: int, count: int, reasons: Counter[str], last: str) -> DataError:
    kinds = ", ".join(f"{reason} {n}" for reason, n in reasons.most_common())
    message = (
        f"source {name!r} has {count} malformed records ({kinds}), more than max_malformed = {limit}{last}; "
        "repair the files or raise max_malformed"
    )
    return DataError(message, source=name, malformed=count)
