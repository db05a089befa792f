"""`tamis learn ngram`: counting, adjusting, estimating and writing an n-gram model, round by round on the engine.

Every round's files are committed, so that a run that was killed goes on with the next task; they are deleted once the
model is kept. A process holds the n-grams of one shard or of one partition (about `TARGET` occurrences, or those of one
frequent word), and the words of the vocabulary.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from learners.ngram.counting import Vocabulary
from learners.ngram.estimating import Totals
from learners.ngram.settings import Settings
from pipelines.artifacts import checked_name, keep
from pipelines.commit import Record, committed, intact, record_path
from pipelines.engine import Engine
from pipelines.execute import failed
from pipelines.file_kinds import sources_at
from pipelines.gather import Gathered, gather
from pipelines.learning.ngram_card import Scored, card, scored
from pipelines.learning.ngram_tasks import (
    Adjusted,
    ContextsOf,
    CountsOf,
    Held,
    Lines,
    Place,
    WordsOf,
    written,
)
from pipelines.learning.session import engine_of
from pipelines.passes import peak_memory_bytes
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.errors import DataError, SpecError
from stages.fingerprint import key
from stages.ngrams.models import ARPA, KIND, PIECES, TABLE
from stages.ngrams.reading import Reading
from stages.ngrams.table import Table

#: Occurrences of n-grams in a partition.
TARGET = 1_500_000
#: Documents that are scored for the card where none are held out.
SAMPLED = 2_000


@dataclass(frozen=True, slots=True)
class Learning:
    """What to learn from and how. Paths are files, folders or globs, local or s3://.

    `held_out` are paths to texts that the model is measured on; `held_out_share` holds that share of the documents of
    `text` out instead, chosen by hash. `lang` is the language code that the model is for, if any.
    """

    text: Sequence[str]
    settings: Settings
    reading: Reading = field(default_factory=Reading)
    held_out: Sequence[str] = ()
    held_out_share: float = 0.0
    seed: int = 0
    lang: str | None = None
    source: str | None = None  # the kind of source that reads the files, where names do not tell

    def __post_init__(self) -> None:
        if not 0 <= self.held_out_share < 1:
            raise SpecError(f"a share of {self.held_out_share:g} cannot be held out; give one from 0 to below 1")
        if self.held_out and self.held_out_share:
            raise SpecError("give either --held-out PATH or --held-out-share, not both")

    def identity(self) -> dict[str, Any]:
        """What the model depends on beside the texts."""
        lang = {} if self.lang is None else {"lang": self.lang}
        return {**self.settings.json(), **self.reading.identity(), **lang}


class _Task(Protocol):
    @property
    def name(self) -> str: ...

    def __call__(self) -> Record: ...


def learn_ngram(
    store: Store, name: str, learning: Learning, *, options: Options | None = None, watch: Watch | None = None
) -> Artifact:
    """Fit an n-gram model and keep it under a name.

    Raises:
        SpecError: the name cannot be one, or sentencepiece is missing.
        DataError: a path matches nothing, or there are no words.
    """
    checked_name(name)
    learning.reading.open()  # what is missing is said before any work
    watch = watch or NullWatch()
    began, cpu = time.monotonic(), time.process_time()
    found = [files for path in learning.text for _, files in sources_at("texts", path, learning.source)]
    nbytes = sum(sum(files["size"].to_pylist()) for files in found)
    with engine_of(options or Options(), watch, nbytes) as engine, TemporaryDirectory() as folder:
        texts = gather(store, learning.text, engine, watch, kind=learning.source)
        work = _Work(store, learning, texts, engine, watch)
        fitted = work.fit(Path(folder))
        held = gather(store, learning.held_out, engine, watch, kind=learning.source) if learning.held_out else None
        watch.say("scoring documents for the card")
        asked = _scored(store, learning, texts, held, fitted.table)
        files = {ARPA: fitted.arpa, TABLE: fitted.path}
        if learning.reading.pieces is not None:
            files[PIECES] = learning.reading.pieces
        cost = {
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(work.cpu_seconds + time.process_time() - cpu, 3),
            "peak_memory_bytes": max(work.peak_memory_bytes, peak_memory_bytes()),
        }
        shown = card(learning.identity(), texts, held, fitted.totals, fitted.facts, asked) | {"cost": cost}
        kept = keep(store, name, KIND, files, identity=learning.identity(), card=shown)
        work.sweep()
        return kept


def _scored(store: Store, learning: Learning, texts: Gathered, held: Gathered | None, table: Table) -> Scored:
    """Documents scored by the model: those held out, or some that it has learned from."""
    if held is not None:
        return scored(store, held, learning.reading, table, None)
    if learning.held_out_share:
        return scored(store, texts, learning.reading, table, Held(learning.held_out_share, learning.seed))
    share = min(1.0, SAMPLED / max(texts.documents, 1))
    return scored(store, texts, learning.reading, table, Held(share, learning.seed), seen=True)


@dataclass(frozen=True, slots=True)
class _Fitted:
    """The files of a model, its table, and what was counted."""

    arpa: Path
    path: Path
    table: Table
    totals: Totals
    facts: dict[str, int]


class _Work:
    """The rounds of one model."""

    def __init__(
        self, store: Store, learning: Learning, texts: Gathered, engine: Callable[[], Engine], watch: Watch
    ) -> None:
        self._learning, self._settings = learning, learning.settings
        self._texts, self._engine, self._watch = texts, engine, watch
        self._held = Held(learning.held_out_share, learning.seed)
        parts = [texts.json()["content"], learning.identity(), self._held.share, self._held.seed, TARGET]
        self._place = Place(store, f"learn/ngram-{key(parts)}")
        self._records: list[tuple[str, Record]] = []
        self.cpu_seconds = 0.0
        self.peak_memory_bytes = 0

    def fit(self, folder: Path) -> _Fitted:
        """Run all rounds and write the files of the model into a local folder."""
        words = self._each(
            "words",
            [
                WordsOf(self._place, f"words-{i}", shard, self._learning.reading, self._held)
                for i, shard in enumerate(self._texts.shards)
            ],
        )
        facts = {k: sum(r[k] for r in words) for k in ("documents", "words", "sentences", "reserved")}
        if not facts["words"]:
            raise DataError(
                f"there is no word in {', '.join(map(repr, self._learning.text))}; name files with text to learn from"
            )
        vocabulary = self._vocabulary(words)
        counts = self._each(
            "n-grams",
            [CountsOf(self._place, f"counts-{i}", self._settings, w, vocabulary) for i, w in enumerate(words)],
        )
        totals, lines = self._estimate(counts, vocabulary)
        self._watch.say("writing the model")
        arpa, path = folder / ARPA, folder / TABLE
        written(self._place, lines, totals, arpa)
        table = Table.of(self._sections(lines), totals.kept)
        table.write(path)
        return _Fitted(arpa, path, table, totals, facts)

    def _vocabulary(self, words: Sequence[Record]) -> Record:
        """The numbers of all words, committed once."""
        from stages.kernels.ngram_words import word_hash  # noqa: PLC0415 - loads numba

        found = self._found("vocabulary")
        if found is None:
            self._watch.say("numbering the words")
            whole, began = Vocabulary(), time.process_time()
            for record in words:
                whole.add(self._place.words(record), record["sentences"])
            hashes = {w: word_hash(w) for w in (b"<unk>", b"<s>", b"</s>")}
            arrays = whole.arrays(hashes, TARGET)
            found = self._place.commit("vocabulary", arrays, {"partitions": len(arrays["starts"])}, began)
        self._records.append(("vocabulary", found))
        return found

    def _estimate(self, counts: Sequence[Record], vocabulary: Record) -> tuple[Totals, list[Record]]:
        partitions = range(vocabulary["partitions"])
        own = self._each(
            "adjusted counts",
            [Adjusted(self._place, f"adjusted-{p}", self._settings, p, tuple(counts), vocabulary) for p in partitions],
        )
        totals = Totals.of([record["statistics"] for record in own], self._settings)
        contexts = self._each(
            "backoffs",
            [ContextsOf(self._place, f"contexts-{p}", self._settings, p, tuple(own), totals) for p in partitions],
        )
        lines = self._each(
            "probabilities",
            [
                Lines(self._place, f"lines-{p}", self._settings, p, own[p], tuple(contexts), totals, vocabulary)
                for p in partitions
            ],
        )
        return totals, lines

    def _sections(self, lines: Sequence[Record]) -> Iterator[Any]:
        for k in range(1, self._settings.order + 1):
            for record in lines:
                found = self._place.arrays(record)
                yield tuple(found[f"{what}{k}"] for what in ("keys", "logs", "backoffs"))

    def _each(self, label: str, tasks: Sequence[_Task]) -> list[Record]:
        """The commit record of every task, in their order; those there already are not computed again."""
        records = [self._found(task.name) for task in tasks]
        waiting = [n for n, record in enumerate(records) if record is None]
        done = len(tasks) - len(waiting)
        self._watch.step(label, done, len(tasks))
        if waiting:
            for outcome in self._engine().each([tasks[n] for n in waiting]):
                if outcome.failure is not None:
                    raise failed(f"learning an n-gram model ({label})", outcome, None)
                records[waiting[outcome.index]] = outcome.value
                done += 1
                self._watch.step(label, done, len(tasks))
        found = [record for record in records if record is not None]
        self._records += [(task.name, record) for task, record in zip(tasks, found, strict=True)]
        self.cpu_seconds += sum(r["cpu_seconds"] for r in found if "cpu_seconds" in r)
        self.peak_memory_bytes = max([self.peak_memory_bytes, *(r.get("peak_memory_bytes", 0) for r in found)])
        return found

    def _found(self, name: str) -> Record | None:
        """What was committed and is as it was written."""
        store, folder = self._place.store, self._place.folder
        record = committed(store, folder, name)
        if record is not None and not intact(store, record):
            self._delete(name, record)
            return None
        return record

    def sweep(self) -> None:
        """Delete the files of all rounds."""
        for name, record in self._records:
            self._delete(name, record)

    def _delete(self, name: str, record: Record) -> None:
        """Delete a record, and then the files that it names."""
        self._place.store.delete(record_path(self._place.folder, name))
        for file in record["files"]:
            self._place.store.delete(file["path"])
