"""Relating documents across shards through files: scatter per shard, gather per partition, settle per shard.

No process holds more than one shard's narrow columns or one partition's rows. A partition is sized by rows
(`PARTITION_ROWS`), and the answer does not depend on how many there are: equal values always meet.
"""

import io
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash
from numpy.typing import NDArray

from pipelines.commit import Attempt, committed
from pipelines.passes import Address, peak_memory_bytes
from pipelines.shards import Shard, Sidecars, batches, sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages.base import Columns, CorpusStage
from stages.errors import StageError, StorageError

PARTITION_ROWS = 200_000


class Relation(Protocol):
    """What is related: picklable, and pure apart from reading the store."""

    @property
    def by(self) -> str | None:
        """The column whose equal values must meet; None: all rows meet."""

    @property
    def schema(self) -> pa.Schema:
        """The columns that come out."""

    def rows(self, store: Store, shard: Shard) -> pa.Table:
        """`row` (int64), `doc_id` and the narrow columns, for the rows that take part."""

    def relate(self, rows: pa.Table) -> Columns:
        """One value a row of a partition, which is sorted by `doc_id`."""


@dataclass(frozen=True, slots=True)
class StageRelation:
    """A corpus stage over its columns. `names` maps the stage's names of the columns to full names."""

    stage: CorpusStage
    names: Mapping[str, str]
    sidecars: Mapping[str, Sidecars]  # by shard digest

    @property
    def by(self) -> str | None:
        """The stage's own partition column."""
        return self.stage.partition_by

    @property
    def schema(self) -> pa.Schema:
        """The stage's columns."""
        return self.stage.schema()

    def rows(self, store: Store, shard: Shard) -> pa.Table:
        """Rows whose columns are all present."""
        full = list(dict.fromkeys(["doc_id", *self.names.values()]))
        found = list(batches(store, shard, full, self.sidecars[shard.digest]))
        columns = {"doc_id": _column(found, "doc_id", pa.string())}
        for short, name in self.names.items():
            columns[short] = _column(found, name, None)
        table = pa.table({"row": pa.array(np.arange(len(columns["doc_id"])), pa.int64()), **columns})
        present = None
        for short in self.names:
            mask = pc.is_valid(table[short])
            present = mask if present is None else pc.and_(present, mask)
        return table if present is None else table.filter(present)

    def relate(self, rows: pa.Table) -> Columns:
        """The stage's answer."""
        return self.stage.relate(rows)


def _column(found: Sequence[pa.RecordBatch], name: str, kind: pa.DataType | None) -> pa.ChunkedArray:
    if not found:
        return pa.chunked_array([], type=kind or pa.string())
    return pa.chunked_array([b[name] for b in found])


@dataclass(frozen=True, slots=True)
class Scatter:
    """Cut one shard's rows into partitions; pieces of one file, each an Arrow stream."""

    store: Store
    relation: Relation
    shard: Shard
    partitions: int
    address: Address

    def __call__(self) -> dict[str, Any]:
        """The commit record, with `pieces` as [offset, length] by partition."""
        began, cpu = time.perf_counter(), time.process_time()
        table = self.relation.rows(self.store, self.shard)
        by = self.relation.by
        place = partition_of(table[by], self.partitions) if by else np.zeros(table.num_rows, np.int64)
        order = np.argsort(place, kind="stable")
        bounds = np.searchsorted(place[order], np.arange(self.partitions + 1))
        pieces = [table.take(order[a:b]) for a, b in pairwise(bounds)]
        return _commit_pieces(self.store, self.address, pieces, began, cpu)


@dataclass(frozen=True, slots=True)
class Gather:
    """Relate the rows of one partition; pieces of one file, one a shard, in the order of `shards`."""

    store: Store
    relation: Relation
    partition: int
    inputs: Address  # the scatter's folder and the common beginning of its names
    shards: tuple[str, ...]
    address: Address

    def __call__(self) -> dict[str, Any]:
        """The commit record, with `pieces` as [offset, length] by shard."""
        began, cpu = time.perf_counter(), time.process_time()
        tables = []
        for i, digest in enumerate(self.shards):
            piece = _read_piece(self.store, Address(self.inputs.folder, self.inputs.name + digest), self.partition)
            tables.append(piece.append_column("shard", pa.array(np.full(piece.num_rows, i, np.int32))))
        rows = pa.concat_tables(tables).combine_chunks()
        rows = rows.take(pc.sort_indices(rows, sort_keys=[("doc_id", "ascending")]))
        answer = self._answer(rows)
        result = pa.table({"row": rows["row"], **answer})
        shard = rows["shard"].to_numpy()
        order = np.argsort(shard, kind="stable")
        bounds = np.searchsorted(shard[order], np.arange(len(self.shards) + 1))
        pieces = [result.take(order[a:b]) for a, b in pairwise(bounds)]
        return _commit_pieces(self.store, self.address, pieces, began, cpu)

    def _answer(self, rows: pa.Table) -> dict[str, pa.Array]:
        schema = self.relation.schema
        answer = dict(self.relation.relate(rows.drop_columns(["row", "shard"])))
        for field in schema:
            values = answer.get(field.name)
            if values is None or values.type != field.type or len(values) != rows.num_rows:
                raise StageError(
                    f"the corpus step in {self.address.folder} did not give {rows.num_rows} values of {field.type} "
                    f"for {field.name!r}; mend the stage",
                    column=field.name,
                )
        return {f.name: answer[f.name] for f in schema}


@dataclass(frozen=True, slots=True)
class Settle:
    """Write one shard's sidecar from every partition's answer; rows that took no part get null."""

    store: Store
    relation: Relation
    shard: Shard
    number: int  # the shard's place in the gather's order
    inputs: tuple[Address, ...]
    address: Address

    def __call__(self) -> dict[str, Any]:
        """The commit record of the sidecar."""
        began, cpu = time.perf_counter(), time.process_time()
        answer = pa.concat_tables([_read_piece(self.store, a, self.number) for a in self.inputs]).combine_chunks()
        places = np.full(self.shard.rows, -1, np.int64)
        places[answer["row"].to_numpy()] = np.arange(answer.num_rows)
        index = pa.array(places, mask=places < 0)
        schema = self.relation.schema
        with Attempt(self.store, self.address.folder, self.address.name) as attempt:
            with attempt.file() as path, sidecar_writer(path, schema) as writer:
                start = 0
                for batch in batches(self.store, self.shard, ["doc_id", "id"], {}):
                    rows = index.slice(start, batch.num_rows)
                    columns = [_plain(answer[f.name].take(rows), f.type) for f in schema]
                    table = pa.Table.from_arrays([*batch.columns, *columns], schema=sidecar_schema(schema))
                    writer.write_table(table, row_group_size=max(1, batch.num_rows))
                    start += batch.num_rows
            return attempt.commit(_costs(began, cpu) | {"rows": self.shard.rows, "quarantined": []})


def partition_of(values: pa.ChunkedArray, partitions: int) -> NDArray[np.int64]:
    """The partition of each value, in [0, partitions): a hash of the value, equal on every machine."""
    if partitions == 1:
        return np.zeros(len(values), np.int64)
    encoded = values.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    words = encoded.dictionary.to_pylist()
    hashes = np.fromiter((_hash(word) % partitions for word in words), np.int64, len(words))
    place: NDArray[np.int64] = hashes[encoded.indices.to_numpy(zero_copy_only=False)]
    return place


def _hash(value: Any) -> int:
    data = value if isinstance(value, bytes) else str(value).encode()
    return int(xxhash.xxh3_64_intdigest(data))


def partitions_for(rows: int) -> int:
    """How many partitions a corpus of that many rows is cut into."""
    return max(1, -(-rows // PARTITION_ROWS))


def _plain(values: Any, kind: pa.DataType) -> pa.Array:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], kind)
    return whole


def _commit_pieces(store: Store, address: Address, pieces: list[pa.Table], began: float, cpu: float) -> dict[str, Any]:
    places = []
    with Attempt(store, address.folder, address.name) as attempt:
        with attempt.file(".arrows") as path, path.open("wb") as file:
            for piece in pieces:
                buffer = io.BytesIO()
                with pa.ipc.new_stream(buffer, piece.schema) as writer:
                    writer.write_table(piece)
                places.append([file.tell(), buffer.tell()])
                file.write(buffer.getbuffer())
        return attempt.commit(_costs(began, cpu) | {"rows": sum(p.num_rows for p in pieces), "pieces": places})


def _read_piece(store: Store, address: Address, number: int) -> pa.Table:
    record = committed(store, address.folder, address.name)
    if record is None:
        raise StorageError(f"{address.folder}/{address.name} was never committed; run the same command again")
    offset, length = record["pieces"][number]
    return pa.ipc.open_stream(store.read_range(record["files"][0]["path"], offset, length)).read_all()


def _costs(began: float, cpu: float) -> dict[str, Any]:
    return {
        "seconds": round(time.perf_counter() - began, 6),
        "cpu_seconds": round(time.process_time() - cpu, 6),
        "peak_memory_bytes": peak_memory_bytes(),
    }
