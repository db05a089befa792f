"""What each engine costs: time to start, tasks a second that do nothing, milliseconds a commit, and throughput on
shards of real work (read Parquet, two seconds of one core, commit a sidecar). The engines take turns, a quarter of
the shards each time, so that whatever else the machine does meets both.

    python tests/benchmarks/bench_engines.py [--shards 64] [--seconds 2] [--workers 2]
"""

import argparse
import json
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.commit import Attempt, committed
from pipelines.engine import Engine, open_engine
from pipelines.store import Store

TURNS = 4
LEAST_SHARE = 0.9
NOTHINGS = 1000
FOLDER = "steps/squeeze-0123456789abcdef"
WORDS = ("the", "naïve", "漢字", "かな", "שלום", "👩‍👩‍👧", "e\u0301", "corpus", "sieve")


@dataclass(frozen=True)
class Squeeze:
    """Compresses every document of a shard again and again and commits how well that went."""

    store: Store
    shard: str
    name: str
    times: int

    def __call__(self) -> float:
        start = time.process_time()
        texts = pq.read_table(self.store.open_input(self.shard))["text"].to_pylist()
        for _ in range(self.times):
            ratios = [len(zlib.compress(t.encode())) / len(t.encode()) for t in texts]
        with Attempt(self.store, FOLDER, self.name) as attempt:
            with attempt.file() as path:
                pq.write_table(pa.table({"ratio": pa.array(ratios, pa.float32())}), path)
            attempt.commit({"rows": len(ratios)})
        return time.process_time() - start


def make_shard(store: Store) -> str:
    """One shard of 1,000 documents of 2 to 9 kB."""
    texts = [" ".join(WORDS[(i * j) % len(WORDS)] + str(j) for j in range(200 + i % 500)) for i in range(1000)]
    local = store.scratch() / "shard"
    pq.write_table(pa.table({"text": texts}), local)
    store.upload(local, "shards/one.parquet")
    return "shards/one.parquet"


def seconds_of(work: Callable[[], object]) -> float:
    """Wall-clock seconds of a call."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def run_all(engine: Engine, tasks: list[Squeeze]) -> None:
    """Run the tasks; each must have been committed."""
    for outcome in engine.each(tasks):
        assert outcome.failure is None, outcome.failure
    assert all(committed(t.store, FOLDER, t.name) for t in tasks)


def nothings(engine: Engine) -> float:
    """Tasks a second that do nothing."""
    return NOTHINGS / seconds_of(lambda: list(engine.each(partial(abs, i) for i in range(NOTHINGS))))


def commit_milliseconds(store: Store) -> float:
    """Median milliseconds from a written 40 kB sidecar to its commit record."""
    table = pa.table({"x": pa.array(range(10_000), pa.int32())})

    def one(name: str) -> float:
        with Attempt(store, "steps/one-0123456789abcdef", name) as attempt:
            with attempt.file() as path:
                pq.write_table(table, path)
                start = time.perf_counter()
            attempt.commit({})
        return (time.perf_counter() - start) * 1000

    return median(one(str(i)) for i in range(200))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shards", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure(Store.open(Path(folder)), options)


def measure(store: Store, options: argparse.Namespace) -> None:
    """Run everything in one store and print the table."""
    shard = make_shard(store)
    once = min(Squeeze(store, shard, f"warm-{i}", 1)() for i in range(3))
    times = max(1, round(options.seconds * 1.05 / once))
    engines: dict[str, Engine] = {}
    start: dict[str, float] = {}
    for name in ("local", "ray"):
        begun = time.perf_counter()
        engines[name] = open_engine(name, options.workers)
        list(engines[name].each([partial(time.sleep, 0.2)] * 2 * options.workers))
        start[name] = time.perf_counter() - begun
    spent = dict.fromkeys(engines, 0.0)
    quarter = max(1, options.shards // TURNS)
    for turn in range(TURNS):
        for name in sorted(engines, reverse=turn % 2 == 1):
            tasks = [Squeeze(store, shard, f"{name}-{turn}-{i}", times) for i in range(quarter)]
            spent[name] += seconds_of(partial(run_all, engines[name], tasks))
    lines = [
        f"commit of one sidecar: {commit_milliseconds(store):.1f} ms",
        "",
        f"| engine ({options.workers} workers) | start, s | nothings/s | {quarter * TURNS} shards, s | of local |",
        "|---|---|---|---|---|",
    ]
    for name, engine in engines.items():
        share = spent["local"] / spent[name]
        lines.append(f"| {name} | {start[name]:.1f} | {nothings(engine):,.0f} | {spent[name]:.1f} | {share:.0%} |")
        engine.close()
    sys.stdout.write("\n".join(lines) + "\n")
    share = spent["local"] / spent["ray"]
    figure = {"what": "Ray against local throughput", "ours": round(share, 3), "unit": "ratio", "bar": ">= 0.90"}
    print(json.dumps(figure | {"holds": share >= LEAST_SHARE}))


if __name__ == "__main__":
    from bench_engines import main as importable_main  # workers cannot import __main__

    importable_main()
