"""Learning n-gram models beside lmplz on the same 10 million words, and the throughput of the stage `perplexity`.

    bench_ngram.py [MILLIONS_OF_WORDS]

Order 5, with and without pruning, two workers. Memory is the most that all processes of the learner held together, looked
at five times a second; pages that two of them share count twice. Throughput is of processor time, the best of five.
"""

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import kenlm
import psutil
import pyarrow as pa
from corpora import documents, work
from lmplz import lmplz

from learners.ngram.settings import Settings
from pipelines.api import learn_ngram
from pipelines.learning.ngram import Learning
from pipelines.run import Options
from stages.artifacts import Artifact
from stages.kernels.ccnet import normalized
from stages.ngrams.scoring import score
from stages.ngrams.table import Table

WORKERS, ORDER, FILES = 2, 5, 6
SECONDS, BYTES, RATE = 180, 3_000_000_000, 12.0
TOLERANCE = 1e-4
BAR_WORDS = 10_000_000
RUNS = 5


def figure(what: str, ours: float, unit: str, bar: str, *, holds: bool | None = None, **more: object) -> None:
    known = {} if holds is None else {"holds": holds}
    print(json.dumps({"what": what, "ours": ours, "unit": unit, "bar": bar, **known, **more}), flush=True)


def corpus(words: int) -> tuple[Path, Path]:
    """A folder of documents with so many words, salted where the raw documents are not enough, and the same as lines."""
    folder, text = work() / f"ngram-{words}", work() / f"ngram-{words}.txt"
    if not text.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        names = [folder / f"{i}.jsonl.gz" for i in range(FILES)]
        with ExitStack() as stack:
            files = [stack.enter_context(gzip.open(n, "wt", encoding="utf-8", compresslevel=1)) for n in names]
            part = text.with_suffix(".part")
            lines = stack.enter_context(part.open("w", encoding="utf-8", newline="\n"))
            for document, size in _until(words):
                where = files[min(FILES - 1, size * FILES // words)]
                where.write(json.dumps({"text": document}, ensure_ascii=False) + "\n")
                lines.write(document if document.endswith("\n") else document + "\n")
        part.rename(text)
    return folder, text


def _until(words: int) -> Iterator[tuple[str, int]]:
    held = copy = 0
    while True:
        for record in documents():
            text = record["text"] if not copy else record["text"].translate({ord("e"): chr(0x100 + copy)})
            if not text:
                continue
            yield text, held
            held += len(text.split())
            if held >= words:
                return
        copy += 1


@contextmanager
def watched() -> Iterator[list[int]]:
    """The most bytes that this process and its descendants held, as the only item."""
    most, done = [0], threading.Event()

    def look() -> None:
        me = psutil.Process()
        while not done.wait(0.2):
            held = 0
            for process in [me, *me.children(recursive=True)]:
                try:
                    held += process.memory_info().rss
                except psutil.Error:
                    continue
            most[0] = max(most[0], held)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        done.set()
        thread.join()


def learned(folder: Path, prune: tuple[int, ...], name: str) -> tuple[Artifact, Path, float, int]:
    store = work() / f"ngram-store-{os.getpid()}"
    learning = Learning([str(folder)], Settings(ORDER, prune))
    with watched() as most:
        began = time.monotonic()
        artifact = learn_ngram(name, learning, store=store, options=Options("local", WORKERS))
        seconds = time.monotonic() - began
    return artifact, store, seconds, most[0]


def reference(program: Path, text: Path, prune: tuple[int, ...]) -> tuple[Path, float]:
    arpa = text.with_suffix(f".{'-'.join(map(str, prune))}.arpa")
    command = [program, "-o", str(ORDER), "--prune", *map(str, prune), "--skip_symbols", "-S", "2G", "-T", str(work())]
    began = time.monotonic()
    with text.open("rb") as given, arpa.open("wb") as made:
        subprocess.run(command, stdin=given, stdout=made, stderr=subprocess.DEVNULL, check=True)
    return arpa, time.monotonic() - began


def difference(ours: Path, theirs: Path) -> float:
    """The largest difference of any logarithm; infinite where the n-grams are not the same, in the same order."""
    most = 0.0
    with ours.open("rb") as one, theirs.open("rb") as other:
        for a, b in zip(one, other, strict=True):
            if a == b:
                continue
            left, right = a.rstrip(b"\n").split(b"\t"), b.rstrip(b"\n").split(b"\t")
            if left[1:2] != right[1:2] or len(left) != len(right):
                return float("inf")
            numbers = zip([left[0], *left[2:]], [right[0], *right[2:]], strict=True)
            most = max([most, *(abs(float(x) - float(y)) for x, y in numbers)])
    return most


def rates(table: Table, texts: pa.StringArray) -> dict[str, float]:
    """Megabytes a second of processor time: scoring texts as they are, and normalizing them as CCNet before."""
    mb = texts.nbytes / 1e6
    ways = {"plain": lambda: score(table, texts), "ccnet": lambda: score(table, normalized(texts))}
    found = {}
    for name, way in ways.items():
        way()
        spent = []
        for _ in range(RUNS):
            began = time.process_time()
            way()
            spent.append(time.process_time() - began)
        found[name] = mb / min(spent)
    return found


def kenlm_rate(arpa: Path, texts: pa.StringArray) -> float:
    config = kenlm.Config()
    config.show_progress = False
    model = kenlm.Model(str(arpa), config)
    lines = [text.split("\n") for text in texts.to_pylist()]
    spent = []
    for _ in range(2):
        began = time.process_time()
        for text in lines:
            for line in text:
                model.score(line)
        spent.append(time.process_time() - began)
    return texts.nbytes / 1e6 / min(spent)


def main() -> None:
    words = int(float(sys.argv[1]) * 1e6) if len(sys.argv) > 1 else 10_000_000
    folder, text = corpus(words)
    program = lmplz(work())
    some = pa.array([t for t, _ in zip((d["text"] for d in documents()), range(4_000), strict=False)], pa.string())
    for prune in ((0, 0, 1), (0,)):
        shown = "unpruned" if prune == (0,) else "pruned " + " ".join(map(str, prune))
        artifact, store, seconds, most = learned(folder, prune, "bench")
        arpa, theirs = reference(program, text, prune) if program else (None, None)
        peer = {"theirs": round(theirs, 1), "peer": "lmplz"} if theirs else {}
        figure(
            f"learn ngram, {words / 1e6:g} M words, {shown}",
            round(seconds, 1),
            "s",
            f"<= {SECONDS} s",
            holds=seconds <= SECONDS if words <= BAR_WORDS else None,
            **peer,
        )
        cpu = artifact.card["cost"]["cpu_seconds"]
        figure(f"processor time of it, {shown}", round(cpu, 1), "s", "", holds=None)
        figure(f"memory of it, {shown}", round(most / 1e9, 2), "GB", "<= 3 GB", holds=most <= BYTES)
        kept = store / artifact.files["model.arpa"]["path"]
        if arpa is not None:
            far = difference(kept, arpa)
            figure(f"largest difference to lmplz, {shown}", far, "log10", f"<= {TOLERANCE:g}", holds=far <= TOLERANCE)
            arpa.unlink()
        table = Table.open(store / artifact.files["model.table"]["path"])
        print(
            f"{shown}: n-grams {table.counts}, table {table.slots.nbytes / 1e6:.0f} MB, ARPA {kept.stat().st_size / 1e6:.0f} MB"
        )
        found = rates(table, some)
        peer = {"theirs": round(kenlm_rate(kept, some), 1), "peer": "kenlm"}
        figure(
            f"perplexity, plain, {shown}",
            round(found["plain"], 1),
            "MB/s/core",
            f">= {RATE:g}",
            holds=found["plain"] >= RATE,
            **peer,
        )
        figure(
            f"perplexity, ccnet, {shown}",
            round(found["ccnet"], 1),
            "MB/s/core",
            f">= {RATE:g}",
            holds=found["ccnet"] >= RATE,
        )


if __name__ == "__main__":
    main()
