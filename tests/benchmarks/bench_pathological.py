"""Corpora that break deduplication elsewhere: each finishes, with its time and the largest process.

    bench_pathological.py [NAME ...]

Whole runs of `minhash` + `near_duplicates` + `one_of` on two workers over texts that are all identical, all distinct or
all empty, and over one document of 100 MB; linking alone over a million sketches that share one band, and over a
million equal ones.
"""

import gzip
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import yaml
from bench_duplicates import KEEP, MEASURE
from bench_linking import WORKERS, timed
from bench_runs import TAMIS, largest
from corpora import documents, work
from sketches import Signatures, identical, make, one_bucket

from pipelines.engine_local import LocalEngine

MANY = 200_000
MILLION = 1_000_000
BIG_BYTES = 100_000_000
#: The largest process of any of them.
MOST_BYTES = 2_000_000_000
WORDS = 60


def all_identical() -> Iterator[str]:
    """One text, again and again."""
    text = " ".join(_words(0, WORDS))
    return (text for _ in range(MANY))


def all_distinct() -> Iterator[str]:
    """Texts that share no n-gram."""
    return (" ".join(_words(i, WORDS)) for i in range(MANY))


def all_empty() -> Iterator[str]:
    """Texts without a token, one in three of them without a character."""
    return (("", " \n\t", "... — !")[i % 3] for i in range(MANY))


def one_giant() -> Iterator[str]:
    """Real text, all in one document, and a few words of it in another."""
    parts, size = [], 0
    while size < BIG_BYTES:
        for record in documents():
            parts.append(record["text"])
            size += len(parts[-1].encode())
            if size >= BIG_BYTES:
                break
    yield "\n\n".join(parts)
    yield parts[0]


def _words(seed: int, count: int) -> list[str]:
    digest = hashlib.shake_128(str(seed).encode()).hexdigest(4 * count)
    return [digest[8 * i : 8 * i + 8] for i in range(count)]


#: Each corpus with how many of its documents must be kept; None is not checked.
TEXTS: dict[str, tuple[Callable[[], Iterator[str]], int | None]] = {
    "all identical": (all_identical, 1),
    "all distinct": (all_distinct, MANY),
    "empty texts": (all_empty, MANY),
    "one document of 100 MB": (one_giant, 2),
}
SKETCHES: dict[str, Signatures] = {"one bucket of a million": one_bucket, "a million equal sketches": identical}


def figure(what: str, seconds: float, peak: int, *, right: bool) -> None:
    """Print the time and the memory of one corpus."""
    print(
        f"{what}: {seconds:.1f} s, largest process {peak / 1e6:.0f} MB, answer {'right' if right else 'WRONG'}",
        flush=True,
    )
    line = {"what": f"{what}: finishes", "ours": round(seconds, 1), "unit": "s", "bar": "right, < 2 GB"}
    print(json.dumps(line | {"holds": right and peak < MOST_BYTES}), flush=True)


def whole(base: Path, texts: Iterator[str]) -> tuple[float, int, int]:
    """Seconds, bytes of the largest process and documents kept of a run over texts."""
    base.mkdir()
    with gzip.open(base / "in.jsonl.gz", "wt", encoding="utf-8", compresslevel=1) as out:
        out.writelines(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts)
    source = {"kind": "jsonl", "path": str(base / "in.jsonl.gz"), "shard_bytes": 4_000_000}
    spec = base / "spec.yaml"
    spec.write_text(yaml.safe_dump({"name": "bench", "source": source, "measure": MEASURE, "keep": KEEP}))
    command = [str(TAMIS), "run", str(spec), "--store", str(base / "store"), "--engine", "local", "--json"]
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile() as out:
        driver = psutil.Popen(command, stdout=out, stderr=subprocess.DEVNULL)
        while driver.poll() is None:
            peak = max(peak, largest(driver))
            time.sleep(0.02)
        seconds = time.perf_counter() - began
        out.seek(0)
        text = out.read()
    if driver.returncode:
        sys.exit(f"tamis run ended with exit status {driver.returncode}")
    return seconds, peak, json.loads(text)["total"]["exported"]


def linked(base: Path, signatures: Signatures) -> tuple[float, int, bool]:
    """Seconds, bytes of the largest process, and whether all of a million sketches are in one cluster."""
    with LocalEngine(WORKERS) as engine:
        made = make(base, MILLION, signatures)
        seconds, rounds, flow = timed(made, engine, "bench")
    sizes = set()
    for _, record, _ in flow.results:
        with made.store.open_input(record["files"][0]["path"]) as file:
            sizes.update(pq.read_table(file, columns=["cluster_size"])["cluster_size"].unique().to_pylist())
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return seconds, max(own, *(r.peak for r in rounds.spent.values())), sizes == {MILLION}


def main() -> None:
    """Print the figures."""
    chosen = sys.argv[1:] or [*TEXTS, *SKETCHES]
    for name, (texts, kept) in TEXTS.items():
        if name in chosen:
            with tempfile.TemporaryDirectory(dir=work()) as temporary:
                seconds, peak, exported = whole(Path(temporary) / "base", texts())
            figure(name, seconds, peak, right=kept is None or exported == kept)
    for name, signatures in SKETCHES.items():
        if name in chosen:
            with tempfile.TemporaryDirectory(dir=work()) as temporary:
                seconds, peak, one = linked(Path(temporary), signatures)
            figure(name, seconds, peak, right=one)


if __name__ == "__main__":
    main()
