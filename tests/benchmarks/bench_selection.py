"""Choosing and ordering ten million documents: seconds, and the memory of the largest process.

    bench_selection.py [DOCUMENTS]

`budget`, `mixture` and `curriculum` over made-up narrow columns (a score, tokens, a domain, a difficulty) in a store, from
the sidecars to the last sidecar, with the local engine on two workers; what each round cost is printed for plans of larger
corpora. What was found is held against numpy's sort of all documents in one process.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpora import work
from sketches import Rounds, documents_of, mixed

from pipelines.engine_local import LocalEngine
from pipelines.flow import Related, StoreFlow
from pipelines.ingest import shard_writer
from pipelines.shards import Shard, sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages.base import CorpusStage, column
from stages.corpus.budget import Budget
from stages.corpus.curriculum import Curriculum
from stages.corpus.mixture import Mixture
from stages.document import unpacked

DOCUMENTS = 10_000_000
SHARD_ROWS = 50_000
BATCH_ROWS = 10_000
WORKERS = 2
MOST_SECONDS = 60
MOST_BYTES = 4_000_000_000
DOMAINS = np.array([f"domain-{i}" for i in range(12)])
NARROW = pa.schema(
    [
        column("score", pa.float64(), "1", better="higher"),
        column("tokens", pa.int64(), "token"),
        column("domain", pa.string(), "name"),
        column("difficulty", pa.float32(), "1"),
    ]
)


@dataclass(frozen=True)
class Narrow:
    """A store with documents without text and the columns of a step named `made`."""

    store: Store
    shards: tuple[tuple[Shard, dict[str, str]], ...]
    documents: int


def columns_of(numbers: Any) -> dict[str, Any]:
    """The columns of the documents with these numbers."""
    u = [(mixed(numbers ^ np.uint64(salt << 40)) >> np.uint64(11)).astype(np.float64) / 2**53 for salt in range(1, 6)]
    return {
        "score": (u[0] + u[1] + u[2]) / 3,
        "tokens": (20 + 400 / (u[3] + 0.02)).astype(np.int64),
        "domain": DOMAINS[(12 * u[4] ** 2).astype(np.int64)],
        "difficulty": (u[1] * 10).astype(np.float32),
    }


def make(folder: Path, documents: int) -> Narrow:
    """Write the store."""
    shards = -(-documents // SHARD_ROWS)
    made = tuple(_shard(folder, s, np.arange(s, documents, shards, dtype=np.uint64)) for s in range(shards))
    return Narrow(Store.open(folder), made, documents)


def ids_of(numbers: Any) -> pa.Array:
    """The `doc_id`s of the documents with these numbers."""
    return unpacked(np.stack([mixed(numbers), mixed(~numbers)], axis=1).view(np.uint8).reshape(-1, 16))


def _shard(folder: Path, number: int, numbers: Any) -> tuple[Shard, dict[str, str]]:
    name = f"made/{number:05d}"
    own, sidecar = folder / f"{name}.parquet", folder / f"{name}.made.parquet"
    own.parent.mkdir(parents=True, exist_ok=True)
    with shard_writer(own) as documents, sidecar_writer(sidecar, NARROW) as narrow:
        for start in range(0, len(numbers), BATCH_ROWS):
            some = numbers[start : start + BATCH_ROWS]
            ids = ids_of(some)
            documents.write_batch(documents_of(ids), row_group_size=len(some))
            found = columns_of(some)
            arrays = [ids, pa.nulls(len(some), pa.string()), *(pa.array(found[f.name], f.type) for f in NARROW)]
            rows = pa.RecordBatch.from_arrays(arrays, schema=sidecar_schema(NARROW))
            narrow.write_batch(rows, row_group_size=len(some))
    shard = Shard(f"{number:032x}", f"{name}.parquet", len(numbers), 0, "made")
    return shard, {f"made.{f.name}": f"{name}.made.parquet" for f in NARROW}


def stages(documents: int) -> list[CorpusStage]:
    """The stages that are measured, each for about a third of all tokens."""
    amount = documents * 500
    return [
        Budget(by="made.score", count="made.tokens", amount=amount, temperature=0.1, seed=17),
        Mixture(by="made.domain", count="made.tokens", amount=amount, temperature=3.3, max_epochs=4, seed=17),
        Curriculum(by="made.difficulty", pacing="root", mix=0.2, seed=17),
        Curriculum(by="made.difficulty", pacing="linear", balance="made.domain", interleave=3, warmup=0.5, seed=17),
    ]


def related(made: Narrow, stage: CorpusStage, rounds: Rounds) -> StoreFlow:
    """Run a stage's program."""
    sidecars = {shard.digest: paths for shard, paths in made.shards}
    work = Related(stage.kind, f"steps/{stage.kind}", "run", stage, stage.schema(), sidecars)
    flow = StoreFlow(made.store, [shard for shard, _ in made.shards], work, rounds)
    stage.program(flow)
    return flow


def answers(made: Narrow, flow: StoreFlow, names: list[str]) -> pa.Table:
    """The sidecars' columns, in the order of the shards."""
    found = {}
    for shard, record, _ in flow.results:
        with made.store.open_input(record["files"][0]["path"]) as file:
            found[shard.digest] = pq.read_table(file, columns=names)
    return pa.concat_tables([found[shard.digest] for shard, _ in made.shards])


def check_budget(made: Narrow, flow: StoreFlow) -> str:
    """Hold the choice against one sort of all documents.

    Raises:
        AssertionError: the choices differ.
    """
    table = answers(made, flow, ["selected", "priority"])
    shards = len(made.shards)
    numbers = np.concatenate([np.arange(s, made.documents, shards, dtype=np.uint64) for s in range(shards)])
    tokens = columns_of(numbers)["tokens"]
    priority, selected = table["priority"].to_numpy(), table["selected"].to_numpy()
    order = np.argsort(-priority)
    expected = np.empty(len(order), bool)
    expected[order] = np.cumsum(tokens[order]) <= made.documents * 500
    assert np.array_equal(expected, selected), "the budget took other documents than a sort of all would"
    return f"{int(selected.sum()):,} documents, the same as by one sort"


def check_curriculum(made: Narrow, flow: StoreFlow) -> str:
    """See that positions have no gap and phases no turning back.

    Raises:
        AssertionError: they have.
    """
    table = answers(made, flow, ["position", "phase"])
    phase = np.full(made.documents, -1)
    phase[table["position"].to_numpy()] = table["phase"].to_numpy()
    assert phase.min() >= 0, "a position is nobody's"
    assert (np.diff(phase) >= 0).all(), "a phase comes before an earlier one"
    return f"phases of {np.bincount(phase).tolist()} documents"


def check_mixture(made: Narrow, flow: StoreFlow) -> str:
    """See how far the domains are from their targets.

    Raises:
        AssertionError: a domain got more, or less by more than a document.
    """
    del made
    short = [flow.counts[f"domain:{d}:target"] - flow.counts[f"domain:{d}:amount"] for d in DOMAINS]
    assert 0 <= min(short) <= max(short) < 20 + 400 / 0.02, "a domain missed its target by more than a document"
    return f"domains within {max(short):,} tokens of their targets"


CHECKS: dict[str, Callable[[Narrow, StoreFlow], str]] = {
    "budget": check_budget,
    "mixture": check_mixture,
    "curriculum": check_curriculum,
}


def figure(what: str, ours: float, unit: str, bar: str, *, holds: bool) -> None:
    print(json.dumps({"what": what, "ours": ours, "unit": unit, "bar": bar, "holds": holds}), flush=True)


def measured(made: Narrow, stage: CorpusStage, engine: LocalEngine) -> None:
    """Run a stage and print what it took."""
    rounds = Rounds(engine, time.perf_counter)
    began = time.perf_counter()
    flow = related(made, stage, rounds)
    seconds = time.perf_counter() - began
    for name, one in rounds.spent.items():
        print(
            f"{stage.kind} {name:<12}{one.tasks:>6} tasks{one.seconds:>8.2f} s{one.cpu_seconds:>8.2f} CPU s"
            f"{one.rows:>12,} rows{one.bytes:>15,} bytes{one.peak / 1e6:>7.0f} MB",
            flush=True,
        )
    cpu = sum(one.cpu_seconds for one in rounds.spent.values())
    print(f"{stage.kind}: {seconds:.2f} s, {cpu:.2f} CPU s; {CHECKS[stage.kind](made, flow)}", flush=True)
    options = " with balance, interleave and warm-up" if getattr(stage, "balance", None) else ""
    what = f"{stage.kind} of {made.documents:,} documents{options}"
    figure(what, round(seconds, 2), "s", f"< {MOST_SECONDS}", holds=seconds < MOST_SECONDS)
    peak = max(one.peak for one in rounds.spent.values())
    figure(f"{what}, largest process", round(peak / 1e6), "MB", "< 4000", holds=peak < MOST_BYTES)
    shutil.rmtree(Path(made.store.url) / "steps")


def main() -> None:
    """Print the figures."""
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS
    with tempfile.TemporaryDirectory(dir=work()) as temporary, LocalEngine(WORKERS) as engine:
        made = make(Path(temporary) / "store", documents)
        for stage in stages(documents):
            measured(made, stage, engine)


if __name__ == "__main__":
    main()
