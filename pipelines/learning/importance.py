"""`tamis learn importance`: counting shard by shard on the engine, then one division.

The counts of a shard are committed under its digest and the features, so that learning again against another target
counts the new shards only, and what was killed goes on.
"""

import io
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from learners.importance import Counts, count, curves, fit, metrics, warnings
from pipelines.artifacts import checked_name, keep
from pipelines.commit import Attempt, Record, committed
from pipelines.engine import Engine
from pipelines.execute import failed
from pipelines.file_kinds import sources_at
from pipelines.gather import Gathered, gather
from pipelines.learning.session import engine_of
from pipelines.passes import peak_memory_bytes
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.errors import StorageError
from stages.fingerprint import key
from stages.importance_weights import KIND, ROLE, Features, weigh

#: Documents of each side that the card shows the weights of: the first of each shard.
LOOKED_AT = 2_000
SHOWN = 5
#: Shorter documents are extreme by chance.
LEAST_TOKENS = 50
_EXCERPT = 500


@dataclass(frozen=True, slots=True)
class Learning:
    """What to learn from: paths (files, folders, globs; local or s3://) of wanted and of raw text, and the features."""

    target: Sequence[str]
    raw: Sequence[str]
    features: Features = field(default_factory=Features)
    source: str | None = None  # the kind of source that reads the files, where names do not tell


@dataclass(frozen=True, slots=True)
class CountShard:
    """Counts the hashed n-grams of one shard; gives the commit record."""

    store: Store
    shard: Shard
    features: Features

    @property
    def folder(self) -> str:
        """Where the counts of all shards with these features are."""
        return f"steps/importance-{key(self.features.identity())}"

    def __call__(self) -> Record:
        """Count and commit."""
        cpu = time.process_time()
        texts = (batch["text"].drop_null() for batch in batches(self.store, self.shard, ["text"], {}))
        counts, tokens = count(texts, self.features)
        with Attempt(self.store, self.folder, self.shard.digest) as attempt:
            with attempt.file(".npy") as path, path.open("wb") as file:
                np.save(file, counts, allow_pickle=False)
            cost = {"cpu_seconds": time.process_time() - cpu, "peak_memory_bytes": peak_memory_bytes()}
            return attempt.commit({"tokens": tokens, **cost})

    def read(self, record: Record) -> Counts:
        """The counts that were committed.

        Raises:
            StorageError: they are damaged.
        """
        [file] = record["files"]
        try:
            found: Counts = np.load(io.BytesIO(self.store.get(file["path"])), allow_pickle=False)
        except (ValueError, EOFError) as error:
            raise StorageError(
                f"the counts {file['path']!r} cannot be read ({error}); delete the folder {self.folder} and learn again",
                path=file["path"],
            ) from error
        return found


@dataclass(slots=True)
class _Counted:
    """One side's texts, counted."""

    texts: Gathered
    counts: Counts
    tokens: int
    cpu_seconds: float
    peak_memory_bytes: int

    def json(self) -> dict[str, Any]:
        return {**self.texts.json(), "tokens": self.tokens}


def learn_importance(
    store: Store, name: str, learning: Learning, *, options: Options | None = None, watch: Watch | None = None
) -> Artifact:
    """Fit importance weights and keep them under a name.

    Raises:
        SpecError: the name cannot be one.
        DataError: a path matches nothing, a side has no words, or the two have no n-gram in common.
    """
    checked_name(name)
    watch = watch or NullWatch()
    began = time.monotonic()
    with engine_of(options or Options(), watch, _bytes_at(learning)) as engine:
        target = _counted(store, learning.target, learning, engine, watch)
        raw = _counted(store, learning.raw, learning, engine, watch)
    ratios = fit(target.counts, raw.counts)
    seen = {
        side: _seen(store, one.texts, learning.features, ratios) for side, one in (("target", target), ("raw", raw))
    }
    card = {
        "what": "DSIR importance weights: how much likelier each hashed n-gram is in the target than in the raw texts",
        "data": {"target": target.json(), "raw": raw.json()},
        "settings": learning.features.identity(),
        "metrics": metrics(target.counts, raw.counts, ratios),
        "curves": curves({side: [one["score"] for one in shown] for side, shown in seen.items()}),
        "likes": seen["raw"][:SHOWN],
        "hates": seen["raw"][::-1][:SHOWN],
        "warnings": warnings(target.counts, raw.counts),
        "cost": {
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(target.cpu_seconds + raw.cpu_seconds, 3),
            "peak_memory_bytes": max(target.peak_memory_bytes, raw.peak_memory_bytes),
        },
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / ROLE
        np.save(path, ratios, allow_pickle=False)
        return keep(store, name, KIND, {ROLE: path}, identity=learning.features.identity(), card=card)


def _counted(
    store: Store, paths: Sequence[str], learning: Learning, engine: Callable[[], Engine], watch: Watch
) -> _Counted:
    texts = gather(store, paths, engine, watch, kind=learning.source)
    tasks = [CountShard(store, shard, learning.features) for shard in texts.shards]
    records = [committed(store, task.folder, task.shard.digest) for task in tasks]
    waiting = [n for n, record in enumerate(records) if record is None]
    watch.step("count", len(tasks) - len(waiting), len(tasks))
    if waiting:
        _compile(engine, learning.features, watch)
        done = len(tasks) - len(waiting)
        for outcome in engine().each([tasks[n] for n in waiting]):
            if outcome.failure is not None:
                raise failed("counting n-grams", outcome, tasks[waiting[outcome.index]].shard)
            records[waiting[outcome.index]] = outcome.value
            done += 1
            watch.step("count", done, len(tasks))
    total = _Counted(texts, np.zeros(learning.features.buckets, np.int64), 0, 0.0, 0)
    for task, record in zip(tasks, records, strict=True):
        assert record is not None, "every task has an outcome"
        total.counts += task.read(record)
        total.tokens += record["tokens"]
        total.cpu_seconds += record["cpu_seconds"]
        total.peak_memory_bytes = max(total.peak_memory_bytes, record["peak_memory_bytes"])
    return total


def _compile(engine: Callable[[], Engine], features: Features, watch: Watch) -> None:
    """Compile the kernel once on this machine, before work fans out."""
    from stages.kernels.cache import is_ready  # noqa: PLC0415 - only where something may need compiling
    from stages.kernels.warm import compile_kinds  # noqa: PLC0415 - the same

    if features.hash == "fast" and not is_ready(KIND):
        watch.say("compiling the kernel that hashes n-grams")
        for outcome in engine().each([partial(compile_kinds, (KIND,))]):
            if outcome.failure is not None:
                raise failed("compiling the kernel that hashes n-grams", outcome, None)


def _bytes_at(learning: Learning) -> int:
    """Stored bytes of all files, by which an engine is chosen."""
    paths = (*learning.target, *learning.raw)
    found = [files for path in paths for _, files in sources_at("texts", path, learning.source)]
    return sum(sum(files["size"].to_pylist()) for files in found)


def _seen(store: Store, texts: Gathered, features: Features, ratios: NDArray[np.float64]) -> list[dict[str, Any]]:
    """Documents with their weight per token, highest first, among the first of each shard."""
    found: list[dict[str, Any]] = []
    each = -(-LOOKED_AT // len(texts.shards))
    for shard in texts.shards:
        some = next(batches(store, shard, ["text", "path", "ordinal"], {})).slice(0, each)
        weights, tokens = weigh(some["text"], features, ratios)
        where = zip(some["text"], some["path"], some["ordinal"], strict=True)
        found += [
            {"text": text.as_py()[:_EXCERPT], "score": float(w / n), "where": f"{path}:{ordinal}"}
            for (text, path, ordinal), w, n in zip(where, weights, tokens, strict=True)
            if n >= LEAST_TOKENS
        ]
    return sorted(found, key=lambda one: (-one["score"], one["where"]))
