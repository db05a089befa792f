"""Text a second and core of the stages `language` and `quality`, and of the fastText library on the same lines.

Seconds are of the processor, not of the clock, and the best of a few rounds. The classifier is fitted on the bundled clean
samples against the raw documents that are then scored.
"""

import gzip
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import corpora
import fasttext
import pyarrow as pa

from learners.quality import Settings, fit
from stages.base import RowStage, measure
from stages.text.language import Language, _model_path
from stages.text.quality import Quality

CLEAN = corpora.ROOT / "pipelines" / "samples" / "clean"
BAR = 10.0
ROUNDS, BATCH = 3, 512
MEGABYTES = 30
SETTINGS = {
    "words": Settings(),
    "words and pairs": Settings(word_ngrams=2, bucket=200_000, dim=64),
}


def texts() -> list[str]:
    """About 30 MB of raw documents, or as many as there are."""
    found, size = [], 0
    for record in corpora.documents():
        found.append(record["text"])
        size += len(record["text"].encode())
        if size >= MEGABYTES * 1_000_000:
            break
    return found


def clean() -> Iterator[str]:
    """Documents of the clean samples."""
    for file in sorted(CLEAN.glob("*/train.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                yield json.loads(line)["text"]


def best(work: Callable[[], Any]) -> float:
    """Processor seconds of the fastest of some rounds."""
    seconds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def ours(stage: RowStage, documents: list[str]) -> float:
    """Seconds of a stage over batches of documents."""
    kernel = stage.open()
    batches = [pa.record_batch({"text": pa.array(documents[i : i + BATCH])}) for i in range(0, len(documents), BATCH)]
    measure(stage, kernel, batches[0])
    return best(lambda: [measure(stage, kernel, batch) for batch in batches])


def theirs(path: Path, documents: list[str], labels: int) -> float:
    """Seconds of the library over the same documents, each one line."""
    model = fasttext.load_model(str(path))

    def work() -> None:
        for text in documents:
            model.predict(" ".join(text.strip().splitlines()).replace("\n", " "), k=labels)

    return best(work)


def figure(what: str, megabytes: float, seconds: float, library: float) -> None:
    """Print one."""
    rate = megabytes / seconds
    shown = {"what": what, "ours": round(rate, 1), "theirs": round(megabytes / library, 1), "peer": "fasttext 0.10.4"}
    print(json.dumps(shown | {"unit": "MB/s/core", "bar": f">= {BAR:.0f} MB/s", "holds": rate >= BAR}))


def main() -> None:
    """Print the figures of language, and of quality over single words and over pairs."""
    documents = texts()
    megabytes = sum(len(text.encode()) for text in documents) / 1e6
    figure("language", megabytes, ours(Language(), documents), theirs(_model_path(), documents, -1))
    good = list(islice(clean(), 5_000))
    bad = documents[:: max(1, len(documents) // 5_000)]
    labelled = pa.table({"text": [*good, *bad], "label": ["high"] * len(good) + ["low"] * len(bad)})
    for name, settings in SETTINGS.items():
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            fitted = fit(labelled, settings=settings, seed=1)
            print(f"fitted on {labelled.num_rows} documents, {name}: {time.process_time() - start:.1f} s")
            path = fitted.write(Path(folder))["model"]
            stage = Quality(model=str(path), high="high")
            figure(f"quality, {name}", megabytes, ours(stage, documents), theirs(path, documents, 2))


if __name__ == "__main__":
    main()
