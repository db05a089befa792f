"""What an index costs: building it, adding a tenth, adding ten more tenths with the merges that fall due, lookups, removals.

Synthetic sketches of 112 permutations with values as documents of some thousand n-grams have them, in batches of 20,000,
as a run's shards give them; 400,000 of them unless TAMIS_BENCH_SKETCHES says otherwise. One process. The bar: adding a
tenth costs at most 15 % of building (median of five). A wrong answer of the Bloom filters is counted twice: with our
keys of bands, and with the sums that datasketch takes.
"""

import json
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
from corpora import work

from pipelines.index import bloom
from pipelines.index.backend import Backend, Coming
from pipelines.index.bloom import Bloom
from pipelines.index.embedded import Embedded
from pipelines.progress import NullWatch
from pipelines.store import Store
from stages.index.manifest import Configuration, sketch_of
from stages.text.minhash import Minhash

SKETCHES = int(os.environ.get("TAMIS_BENCH_SKETCHES", "400000"))
TENTH = SKETCHES // 10
MOST_SHARE = 0.15
REPEATS = 5
PERMUTATIONS = 112
CONFIGURATION = Configuration(sketch_of(Minhash().identity()), 14, 8)


def signatures(count: int, seed: int) -> np.ndarray:
    """Sketches that are like no other."""
    return np.random.default_rng(seed).integers(0, 1 << 22, (count, PERMUTATIONS), dtype=np.uint32)


def coming(name: str, count: int, seed: int) -> Coming:
    """An add of synthetic documents, held in memory beforehand."""
    digits = np.random.default_rng(seed + 1_000_000).bytes(16 * count).hex()
    columns = {
        "doc_id": [digits[i : i + 32] for i in range(0, len(digits), 32)],
        "id": [f"{name}-{i}" for i in range(count)],
        "source": ["web"] * count,
        "path": [f"part-{i // 10_000:05d}.jsonl.gz" for i in range(count)],
        "url": [f"https://example.org/{name}/{i}" for i in range(count)],
        "signature": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(4 * PERMUTATIONS), count, [None, pa.py_buffer(signatures(count, seed))]
        ),
    }
    batches = pa.table(columns).to_batches(max_chunksize=20_000)
    return Coming(name, f"run of {name}", name, count, lambda: iter([pa.Table.from_batches([b]) for b in batches]))


def seconds(work_: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work_()
    return time.perf_counter() - began


def figure(what: str, ours: float, unit: str, **more: object) -> None:
    """Print one line for the table."""
    print(json.dumps({"what": what, "ours": ours, "unit": unit, **more}), flush=True)


def adding(folder: Path) -> Path:
    """Build, add a tenth, several times; gives the last store."""
    every, tenth = coming("every", SKETCHES, 1), coming("tenth", TENTH, 2)
    builds, adds = [], []
    for repeat in range(REPEATS + 1):
        store = Store.open(folder / f"store-{repeat}")
        builds.append(seconds(lambda: Embedded(store, "seen", CONFIGURATION).add(every, NullWatch())))  # noqa: B023 - called at once
        adds.append(seconds(lambda: Embedded(store, "seen").add(tenth, NullWatch())))  # noqa: B023 - the same
        print(f"{SKETCHES:,} in {builds[-1]:.2f} s, {TENTH:,} more in {adds[-1]:.2f} s", flush=True)
    build, add = statistics.median(builds[1:]), statistics.median(adds[1:])  # the first warms up
    figure("building an index", round(SKETCHES / build), "sketches/s")
    share = round(statistics.median(a / b for a, b in zip(adds[1:], builds[1:], strict=True)), 4)
    figure("a tenth more, as a share of building", share, "1", bar="<= 0.15", holds=share <= MOST_SHARE)
    print(f"medians: build {build:.2f} s, add {add:.2f} s", flush=True)
    return folder / f"store-{REPEATS}"


def growing(store: Store, build_seconds: float) -> None:
    """Ten more tenths, one after the other, merges included."""
    parts = [coming(f"more-{i}", TENTH, 10 + i) for i in range(10)]
    times = [seconds(lambda part=part: Embedded(store, "seen").add(part, NullWatch())) for part in parts]  # type: ignore[misc]  # a lambda's default
    print("ten more tenths: " + ", ".join(f"{t:.2f}" for t in times) + " s", flush=True)
    figure("a tenth more, mean of ten with merges", round(statistics.mean(times) / build_seconds, 4), "1")
    figure("the dearest of these (it merges)", round(max(times) / build_seconds, 4), "1")
    print(f"{Embedded(store, 'seen').info()['segments']} segments", flush=True)


def asking(store: Store) -> None:
    """Lookups of members and of strangers, and exact removal."""
    index: Backend = Embedded(store, "seen")
    for what, asked in (("members", signatures(SKETCHES, 1)[:20_000]), ("strangers", signatures(20_000, 99))):
        index.query(asked[:100], 1, 0.0)
        took = seconds(lambda: index.query(asked, 1, 0.0))  # noqa: B023 - called at once
        figure(f"lookups of {what}", round(len(asked) / took), "sketches/s")
    before = index.query(signatures(SKETCHES, 1)[:2_000], 3, 0.0).to_pylist()
    gone = [before[i]["doc_id"] for i in range(0, 2_000, 2)]
    took = seconds(lambda: Embedded(store, "seen").remove(gone, None))
    after = Embedded(store, "seen").query(signatures(SKETCHES, 1)[:2_000], 3, 0.0).to_pylist()
    exact = after == [row for row in before if row["doc_id"] not in set(gone)]
    figure("removing 1,000 documents", round(took, 3), "s", bar="exact", holds=exact)


def erring(folder: Path) -> None:
    """Wrong answers of Bloom filters made for 1 in 10,000: with our keys, and with datasketch's sums."""
    from datasketch import LeanMinHash, MinHashLSHBloom  # noqa: PLC0415 - for this part alone

    count, asked = 20_000, signatures(2_000, 99)
    index = Bloom(Store.open(folder / "bloom"), "seen", bloom.begin(CONFIGURATION, count, 1e-4))
    took = seconds(lambda: index.add(coming("bloom", count, 5), NullWatch()))
    figure("adding to Bloom filters", round(count / took), "sketches/s")
    figure("wrong answers with our keys", index.info()["false_positive_rate"]["measured"], "1", bar="nominal 1e-4")
    sums = MinHashLSHBloom(num_perm=112, params=(14, 8), n=count, fp=1e-4 / 14, save_dir=str(folder / "sums"))
    for values in signatures(count, 5):
        sums.insert(LeanMinHash(seed=1, hashvalues=values, scheme="affine32"))
    wrong = sum(sums.query(LeanMinHash(seed=1, hashvalues=v, scheme="affine32")) for v in asked)
    figure("wrong answers with sums of bands", wrong / len(asked), "1")


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        folder = Path(temporary)
        store = Store.open(adding(folder))
        build = seconds(
            lambda: Embedded(Store.open(folder / "again"), "seen", CONFIGURATION).add(
                coming("every", SKETCHES, 1), NullWatch()
            )
        )
        growing(store, build)
        asking(store)
        erring(folder)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    figure("peak memory, synthetic sketches included", round(peak, 2), "GB")


if __name__ == "__main__":
    main()
