"""Programs of corpus stages over the store: every round is a set of tasks that leave one committed file each.

A file begins with the offset of the piece for every site, then the schema, then the pieces: Arrow streams. Whoever
reads a piece reads 16 bytes and the piece, so neither the driver nor a task holds an index that grows with both sides.
"""

import io
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.commit import Attempt
from pipelines.passes import Address, peak_memory_bytes
from pipelines.shards import Shard, Sidecars, batches, sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages.errors import StageError
from stages.flow import Exchange, Place, Work, add_counts, pieces_of, settled, with_counts

#: Raised when rounds send rows elsewhere or otherwise than before: half-done work of an older version is not gone on with.
LAYOUT = 2

#: What a program is for: work is done once for the same name, and thrown away when its results are sealed.
Committed = Callable[[str, Sequence[Any]], Iterator[tuple[Any, Mapping[str, Any], bool]]]


class Program(Protocol):
    """What can be run as a flow: a corpus stage, or a choice of the policy."""

    def program(self, flow: Any) -> None:
        """Relate all documents in rounds, ending with `flow.settle`."""


@dataclass(frozen=True, slots=True)
class Related:
    """A program to run over all shards, and where its results go.

    `inputs` is a key of everything that it reads; `sidecars` (by shard digest) and `names` say where columns are.
    """

    name: str
    folder: str
    inputs: str
    program: Program
    schema: pa.Schema
    sidecars: Mapping[str, Sidecars] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShardSite:
    """A site of a program over the store. At shards, `shard` and where its columns are; `names` maps to full names."""

    store: Store
    place: Place
    number: int
    sites: Mapping[Place, int]
    shard: Shard | None = None
    sidecars: Sidecars = ()  # type: ignore[assignment]  # none at partitions
    names: Mapping[str, str] = ()  # type: ignore[assignment]  # the same

    @property
    def at(self) -> tuple[int, int]:
        """Which site it is, of how many."""
        return self.number, self.sites[self.place]

    def columns(self, *names: str) -> pa.Table:
        """See `stages.flow.Site`."""
        assert self.shard is not None
        full = [self.names.get(n, n) for n in names]
        wanted = list(dict.fromkeys(["doc_id", *full]))
        found = pa.Table.from_batches(list(batches(self.store, self.shard, wanted, self.sidecars)))
        columns = {short: found[name] for short, name in zip(names, full, strict=True)}
        return pa.table({"row": pa.array(np.arange(found.num_rows)), "doc_id": found["doc_id"], **columns})

    def texts(self, column: str, rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """See `stages.flow.Site`."""
        assert self.shard is not None
        name = self.names.get(column, column)
        starts = group_starts(self.store, self.shard)
        group_N = np.searchsorted(starts, rows, side="right") - 1
        groups = np.unique(group_N).tolist()
        found = batches(self.store, self.shard, [name], self.sidecars, frozenset(groups))
        for group, batch in zip(groups, found, strict=True):
            mine = rows[group_N == group]
            texts = batch[name].take(pa.array(mine - starts[group]))
            yield pa.record_batch({"row": pa.array(mine), "text": texts})


def group_starts(store: Store, shard: Shard) -> NDArray[np.int64]:
    """The number of the first row of each row group of a shard."""
    import pyarrow.parquet as pq  # noqa: PLC0415 - where texts are read only

    with store.open_input(shard.path) as file:
        meta = pq.read_metadata(file)
    sizes = [meta.row_group(i).num_rows for i in range(meta.num_row_groups)]
    return np.cumsum([0, *sizes[:-1]])


@dataclass(frozen=True, slots=True)
class Round:
    """One site's part of a round; gives its commit record."""

    store: Store
    work: Work
    site: ShardSite
    inputs: tuple[tuple[str, ...], ...]  # for each exchange, the files of all sites that sent something
    to: int
    address: Address
    durable: ClassVar[bool] = False  # what is sent from round to round is thrown away at the end

    @property
    def shard(self) -> Shard | None:
        """The shard at which it runs, for messages."""
        return self.site.shard

    def __call__(self) -> dict[str, Any]:
        """Run, and commit what is sent."""
        began, cpu = time.perf_counter(), time.process_time()
        tables = [read_pieces(self.store, paths, *self.site.at) for paths in self.inputs]
        table, counts = with_counts(self.work(self.site, *tables))
        del tables
        with Attempt(self.store, self.address.folder, self.address.name, durable=False) as attempt:
            with attempt.file(".arrows") as path, path.open("wb") as file:
                write_pieces(file, table, self.to)
            return attempt.commit(_costs(began, cpu) | {"rows": table.num_rows, "counts": dict(counts)})


@dataclass(frozen=True, slots=True)
class Settle:
    """The last round at one shard: writes the shard's sidecar."""

    store: Store
    work: Work
    site: ShardSite
    inputs: tuple[tuple[str, ...], ...]
    schema: pa.Schema
    address: Address
    durable: ClassVar[bool] = True

    @property
    def shard(self) -> Shard | None:
        """The shard at which it runs."""
        return self.site.shard

    def __call__(self) -> dict[str, Any]:
        """Run, and commit the sidecar; rows that took no part get null."""
        began, cpu = time.perf_counter(), time.process_time()
        shard = self.site.shard
        assert shard is not None
        tables = [read_pieces(self.store, paths, *self.site.at) for paths in self.inputs]
        table, counts = with_counts(self.work(self.site, *tables))
        columns = self._columns(settled(table, shard.rows))
        with Attempt(self.store, self.address.folder, self.address.name) as attempt:
            with attempt.file() as path, sidecar_writer(path, self.schema) as writer:
                start = 0
                for batch in batches(self.store, shard, ["doc_id", "id"], {}):
                    own = [_plain(c.slice(start, batch.num_rows)) for c in columns]
                    rows = pa.Table.from_arrays([*batch.columns, *own], schema=sidecar_schema(self.schema))
                    writer.write_table(rows, row_group_size=max(1, batch.num_rows))
                    start += batch.num_rows
            return attempt.commit(_costs(began, cpu) | {"rows": shard.rows, "quarantined": [], "counts": dict(counts)})

    def _columns(self, table: pa.Table) -> list[pa.ChunkedArray]:
        for one in self.schema:
            if one.name not in table.column_names or table[one.name].type != one.type:
                raise StageError(
                    f"the corpus step in {self.address.folder} did not give values of {one.type} for "
                    f"{one.name!r}; mend the stage",
                    column=one.name,
                )
        return [table[f.name] for f in self.schema]


def _plain(values: pa.ChunkedArray) -> pa.Array:
    if values.num_chunks == 1:
        return values.chunk(0)
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)


class StoreFlow:
    """A program's rounds as tasks, over the shards in the order of their digests."""

    def __init__(self, store: Store, shards: Sequence[Shard], work: Related, run: Committed) -> None:
        self._store, self._work, self._run = store, work, run
        self._shards = sorted(shards, key=lambda shard: shard.digest)
        self._partitions = 1
        self.addresses: list[Address] = []
        self.counts: dict[str, int] = {}
        self.costs: dict[str, float] = {"seconds": 0.0, "cpu_seconds": 0.0, "peak_memory_bytes": 0}
        self.results: list[tuple[Shard, Mapping[str, Any], bool]] = []

    @property
    def documents(self) -> int:
        """See `stages.flow.Flow`."""
        return sum(shard.rows for shard in self._shards)

    @property
    def sites(self) -> Mapping[Place, int]:
        """See `stages.flow.Flow`."""
        return {"shards": len(self._shards), "partitions": self._partitions, "one": 1}

    def split(self, partitions: int) -> None:
        """See `stages.flow.Flow`."""
        self._partitions = partitions

    def at(self, place: Place, name: str, work: Work, *inputs: Exchange, to: Place) -> Exchange:
        """See `stages.flow.Flow`."""
        label = f"{self._work.inputs}.{len(self.addresses)}-{name}.{self._partitions}.v{LAYOUT}"
        tasks = [
            Round(
                self._store, work, site, _files(place, inputs), self.sites[to], self._address(f"{label}.{site.number}")
            )
            for site in self._at(place)
        ]
        paths, rows, counts = {}, 0, dict[str, int]()
        for task, record, _ in self._run(name, tasks):
            paths[task.site.number] = record["files"][0]["path"]
            rows += record["rows"]
            add_counts(counts, record["counts"])
            self._note(record)
        add_counts(self.counts, counts)
        self.addresses += [t.address for t in tasks]
        return Exchange(name, to, rows, counts, tuple(paths[n] for n in sorted(paths)))

    def settle(self, work: Work, *inputs: Exchange) -> None:
        """See `stages.flow.Flow`."""
        files = _files("shards", inputs)
        tasks = [
            Settle(
                self._store,
                work,
                site,
                files,
                self._work.schema,
                self._address(f"{site.shard.digest}.{self._work.inputs}"),
            )
            for site in self._at("shards")
            if site.shard is not None
        ]
        for task, record, cached in self._run("settle", tasks):
            add_counts(self.counts, record["counts"])
            self.results.append((task.shard, record, cached))

    def _address(self, name: str) -> Address:
        return Address(self._work.folder, name)

    def _at(self, place: Place) -> list[ShardSite]:
        if place != "shards":
            return [ShardSite(self._store, place, n, self.sites) for n in range(self.sites[place])]
        return [
            ShardSite(
                self._store, place, n, self.sites, shard, self._work.sidecars.get(shard.digest, {}), self._work.names
            )
            for n, shard in enumerate(self._shards)
        ]

    def _note(self, record: Mapping[str, Any]) -> None:
        self.costs["seconds"] += record["seconds"]
        self.costs["cpu_seconds"] += record["cpu_seconds"]
        self.costs["peak_memory_bytes"] = max(self.costs["peak_memory_bytes"], record["peak_memory_bytes"])


def _files(place: Place, inputs: Sequence[Exchange]) -> tuple[tuple[str, ...], ...]:
    assert all(e.to == place for e in inputs), "an exchange is read where it was sent"
    return tuple(e.content for e in inputs)


def write_pieces(file: Any, table: pa.Table, sites: int) -> None:
    """Write a table's pieces for all sites: offsets (int64, one more than sites), schema, Arrow streams."""
    pieces = pieces_of(table, sites)
    schema = pieces[0].schema.serialize().to_pybytes()
    offsets = np.zeros(sites + 1, np.int64)
    offsets[0] = offsets.nbytes + len(schema)
    file.write(offsets.tobytes())
    file.write(schema)
    for number, piece in enumerate(pieces):
        length = 0
        if piece.num_rows:
            buffer = io.BytesIO()
            with pa.ipc.new_stream(buffer, piece.schema) as writer:
                writer.write_table(piece)
            length = buffer.tell()
            file.write(buffer.getbuffer())
        offsets[number + 1] = offsets[number] + length
    file.seek(0)
    file.write(offsets.tobytes())


def read_pieces(store: Store, paths: Sequence[str], site: int, sites: int) -> pa.Table:
    """The rows that all files hold for one of `sites` sites, in the order of the files."""
    found = [piece for path in paths if (piece := _piece(store, path, site)) is not None]
    return pa.concat_tables(found) if found else _schema(store, paths[0], sites).empty_table()


def _piece(store: Store, path: str, site: int) -> pa.Table | None:
    with store.open_input(path) as file:
        begin, end = np.frombuffer(file.read_at(16, 8 * site), np.int64).tolist()
        if begin == end:
            return None
        return pa.ipc.open_stream(pa.BufferReader(file.read_at(end - begin, begin))).read_all()


def _schema(store: Store, path: str, sites: int) -> pa.Schema:
    with store.open_input(path) as file:
        first = int(np.frombuffer(file.read_at(8, 0), np.int64)[0])
        begin = 8 * (sites + 1)
        return pa.ipc.read_schema(pa.BufferReader(file.read_at(first - begin, begin)))


def _costs(began: float, cpu: float) -> dict[str, Any]:
    return {
        "seconds": round(time.perf_counter() - began, 6),
        "cpu_seconds": round(time.process_time() - cpu, 6),
        "peak_memory_bytes": peak_memory_bytes(),
    }
