"""Shards and their sidecars: row-aligned Parquet files, zipped and verified, never joined."""

from collections.abc import Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.store import Store
from stages.document import DOCUMENT, KEYS
from stages.errors import StorageError


@dataclass(frozen=True, slots=True)
class Shard:
    """An immutable file of documents, named by its content. `bytes` counts UTF-8 text."""

    digest: str
    path: str
    rows: int
    bytes: int
    source: str

    def json(self) -> dict[str, Any]:
        """The shard as data."""
        return {f: getattr(self, f) for f in ("digest", "path", "rows", "bytes", "source")}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Shard":
        """The shard that `json` described; other keys are ignored."""
        return cls(**{f: value[f] for f in ("digest", "path", "rows", "bytes", "source")})


#: The type of a column of tokens.
TOKEN_IDS = pa.list_(pa.uint32())
#: Where the columns of a shard are: full column name -> path of the sidecar. Document columns are in the shard itself.
Sidecars = Mapping[str, str]


def batches(
    store: Store,
    shard: Shard,
    columns: Sequence[str],
    sidecars: Sidecars,
    groups: Container[int] | None = None,
) -> Iterator[pa.RecordBatch]:
    """The row groups of a shard (those numbered in `groups`, or all) as batches of `columns`, under their full names.

    Raises:
        StorageError: a sidecar does not have the shard's rows.

    """
    document = _opened(store, shard.path)
    own = [c for c in columns if c in DOCUMENT.names]
    files: dict[str, list[str]] = {}
    for name in columns:
        if name not in own:
            files.setdefault(sidecars[name], []).append(name)
    readers = [_SidecarReader(store, path, names, document.metadata, shard) for path, names in files.items()]
    for group in range(document.num_row_groups):
        if groups is not None and group not in groups:
            continue
        with _readable(shard.path):
            rows = document.read_row_group(group, columns=[*dict.fromkeys(["doc_id", *own])], use_threads=False)
        found = {name: rows[name] for name in own}
        for reader in readers:
            found |= reader.group(group, rows["doc_id"])
        yield _batch(columns, found, rows.num_rows)
    document.close()


def _batch(columns: Sequence[str], found: Mapping[str, pa.ChunkedArray], rows: int) -> pa.RecordBatch:
    arrays = [_joined(found[name]) for name in columns]
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, names=list(columns))


def _joined(values: pa.ChunkedArray) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)


class _SidecarReader:
    """Row groups of one sidecar, aligned with those of its shard."""

    def __init__(self, store: Store, path: str, names: Sequence[str], shape: Any, shard: Shard) -> None:
        self._path, self._names, self._shard = path, names, shard
        self._file = _opened(store, path)
        mine = self._file.metadata
        if mine.num_rows != shape.num_rows:
            raise StorageError(
                f"{path} has {mine.num_rows} rows but its shard {shard.digest} has {shape.num_rows}; "
                "delete the sidecar's commit record and run again",
                path=path,
                shard=shard.digest,
            )
        starts = [shape.row_group(i).num_rows for i in range(shape.num_row_groups)]
        own = [mine.row_group(i).num_rows for i in range(mine.num_row_groups)]
        self._aligned = starts == own
        self._starts = [sum(starts[:i]) for i in range(len(starts))]
        self._whole: pa.Table | None = None

    def _rows(self, index: int, columns: Sequence[str], rows: int) -> pa.Table:
        if self._aligned:
            return self._file.read_row_group(index, columns=columns, use_threads=False)
        if self._whole is None:
            self._whole = self._file.read(columns=columns, use_threads=False)
        return self._whole.slice(self._starts[index], rows)

    def group(self, index: int, doc_ids: pa.ChunkedArray) -> dict[str, pa.ChunkedArray]:
        """The columns of one row group by full name."""
        leaves = [n.rpartition(".")[2] for n in self._names]
        wanted = list(dict.fromkeys(["doc_id", *leaves]))
        with _readable(self._path):
            table = self._rows(index, wanted, len(doc_ids))
        if not table["doc_id"].equals(doc_ids):
            raise StorageError(
                f"{self._path} holds other documents than its shard {self._shard.digest}; "
                "delete the sidecar's commit record and run again",
                path=self._path,
                shard=self._shard.digest,
            )
        return {full: table[leaf] for full, leaf in zip(self._names, leaves, strict=True)}


def _opened(store: Store, path: str) -> pq.ParquetFile:
    with _readable(path):
        return pq.ParquetFile(store.open_input(path))


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Name the file that cannot be read, and what makes it anew."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        folder = path.rpartition("/")[0]
        raise StorageError(
            f"{path} cannot be read ({error}); delete the folder {folder} from the store and run the spec again",
            path=path,
        ) from error


def sidecar_schema(columns: pa.Schema) -> pa.Schema:
    """Every sidecar begins with `doc_id` and `id`."""
    return pa.schema([*KEYS, *columns])


def sidecar_writer(path: Any, columns: pa.Schema) -> pq.ParquetWriter:
    """A writer with the one set of options that all sidecars share; equal rows give equal bytes.

    LZ4, as shards: sidecars are read by many later steps, and where most bytes are hashes nothing packs them. Ids of tokens
    are small numbers in four bytes each: split by byte and with zstd they take two thirds of what LZ4 makes of them, and
    no more time.
    """
    tokens = [f"{c.name}.list.element" for c in columns if c.type == TOKEN_IDS]
    schema = sidecar_schema(columns)
    return pq.ParquetWriter(
        path,
        schema,
        compression=dict.fromkeys(_leaves(schema), "lz4") | dict.fromkeys(tokens, "zstd") if tokens else "lz4",
        use_dictionary=False,
        write_statistics=False,
        column_encoding=dict.fromkeys(tokens, "BYTE_STREAM_SPLIT") or None,
    )


def _leaves(schema: pa.Schema) -> list[str]:
    """Parquet's names of the columns."""
    return [f"{f.name}.list.element" if pa.types.is_list(f.type) else f.name for f in schema]
