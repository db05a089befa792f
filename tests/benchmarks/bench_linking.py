"""How the linking of sketched documents grows: time, memory, and bytes and seconds of each round.

    bench_linking.py [DOCUMENTS ...]

`near_duplicates` over made-up signatures in a store, with the local engine on two workers and 24 partitions, at 400,000,
800,000 and 1,600,000 documents: the median of five runs of each, and the exponent of time against documents, fitted by
least squares on logarithms; for the CPU seconds of all workers too, which other work on the machine moves less. What the rounds cost at the largest size is printed for plans of larger ones; what was found
is compared with what was planted.
"""

import json
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from corpora import work
from sketches import Rounds, Sketched, Spent, Split, group_of, link, make, planted

from pipelines.engine_local import LocalEngine
from pipelines.flow import StoreFlow

SIZES = (400_000, 800_000, 1_600_000)
RUNS = 5
WORKERS = 2
MOST_EXPONENT = 1.10
MOST_BYTES = 2_000_000_000


def figure(what: str, ours: float, unit: str, bar: str, *, holds: bool) -> None:
    print(json.dumps({"what": what, "ours": ours, "unit": unit, "bar": bar, "holds": holds}), flush=True)


def timed(made: Sketched, engine: LocalEngine, name: str) -> tuple[float, Rounds, StoreFlow]:
    """Seconds from the sketches to the last sidecar, and what the rounds cost."""
    rounds = Rounds(engine, time.perf_counter)
    began = time.perf_counter()
    flow = link(made, rounds, name)
    return time.perf_counter() - began, rounds, flow


def measured(base: Path, documents: int, engine: LocalEngine) -> tuple[float, float, Rounds]:
    """The medians of the runs' seconds and CPU seconds, and the rounds of the last."""
    made = make(base / f"store-{documents}", documents, planted)
    seconds, cpu = [], []
    for run in range(RUNS):
        spent, rounds, flow = timed(made, engine, f"run-{run}")
        seconds.append(spent)
        cpu.append(sum(r.cpu_seconds for r in rounds.spent.values()))
        if run == 0:
            print(f"{documents:,} documents: {found(made, flow)}", flush=True)
        shutil.rmtree(base / f"store-{documents}" / "steps")
    shutil.rmtree(base / f"store-{documents}")
    runs = ", ".join(f"{s:.2f}" for s in seconds)
    print(f"{documents:,} documents: {runs} s, median {statistics.median(seconds):.2f}", flush=True)
    return statistics.median(seconds), statistics.median(cpu), rounds


def found(made: Sketched, flow: StoreFlow) -> str:
    """How the clusters compare with the groups that were planted.

    Raises:
        AssertionError: a cluster holds documents of two groups.
    """
    clusters, groups = [], []
    number = {shard.digest: n for n, (shard, _) in enumerate(made.shards)}
    for shard, record, _ in flow.results:
        with made.store.open_input(record["files"][0]["path"]) as file:
            table = pq.read_table(file, columns=["cluster", "cluster_size"])
        several = table["cluster_size"].to_numpy() > 1
        clusters.append(table["cluster"].filter(pa.array(several)))
        groups.append(group_of(made.numbers(number[shard.digest]))[several])
    group = np.concatenate(groups)
    cluster = pa.chunked_array([c for some in clusters for c in some.chunks]).combine_chunks().dictionary_encode()
    pairs = np.unique(np.stack([cluster.indices.to_numpy(), group]), axis=1)
    assert len(np.unique(pairs[0])) == pairs.shape[1], "a cluster holds documents of two groups"
    members = sum(int(np.count_nonzero(group_of(made.numbers(n)) >= 0)) for n in range(len(made.shards)))
    return f"{len(group):,} of {members:,} planted duplicates linked in {len(cluster.dictionary):,} clusters, none to another group"


def table(rounds: dict[str, Spent]) -> None:
    """Print what each round cost."""
    print(f"{'round':<12}{'tasks':>7}{'seconds':>10}{'CPU s':>9}{'rows sent':>14}{'bytes sent':>16}{'peak MB':>9}")
    for name, one in rounds.items():
        print(
            f"{name:<12}{one.tasks:>7}{one.seconds:>10.2f}{one.cpu_seconds:>9.2f}{one.rows:>14,}{one.bytes:>16,}{one.peak / 1e6:>9.0f}",
            flush=True,
        )


def main() -> None:
    """Print the figures."""
    sizes = [int(a) for a in sys.argv[1:]] or list(SIZES)
    seconds, cpu = [], []
    with tempfile.TemporaryDirectory(dir=work()) as temporary, LocalEngine(WORKERS) as engine:
        base = Path(temporary)
        timed(make(base / "warm", 20_000, planted), engine, "warm")
        for documents in sizes:
            wall, worked, rounds = measured(base, documents, engine)
            seconds.append(wall)
            cpu.append(worked)
        table(rounds.spent)
    peak = max(*(r.peak for r in rounds.spent.values()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
    what = f"linking {sizes[-1]:,} sketches, largest process, {Split.partitions} partitions"
    figure(what, round(peak / 1e6), "MB", "< 2000", holds=peak < MOST_BYTES)
    figure(f"linking {sizes[-1]:,} sketches", round(seconds[-1], 2), "s", "", holds=True)
    if len(sizes) > 1:
        exponent, working = (float(np.polyfit(np.log(sizes), np.log(some), 1)[0]) for some in (seconds, cpu))
        print(f"CPU seconds {', '.join(f'{c:.2f}' for c in cpu)}: exponent {working:.3f}", flush=True)
        figure(
            "exponent of linking time",
            round(exponent, 3),
            "power of documents",
            "<= 1.10",
            holds=exponent <= MOST_EXPONENT,
        )


if __name__ == "__main__":
    main()
