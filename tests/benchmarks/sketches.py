"""Stores of made-up MinHash signatures: what linking is measured on, without text or time to sign it.

Every value is a hash of the document's number and the position, so a store is the same wherever it is made.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.engine import Engine
from pipelines.flow import Related, StoreFlow
from pipelines.ingest import shard_writer
from pipelines.shards import Shard, sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages.corpus.near_duplicates import NearDuplicates
from stages.document import DOCUMENT, unpacked
from stages.text.minhash import Minhash

SKETCH = Minhash(bands=14, rows=8, seed=1)
LINKING = NearDuplicates(of="sketch").resolve({"sketch": SKETCH})
SHARD_ROWS = 50_000
BATCH_ROWS = 10_000
#: Documents in a row of which the first few, up to half of them, are near duplicates of each other.
BLOCK = 20

Numbers = NDArray[np.uint64]
#: Signatures (uint32 of shape (documents, permutations)) of the documents with these numbers.
Signatures = Callable[[Numbers], NDArray[np.uint32]]


def mixed(numbers: Numbers) -> Numbers:
    """SplitMix64 of each number."""
    z = numbers + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _values(seeds: Numbers, salt: int) -> Numbers:
    """A 64-bit value for each seed and position."""
    positions = np.arange(SKETCH.permutations, dtype=np.uint64) + np.uint64(salt << 32)
    return mixed(mixed(seeds)[:, None] ^ mixed(positions)[None, :])


def group_of(numbers: Numbers) -> NDArray[np.int64]:
    """The group of near duplicates that a document was planted in, -1 for none. A quarter of all documents are in one."""
    block, place = numbers // np.uint64(BLOCK), numbers % np.uint64(BLOCK)
    members = mixed(block) % np.uint64(BLOCK // 2 + 1)
    return np.where((place < members) & (members > 1), block.astype(np.int64), -1)


def planted(numbers: Numbers) -> NDArray[np.uint32]:
    """Random signatures, among them groups whose members share between .72 and all of their values."""
    own, group = _values(numbers, 1), group_of(numbers)
    base = _values(np.maximum(group, 0).astype(np.uint64), 2)
    share = 0.85 + 0.15 * (mixed(numbers ^ np.uint64(7)) >> np.uint64(11)) / 2**53
    chance = (_values(numbers, 3) >> np.uint64(11)) / 2**53
    copied = (group >= 0)[:, None] & (chance < share[:, None])
    return np.where(copied, base, own).astype(np.uint32)


def one_bucket(numbers: Numbers) -> NDArray[np.uint32]:
    """Signatures that share their first band and nothing else."""
    values = _values(numbers, 1).astype(np.uint32)
    values[:, : SKETCH.rows] = 7
    return values


def identical(numbers: Numbers) -> NDArray[np.uint32]:
    """One signature for all."""
    return np.repeat(_values(np.zeros(1, np.uint64), 1).astype(np.uint32), len(numbers), axis=0)


@dataclass(frozen=True)
class Sketched:
    """A store with documents without text and the sketches of a step named `sketch`."""

    store: Store
    shards: tuple[tuple[Shard, dict[str, str]], ...]
    documents: int

    def numbers(self, shard: int) -> Numbers:
        """The numbers of a shard's documents; neighbours lie in different shards."""
        return np.arange(shard, self.documents, len(self.shards), dtype=np.uint64)


def make(folder: Path, documents: int, signatures: Signatures) -> Sketched:
    """Write the store."""
    store = Store.open(folder)
    shards = -(-documents // SHARD_ROWS)
    numbers = [np.arange(s, documents, shards, dtype=np.uint64) for s in range(shards)]
    made = tuple(_shard(folder, s, some, signatures) for s, some in enumerate(numbers))
    return Sketched(store, made, documents)


def _shard(folder: Path, number: int, numbers: Numbers, signatures: Signatures) -> tuple[Shard, dict[str, str]]:
    name = f"made/{number:05d}"
    own, sidecar = folder / f"{name}.parquet", folder / f"{name}.sketch.parquet"
    own.parent.mkdir(parents=True, exist_ok=True)
    with shard_writer(own) as documents, sidecar_writer(sidecar, SKETCH.schema()) as sketches:
        for start in range(0, len(numbers), BATCH_ROWS):
            some = numbers[start : start + BATCH_ROWS]
            ids = unpacked(np.stack([mixed(some), mixed(~some)], axis=1).view(np.uint8).reshape(-1, 16))
            documents.write_batch(documents_of(ids), row_group_size=len(some))
            sketches.write_batch(_sketches(ids, signatures(some)), row_group_size=len(some))
    shard = Shard(f"{number:032x}", f"{name}.parquet", len(numbers), 0, "made")
    return shard, {f"sketch.{f.name}": f"{name}.sketch.parquet" for f in SKETCH.schema()}


def documents_of(ids: pa.Array) -> pa.RecordBatch:
    """Documents without text."""
    fill: dict[str, Any] = {"doc_id": ids, "source": _same("made", ids), "path": _same("made", ids)}
    fill["ordinal"] = pa.array(np.arange(len(ids)))
    columns = [fill.get(f.name, pa.nulls(len(ids), f.type)) for f in DOCUMENT]
    return pa.RecordBatch.from_arrays(columns, schema=DOCUMENT)


def _same(value: str, ids: pa.Array) -> pa.Array:
    return pa.array([value] * len(ids), pa.string())


def _sketches(ids: pa.Array, signatures: NDArray[np.uint32]) -> pa.RecordBatch:
    kind = pa.binary(4 * SKETCH.permutations)
    data = pa.py_buffer(np.ascontiguousarray(signatures, "<u4"))
    columns = [
        ids,
        pa.nulls(len(ids), pa.string()),
        pa.FixedSizeBinaryArray.from_buffers(kind, len(ids), [None, data]),
        pa.array(np.full(len(ids), 100)),
        pa.array(np.zeros(len(ids), bool)),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=sidecar_schema(SKETCH.schema()))


@dataclass
class Spent:
    """What the rounds of one name came to: wall and CPU seconds, tasks, rows and bytes sent, largest process in bytes."""

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    tasks: int = 0
    rows: int = 0
    bytes: int = 0
    peak: int = 0


@dataclass
class Rounds:
    """Runs a flow's tasks on an engine and notes what each round costs."""

    engine: Engine
    clock: Callable[[], float]
    spent: dict[str, Spent] = field(default_factory=dict)

    def __call__(self, name: str, tasks: Sequence[Any]) -> Iterator[tuple[Any, Any, bool]]:
        """Run one round."""
        one = self.spent.setdefault(name, Spent())
        began = self.clock()
        for outcome in self.engine.each(tasks):
            if outcome.failure is not None:
                raise outcome.failure.error or RuntimeError(outcome.failure.message)
            record = outcome.value
            one.tasks += 1
            one.cpu_seconds += record["cpu_seconds"]
            one.rows += record["rows"]
            one.bytes += sum(f["bytes"] for f in record["files"])
            one.peak = max(one.peak, record["peak_memory_bytes"])
            yield tasks[outcome.index], record, False
        one.seconds += self.clock() - began


class Split(StoreFlow):
    """A program over the store with a given number of partitions."""

    partitions = 24

    def split(self, partitions: int) -> None:
        """Take the given number, whatever the program would choose."""
        del partitions
        super().split(self.partitions)


def link(made: Sketched, rounds: Rounds, name: str) -> StoreFlow:
    """Run the program of `near_duplicates` over the sketches; its files are named by `name`."""
    sidecars = {shard.digest: paths for shard, paths in made.shards}
    work = Related(name, f"steps/copies-{name}", name, LINKING, LINKING.schema(), sidecars)
    flow = Split(made.store, [shard for shard, _ in made.shards], work, rounds)
    LINKING.program(flow)
    return flow
