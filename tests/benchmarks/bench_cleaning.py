"""Megabytes of text per second of one core for the stages that clean, and for difficulty and its parts.

On the bundled sample, of which a ninth are mails with many addresses in their headers; `clean` are those of its texts
without any identifier or listed word.
"""

import json
import time
from collections.abc import Callable

import pyarrow as pa
import pyarrow.compute as pc
from bench_stages import ROUNDS, rate, sample

from stages.base import RowStage, measure
from stages.text.bad_words import BadWords
from stages.text.difficulty import Difficulty, compressed
from stages.text.pii import Pii

BAR = 20.0


def parts(texts: pa.StringArray) -> dict[str, float]:
    """The rates of what difficulty is made of."""
    from stages.kernels.lexical import measure_words  # noqa: PLC0415 - numba is slow to import
    from stages.kernels.readability import count_syllables  # noqa: PLC0415 - the same

    works: dict[str, Callable[[], object]] = {
        "difficulty: compression": lambda: compressed(texts),
        "difficulty: words and MTLD": lambda: measure_words(texts, None),
        "difficulty: syllables and sentences": lambda: count_syllables(texts),
    }
    megabytes = pc.sum(pc.binary_length(texts)).as_py() / 1e6
    return {name: megabytes / best(work) for name, work in works.items()}


def best(work: Callable[[], object]) -> float:
    """Processor seconds, the fewest of a few rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def clean(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The texts in which neither identifiers nor listed words are found."""
    stages: tuple[tuple[RowStage, str], ...] = ((Pii(), "found"), (BadWords(language="en"), "hits"))
    for stage, name in stages:
        batch = batch.filter(pc.equal(measure(stage, stage.open(), batch)[name], 0))
    return batch


def main() -> None:
    """Print a figure for each."""
    batch = sample()
    figures = {
        "difficulty": rate(Difficulty(), batch),
        **parts(batch["text"]),
        "pii": rate(Pii(), batch),
        "pii, clean texts": rate(Pii(), clean(batch)),
        "bad_words": rate(BadWords(language="en"), batch),
    }
    for what, value in figures.items():
        figure = {"what": what, "ours": round(value, 1), "unit": "MB/s/core"}
        bar = {"bar": f">= {BAR:.0f}", "holds": value >= BAR} if what == "difficulty" else {}
        print(json.dumps(figure | bar))


if __name__ == "__main__":
    main()
