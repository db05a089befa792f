"""`tamis learn frequencies`: how often words occur in texts, for the rarity that `difficulty` measures.

Each shard's counts are a result of their own, kept at an address made of the shard's content, so a killed run goes on
where it was and another table over the same texts counts nothing again. The process that joins them holds 16 bytes for
every distinct word of the texts, three times over.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from learners.frequencies import Counts, counted, coverage, entropy, fitted, joined
from pipelines.artifacts import checked_name, keep
from pipelines.commit import Attempt, Record, committed
from pipelines.engine import Engine
from pipelines.execute import failed
from pipelines.gather import Gathered, gather
from pipelines.learning.session import engine_of
from pipelines.passes import peak_memory_bytes
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.errors import DataError
from stages.fingerprint import key
from stages.frequencies import FILE, KIND, Frequencies, identity, write

#: Numbers of the most frequent words whose share of all words the card gives.
RANKS = (10, 100, 1_000, 10_000, 100_000)
STEP = "frequencies"


@dataclass(frozen=True, slots=True)
class WordsOf:
    """Counts of a shard's words, committed under its digest."""

    store: Store
    folder: str
    shard: Shard

    def __call__(self) -> Record:
        """Count, and give the commit record."""
        from stages.kernels.lexical import word_hashes  # noqa: PLC0415 - numba is slow to import

        began = time.process_time()
        counts: Counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        for batch in batches(self.store, self.shard, ["text"], {}):
            texts = batch["text"].drop_null()
            counts = joined(counts, counted(word_hashes(texts)[0]))
        with Attempt(self.store, self.folder, self.shard.digest) as attempt:
            with attempt.file() as path:
                pq.write_table(pa.table({"word": counts[0], "count": counts[1]}), path, compression="lz4")
            return attempt.commit(
                {"cpu_seconds": time.process_time() - began, "peak_memory_bytes": peak_memory_bytes()}
            )


def learn_frequencies(
    store: Store,
    name: str,
    text: Sequence[str],
    *,
    min_count: int = 2,
    kind: str | None = None,
    options: Options | None = None,
    watch: Watch | None = None,
) -> Artifact:
    """Count the words of files, folders or globs and keep those that occur `min_count` times under a name.

    Raises:
        SpecError: the name cannot be an artifact's.
        DataError: a path matches nothing, or there are no words.
    """
    checked_name(name)
    watch = watch or NullWatch()
    began, cpu = time.monotonic(), time.process_time()
    with engine_of(options or Options(), watch) as engine, TemporaryDirectory() as folder:
        texts = gather(store, text, engine, watch, kind=kind)
        records = _counts(store, texts, engine, watch)
        counts: Counts = np.empty(0, np.uint64), np.empty(0, np.int64)
        for record in records:
            table = pq.read_table(store.local(record["files"][0]["path"]))
            counts = joined(counts, (table["word"].to_numpy(), table["count"].to_numpy()))
        found = fitted(counts, min_count=min_count)
        if not found.words:
            raise DataError(f"there is no word in {', '.join(map(repr, text))}; name files with text")
        path = Path(folder) / "frequencies.parquet"
        write(found, path)
        cost = {
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(time.process_time() - cpu + sum(r["cpu_seconds"] for r in records), 3),
            "peak_memory_bytes": max([peak_memory_bytes(), *(r["peak_memory_bytes"] for r in records)]),
        }
        card = _card(found, texts, min_count) | {"cost": cost}
        return keep(store, name, KIND, {FILE: path}, identity=identity() | {"min_count": min_count}, card=card)


def _counts(store: Store, texts: Gathered, engine: Callable[[], Engine], watch: Watch) -> list[Record]:
    """The commit record of every shard's counts."""
    folder = f"steps/{STEP}-{key(identity())}"
    shards = list({shard.digest: shard for shard in texts.shards}.values())
    found = {shard.digest: committed(store, folder, shard.digest) for shard in shards}
    waiting = [shard for shard in shards if found[shard.digest] is None]
    watch.step(STEP, len(shards) - len(waiting), len(shards))
    if waiting:
        for outcome in engine().each([WordsOf(store, folder, shard) for shard in waiting]):
            if outcome.failure is not None:
                raise failed(STEP, outcome, None)
            found[waiting[outcome.index].digest] = outcome.value
            watch.step(STEP, sum(r is not None for r in found.values()), len(shards))
    records = [found[shard.digest] for shard in texts.shards]
    return [record for record in records if record is not None]


def _card(found: Frequencies, texts: Gathered, min_count: int) -> dict[str, Any]:
    shares = coverage(found, RANKS)
    figures = {"words": found.words, "distinct words": found.distinct, "words in the table": len(found.hashes)}
    metrics = [{"name": name, "value": value, "unit": "words"} for name, value in figures.items()]
    return {
        "what": "How often words occur in texts; a word is rare where it seldom does.",
        "data": {"text": texts.json()},
        "settings": {"min_count": min_count, **identity()},
        "metrics": [*metrics, {"name": "mean rarity of their words", "value": entropy(found), "unit": "nat/word"}],
        "curves": [
            {
                "title": "Share of all words that the most frequent are",
                "x": "words",
                "y": "share",
                "series": [
                    {"name": "share", "points": [[r, s, None, None] for r, s in zip(RANKS, shares, strict=True)]}
                ],
            }
        ],
        "warnings": [],
    }
