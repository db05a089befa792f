"""Tokens per second of one core that the stream of a view makes, its wait share behind a consumer, and ten million documents.

    bench_loader.py [DOCUMENTS]

Packs of 16 files of random tokens (vocabulary 32,768) with short documents (20 to 60 tokens) and long ones (1,000 to 4,000),
in the page cache. Batches are of 32,768 tokens. The consumer computes for 10 ms a step, as a model would, and keeps a ledger;
of a few rounds the best counts, because other work on the machine can only slow one. Then the first epoch of a view of
DOCUMENTS (10,000,000) documents is laid out. Rates and seconds are of processor time.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from corpora import work

from trainer.data import TokenStream, prefetched
from trainer.data_ledger import DataLedger
from trainer.epochs import Epochs
from trainer.token_pack import PackWriter, TokenPack
from trainer.view import View

DOCUMENTS = 10_000_000
VOCABULARY = 32_768
FILES = 16
BATCH_TOKENS = 32_768
TOKENS = 40_000_000
LEAST_RATE = 5e6
STEP_SECONDS = 0.01
STEPS = 300
ROUNDS = 3
MOST_WAIT = 0.01
MOST_SECONDS = 6


def made(folder: Path, lengths: tuple[int, int], documents: int, files: int = FILES) -> TokenPack:
    """A pack of documents that have from one number of tokens to the other."""
    rng = np.random.default_rng(1)
    paths = []
    for number in range(files):
        path = folder / f"{lengths[0]}-{lengths[1]}-{number:02d}.pack"
        n = documents // files
        held = rng.integers(lengths[0], lengths[1] + 1, n)
        with PackWriter(path, vocabulary=VOCABULARY, end_of_text=0, tokenizer="bench") as writer:
            ids = rng.integers(1, VOCABULARY, held.sum(), dtype=np.uint16)
            writer.append(rng.integers(0, 256, (n, 16), dtype=np.uint8), held, ids, held * 4)
            writer.close()
        paths.append(path)
    return TokenPack.open(paths)


def everything(pack: TokenPack) -> View:
    """All documents of a pack, as a bag."""
    return View(np.arange(pack.documents), ordered=False, name="everything", pack=pack.key)


def stream_of(pack: TokenPack, context: int) -> TokenStream:
    """Batches of a pack's documents."""
    settings = {"context": context, "batch_sequences": BATCH_TOKENS // context, "seed": 1}
    return TokenStream(pack, everything(pack), **settings, exhausted="repeat")


def rate(stream: TokenStream) -> float:
    """Tokens per second of processor time, the best of a few rounds; the epoch's order apart."""
    stream.prepare(0)
    seconds = []
    for _ in range(ROUNDS):
        began = time.process_time()
        for step in range(STEPS):
            stream.batch(step)
        seconds.append(time.process_time() - began)
    return STEPS * stream.tokens_per_step / min(seconds)


def wait_share(stream: TokenStream) -> float:
    """The part of its time that a consumer of 10 ms a step, which keeps a ledger, waits; the first batch apart."""
    square, ledger = np.random.default_rng(1).random((256, 256)), DataLedger()
    with prefetched(stream, 0, STEPS) as batches:
        ledger.update(next(batches))
        before, began = batches.waited, time.perf_counter()
        for batch in batches:
            ledger.update(batch)
            until = time.perf_counter() + STEP_SECONDS
            while time.perf_counter() < until:
                square @ square
        return (batches.waited - before) / (time.perf_counter() - began)


def figure(what: str, ours: float, unit: str, bar: str, *, holds: bool) -> None:
    print(json.dumps({"what": what, "ours": ours, "unit": unit, "bar": bar, "holds": holds}), flush=True)


def laid_out(folder: Path, documents: int) -> None:
    """Print what drawing the order of an epoch takes."""
    pack = made(folder, (2, 6), documents)
    view = everything(pack)
    began = time.perf_counter()
    epochs = Epochs(pack, view, seed=1)
    opened = time.perf_counter() - began
    began = time.process_time()
    epochs.prepare(0)
    seconds = time.process_time() - began
    print(f"{opened:.2f} s to see the view and its lengths, {seconds:.2f} s of CPU time to lay out an epoch")
    what = f"order of an epoch of {pack.documents:,} documents, CPU time"
    figure(what, round(seconds, 2), "s", f"< {MOST_SECONDS}", holds=seconds < MOST_SECONDS)


def main() -> None:
    """Print the figures."""
    documents = int(sys.argv[1]) if len(sys.argv) > 1 else DOCUMENTS
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        folder = Path(temporary)
        for kind, lengths in (("short", (20, 60)), ("long", (1_000, 4_000))):
            pack = made(folder, lengths, TOKENS // (sum(lengths) // 2))
            for context in (2_048, 256):
                stream = stream_of(pack, context)
                what = f"{kind} documents, context {context:,}"
                ours = rate(stream)
                figure(f"loader, {what}", round(ours / 1e6, 1), "M tokens/s", ">= 5", holds=ours >= LEAST_RATE)
                share = min(wait_share(stream) for _ in range(ROUNDS))
                figure(f"data wait, {what}", round(share, 5), "of the time", "< 0.01", holds=share < MOST_WAIT)
        laid_out(folder, documents)


if __name__ == "__main__":
    main()
