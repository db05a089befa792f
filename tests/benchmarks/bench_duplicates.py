"""A whole near-duplicate pass, from ingested shards to committed verdicts, against three other tools.

    bench_duplicates.py [--alone]

Ours on TAMIS_BENCH_MB (1000) of text, the slow peers on the first TAMIS_BENCH_PEER_MB (100) of it, all with 14 bands of 8
five-word hashes. Each peer is compared with ours on as many cores: datatrove and Data-Juicer with two processes against two
workers, rensa's loop against one worker (cores of one processor slow each other, so a core of two is not a core alone).
Rates are megabytes of text a second and core, wall-clock. Start-up apart: from every tool's seconds, ours
too, those that it takes for a few documents are subtracted. All but datatrove, which takes minutes, run three times, and
the fastest counts: other work on the machine can only slow a run.

Peers are favoured where a choice is to be made: Data-Juicer is timed without reading and writing files, rensa without
reading them and without clustering. What each tool drops is compared with what we find on the peers' corpus.
"""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from bench_pass import Clock
from corpora import repeats, work
from peers import peer_python

from pipelines.api import documents, run
from pipelines.run import Options
from stages.base import measure
from stages.text.minhash import Minhash

WORKERS = 2
ROUNDS = 3
MEASURE = {
    "sketch": {"kind": "minhash", "bands": 14, "rows": 8, "ngram": 5, "seed": 1},
    "copies": {"kind": "near_duplicates", "of": "sketch"},
}
KEEP = [{"one_of": "copies.cluster", "by": "first", "reason": "near duplicate"}]
#: Least ratio to each peer, how many cores each is given, and how often it runs.
PEERS = {"datatrove": ("datatrove 0.10.1", 100, WORKERS, 1), "data-juicer": ("Data-Juicer 1.6.1", 20, WORKERS, ROUNDS), "rensa": ("rensa 0.5.0", 4, 1, ROUNDS)}  # fmt: skip
LEAST_SIGNING = 120
SIGNED_BYTES = 64_000_000
#: Tools differ in what a token is, and in what becomes of texts without five of them: longer texts are compared.
LEAST_WORDS = 50
STARTING_DOCUMENTS = 20


@dataclass
class Pass:
    """What a pass came to: seconds, seconds of its steps, and the ids of the documents dropped."""

    seconds: float
    steps: dict[str, float]
    dropped: set[str] = field(default_factory=set)
    #: Of our own: pairs of a document and its nearest with their Jaccard, and documents that are alone.
    twins: list[tuple[str, str, float]] = field(default_factory=list)
    alone: set[str] = field(default_factory=set)


def ours(folder: Path, store: Path, workers: int = WORKERS) -> Pass:
    """The pass over one corpus."""
    clock = Clock()
    spec = {
        "name": "duplicates",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl.gz")},
        "measure": MEASURE,
        "keep": KEEP,
    }
    done = run(spec, store=str(store), options=Options("local", workers), watch=clock)
    signing = next(n for n in clock.first if n.startswith("sketch"))
    began, ended = clock.first[signing], clock.last["verdict"]
    measured = [n for n in clock.first if began <= clock.first[n] <= ended]
    until = dict(zip(measured, [*(clock.first[n] for n in measured[1:]), ended], strict=True))
    steps = {n: round(until[n] - clock.first[n], 3) for n in measured}
    return answered(Pass(ended - began, steps), done["run"], store)


def answered(mine: Pass, name: str, store: Path) -> Pass:
    """The pass with what it found."""
    columns = ["id", "verdict.keep", "copies.nearest", "copies.jaccard", "copies.cluster_size"]
    rows = pa.Table.from_batches(documents(name, columns, store=str(store)))
    mine.dropped = set(rows["id"].filter(pc.invert(rows["verdict.keep"])).to_pylist())
    mine.alone = set(rows["id"].filter(pc.equal(rows["copies.cluster_size"], 1)).to_pylist())
    ids = dict(zip(rows["doc_id"].to_pylist(), rows["id"].to_pylist(), strict=True))
    near = rows.filter(pc.is_valid(rows["copies.nearest"]))
    some = zip(*(near[c].to_pylist() for c in ("id", "copies.nearest", "copies.jaccard")), strict=True)
    mine.twins = [(own, ids[other], jaccard) for own, other, jaccard in some]
    return mine


def theirs(name: str, folder: Path) -> Pass:
    """A peer's pass over a corpus; its seconds hold what starts in them."""
    script = Path(__file__).with_name(f"peer_minhash_{name.replace('-', '_')}.py")
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        command = [str(peer_python(name)), str(script), str(folder), f"{temporary}/work", str(WORKERS)]
        with (work() / f"{name}.log").open("w") as log:
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=log, text=True)
    answer = json.loads(done.stdout.splitlines()[-1])
    return Pass(answer["seconds"], answer["steps"], set(answer["dropped"]))


def beginning(folder: Path, into: Path) -> Path:
    """A corpus of the first few documents of each file."""
    into.mkdir()
    for file in sorted(folder.glob("*.jsonl.gz")):
        with (
            gzip.open(file, "rt", encoding="utf-8") as lines,
            gzip.open(into / file.name, "wt", encoding="utf-8") as out,
        ):
            out.writelines(line for _, line in zip(range(STARTING_DOCUMENTS), lines, strict=False))
    return into


def long_ones(folder: Path) -> set[str]:
    """The ids of texts of so many words."""
    ids = set()
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            records = map(json.loads, lines)
            ids.update(r["id"] for r in records if len(r["text"].split(None, LEAST_WORDS)) >= LEAST_WORDS)
    return ids


def signing(folder: Path) -> float:
    """Megabytes of text that one core signs in a second, the best of some rounds."""
    texts, size = [], 0
    for file in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                texts.append(json.loads(line)["text"])
                size += len(texts[-1].encode())
                if size >= SIGNED_BYTES:
                    return _rate(pa.record_batch({"text": pa.array(texts)}), size)
    return _rate(pa.record_batch({"text": pa.array(texts)}), size)


def _rate(batch: pa.RecordBatch, size: int) -> float:
    stage = Minhash(bands=14, rows=8, ngram=5, seed=1)
    kernel = stage.open()
    measure(stage, kernel, batch.slice(0, 50))
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        measure(stage, kernel, batch)
        seconds.append(time.process_time() - began)
    return size / 1e6 / min(seconds)


def figure(what: str, value: float, **more: Any) -> None:
    """Print one figure."""
    print(json.dumps({"what": what, "ours": round(value, 1), "unit": "MB/s/core"} | more), flush=True)


def compare(name: str, mine: Pass, peer: Pass, long: set[str]) -> None:
    """Print how far two tools agree: which of a pair stays is each tool's own, so a pair is found if either is dropped."""
    a, b = mine.dropped & long, peer.dropped & long
    print(
        f"dropped of {len(long):,} texts of {LEAST_WORDS} words: tamis {len(a):,}, {name} {len(b):,}, both {len(a & b):,}"
    )
    for low, high in pairwise((0.5, 0.7, 0.8, 0.9, 1.01)):
        twins = [t for t in mine.twins if low <= t[2] < high and t[0] in long and t[1] in long]
        found = sum(own in peer.dropped or other in peer.dropped for own, other, _ in twins)
        print(
            f"  of {len(twins):,} pairs with a Jaccard from {low} to {min(high, 1)}: {found / max(1, len(twins)):.3f}"
        )
    alone = mine.alone & long
    print(f"  of {len(alone):,} texts that tamis finds alone it drops {len(alone & b) / len(alone):.4f}", flush=True)


def rate_on(workers: int, folder: Path, size: int, base: Path) -> float:
    """Megabytes of text that each of so many workers does in a second, the fastest of some passes, start-up apart."""
    few = beginning(folder, base / f"few-{workers}")
    starting = min(ours(few, base / f"few-{workers}-{i}", workers).seconds for i in range(ROUNDS))
    whole = min((ours(folder, base / f"store-{workers}-{i}", workers) for i in range(ROUNDS)), key=lambda p: p.seconds)
    seconds = whole.seconds - starting
    text = (
        f"{size / 1e6:.0f} MB, {workers} workers: tamis {seconds:.2f} s, and {starting:.2f} s to start; {whole.steps}"
    )
    print(text, flush=True)
    return size / 1e6 / seconds / workers


def against(names: list[str], rates: dict[int, float], base: Path) -> None:
    """Time the peers on their part of the corpus and print the ratios to `rates`, by the number of workers."""
    small, peer_size = repeats(int(os.environ.get("TAMIS_BENCH_PEER_MB", "100")), 4)
    few = beginning(small, base / "few-small")
    mine, long = ours(small, base / "small"), long_ones(small)
    print(f"{peer_size / 1e6:.0f} MB: tamis {mine.seconds:.2f} s {mine.steps}", flush=True)
    for name in names:
        title, least, cores, rounds = PEERS[name]
        starting = theirs(name, few).seconds
        peer = min((theirs(name, small) for _ in range(rounds)), key=lambda p: p.seconds)
        seconds = peer.seconds - starting
        print(
            f"{peer_size / 1e6:.0f} MB: {title} {seconds:.1f} s, and {starting:.1f} s to start; {peer.steps}",
            flush=True,
        )
        compare(title, mine, peer, long)
        other, rate = peer_size / 1e6 / seconds / cores, rates[cores]
        figure(
            f"near-duplicate pass from shards to verdicts, {cores} workers",
            rate,
            theirs=round(other, 3),
            peer=title,
            bar=f"ratio >= {least}",
            holds=rate >= least * other,
        )


def main() -> None:
    """Print the figures."""
    names = [n for n in PEERS if n in sys.argv] or list(PEERS)
    big, size = repeats(int(os.environ.get("TAMIS_BENCH_MB", "1000")), 32)
    signed = signing(big)
    figure("signing 112 permutations", signed, bar=f">= {LEAST_SIGNING}", holds=signed >= LEAST_SIGNING)
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        base = Path(temporary)
        ours(repeats(8, 2)[0], base / "warm")
        rates = {n: rate_on(n, big, size, base) for n in sorted({PEERS[name][2] for name in names}, reverse=True)}
        if "--alone" in sys.argv:
            for workers, rate in rates.items():
                figure(f"near-duplicate pass from shards to verdicts, {workers} workers", rate)
        else:
            against(names, rates, base)


if __name__ == "__main__":
    main()
