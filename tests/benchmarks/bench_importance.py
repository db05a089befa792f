"""Importance features, weights and decontamination: megabytes of text per second of one core, and farthest first.

On the shared raw corpus where there is one, else the bundled sample.
"""

import json
import time
from collections.abc import Callable

import numpy as np
import pyarrow as pa
from corpora import documents

from stages.base import measure
from stages.chance import draw
from stages.corpus.diversity_rule import farthest_first
from stages.corpus.semantic_vectors import fixed
from stages.importance_weights import Features, weigh
from stages.kernels.hashed_ngrams import hashed_ngrams
from stages.text.decontaminate import Decontaminate

ROUNDS = 5
MEGABYTES = 10
#: The hash of the paper is for parity; a tenth of the text tells its speed.
SLOW_MEGABYTES = 1
EVALUATION_ITEMS = 20_000
CELL = 4_096


def texts_of(megabytes: int) -> tuple[pa.Array, float]:
    """So much raw text, and how much it is in MB."""
    found, size = [], 0
    for record in documents():
        found.append(record["text"])
        size += len(record["text"].encode())
        if size >= megabytes * 1_000_000:
            break
    return pa.array(found, pa.string()), size / 1e6


def seconds(work: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Processor seconds of the best round; kernels are compiled before."""
    work()
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def figure(what: str, ours: float, unit: str, bar: float | None = None) -> None:
    """Print one figure; `bar` is the least that it must be."""
    more = {} if bar is None else {"bar": f">= {bar:g}", "holds": ours >= bar}
    print(json.dumps({"what": what, "ours": round(ours, 2), "unit": unit, **more}))


def items(texts: pa.Array) -> list[str]:
    """Evaluation items: stretches of twenty words of the texts, backwards, so that hardly any is found."""
    words = " ".join(texts.slice(0, 2_000).to_pylist()).split()[::-1]
    return [" ".join(words[i : i + 20]) for i in range(0, min(len(words), 20 * EVALUATION_ITEMS), 20)]


def main() -> None:
    """Print every figure."""
    texts, size = texts_of(MEGABYTES)
    some, small = texts_of(SLOW_MEGABYTES)
    features, ratios = Features(), np.random.default_rng(0).standard_normal(10_000)
    fast = seconds(lambda: hashed_ngrams(texts, 2, 10_000, "fast"))
    figure("importance features, fast hash", size / fast, "MB/s/core", bar=20)
    figure("importance weights, fast hash", size / seconds(lambda: weigh(texts, features, ratios)), "MB/s/core")
    slow = Features(hash="sha256")
    figure("importance weights, sha256", small / seconds(lambda: weigh(some, slow, ratios), 2), "MB/s/core")
    ids = pa.array([f"{i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(100_000)])
    figure("draws by document", 0.1 / seconds(lambda: draw(1, "importance", ids)), "million/s/core")
    chosen = items(texts)
    stage = Decontaminate.model_validate({"sets": {"eval": {"texts": chosen}}})
    kernel = stage.open()
    batch = pa.RecordBatch.from_pydict({"text": texts})
    figure(
        f"decontaminate, {len(chosen)} items of 20 words",
        size / seconds(lambda: measure(stage, kernel, batch)),
        "MB/s/core",
    )
    points = fixed(np.random.default_rng(0).standard_normal((CELL, 256)))
    figure(f"farthest first, a cell of {CELL}", CELL / seconds(lambda: farthest_first(points), 2), "documents/s")


if __name__ == "__main__":
    main()
