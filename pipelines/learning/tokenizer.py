"""`tamis learn tokenizer`: byte-level BPE learned from texts, or a tokenizer that exists, kept with what it makes of texts.

The merges are learned by one task, whose result is committed under the shards' digests, so that the same texts are not
learned from twice. It holds the distinct words of the texts, of at most `sample_bytes` of them: beyond that, documents are
chosen by hash. What texts become is measured shard by shard, on `MEASURED_BYTES` of them.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeAlias

import pyarrow as pa

from learners.tokenizer import LONGEST_WORD, Made, adopted, checked_size, fitted
from pipelines.artifacts import checked_name, keep
from pipelines.commit import Attempt, Record, committed
from pipelines.engine import Engine
from pipelines.execute import failed
from pipelines.gather import Gathered, gather
from pipelines.learning.session import engine_of
from pipelines.learning.tokenizer_card import Measured, MeasureShard, Sampled, card, merged, short
from pipelines.passes import peak_memory_bytes
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.shards import Shard, batches
from pipelines.store import Store
from stages.artifacts import Artifact
from stages.errors import DataError, SpecError
from stages.fingerprint import key
from stages.tokenization import FILE, KIND

#: Bytes of text that merges are learned from at most, and that the card's figures are of.
SAMPLE_BYTES = 1_000_000_000
MEASURED_BYTES = 16_000_000
#: Bumped when the same texts give another tokenizer.
VERSION = 1
EngineOf: TypeAlias = Callable[[], Engine]


@dataclass(frozen=True, slots=True)
class Learning:
    """What to learn: a vocabulary of so many entries from texts (files, folders, globs; local or s3://), or a file's.

    With a `file` the texts, if there are any, are only measured. `end_of_text` names the token between documents of a file
    (or its id).
    """

    text: Sequence[str] = ()
    vocabulary: int | None = None
    file: Path | None = None
    end_of_text: str | None = None
    sample_bytes: int = SAMPLE_BYTES
    seed: int = 0
    source: str | None = None  # the kind of source that reads the files, where names do not tell

    def __post_init__(self) -> None:
        if (self.vocabulary is None) == (self.file is None):
            raise SpecError(
                "a tokenizer is either learned or given: say --vocab N or --file tokenizer.json, and not both"
            )
        if self.file is None and not self.text:
            raise SpecError("a tokenizer is learned from texts; name them with --text PATH...")
        if self.file is None and self.end_of_text is not None:
            raise SpecError("a learned tokenizer ends texts with <|endoftext|>; leave --end-of-text out")
        if self.vocabulary is not None:
            checked_size(self.vocabulary)

    def settings(self) -> dict[str, Any]:
        """What the result depends on beside the texts, for people."""
        if self.file is not None:
            return {"file": self.file.name}
        library = f"tokenizers {version('tokenizers')}"
        own = {"vocabulary": self.vocabulary, "sample_bytes": self.sample_bytes, "seed": self.seed}
        return own | {"library": library}


@dataclass(frozen=True, slots=True)
class LearnMerges:
    """Learns a tokenizer from the sampled documents of all shards; gives the commit record."""

    store: Store
    shards: tuple[Shard, ...]
    vocabulary: int
    sampled: Sampled

    @property
    def folder(self) -> str:
        """Where tokenizers made in this way are."""
        how = [VERSION, version("tokenizers"), LONGEST_WORD, self.vocabulary]
        return f"steps/{KIND}-{key(how)}"

    @property
    def name(self) -> str:
        """A key of the texts that are read; their order changes nothing."""
        return key([sorted(shard.digest for shard in self.shards), self.sampled.share, self.sampled.seed])

    def __call__(self) -> Record:
        """Learn and commit."""
        cpu = time.process_time()
        made = fitted(self._texts(), self.vocabulary)
        with Attempt(self.store, self.folder, self.name) as attempt:
            with attempt.file(".json") as path:
                path.write_text(made.content, "utf-8")
            cost = {"cpu_seconds": time.process_time() - cpu, "peak_memory_bytes": peak_memory_bytes()}
            return attempt.commit({**made.identity(), **cost})

    def _texts(self) -> Iterator[pa.StringArray]:
        for shard in self.shards:
            for batch in batches(self.store, shard, ["text", "doc_id"], {}):
                yield self.sampled.of(batch)["text"].drop_null()

    def read(self, record: Record) -> Made:
        """The tokenizer that was committed."""
        [file] = record["files"]
        return Made(self.store.get(file["path"]).decode(), record["end_of_text"], record["vocabulary"])


def learn_tokenizer(
    store: Store, name: str, learning: Learning, *, options: Options | None = None, watch: Watch | None = None
) -> Artifact:
    """Learn a tokenizer, or take over a file's, and keep it under a name.

    Raises:
        SpecError: the name cannot be one, or the file is no tokenizer whose texts end with a token of their own.
        DataError: a path matches nothing, or there is no text.
    """
    checked_name(name)
    given = (
        None if learning.file is None else adopted(_content(learning.file), str(learning.file), learning.end_of_text)
    )
    watch = watch or NullWatch()
    began, cpu = time.monotonic(), time.process_time()
    with engine_of(options or Options(), watch) as engine, TemporaryDirectory() as folder:
        paths = {path: gather(store, [path], engine, watch, kind=learning.source) for path in learning.text}
        texts = Gathered(
            tuple(shard for found in paths.values() for shard in found.shards),
            sum(found.malformed for found in paths.values()),
        )
        if paths and not texts.bytes:
            raise DataError(f"there is no text in {', '.join(map(repr, paths))}; name files with text")
        made, record = (given, {}) if given else _learned(store, learning, texts, engine, watch)
        measured = _measured(store, made, paths, learning.seed, engine, watch)
        cost = {
            "seconds": round(time.monotonic() - began, 3),
            "cpu_seconds": round(time.process_time() - cpu + record.get("cpu_seconds", 0.0) + measured.cpu_seconds, 3),
            "peak_memory_bytes": max(
                peak_memory_bytes(), record.get("peak_memory_bytes", 0), measured.peak_memory_bytes
            ),
        }
        shown = card(made, measured, texts, learning.settings(), learned=given is None) | {"cost": cost}
        path = Path(folder) / FILE
        path.write_text(made.content, "utf-8")
        return keep(store, name, KIND, {FILE: path}, identity=made.identity(), card=shown)


def _content(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the tokenizer {str(file)!r} cannot be read ({error}); name a tokenizer.json") from error


def _learned(store: Store, learning: Learning, texts: Gathered, engine: EngineOf, watch: Watch) -> tuple[Made, Record]:
    """The tokenizer and the record of the task that learned it, now or before."""
    assert learning.vocabulary is not None, "nothing was given"
    sampled = Sampled.of_bytes(learning.sample_bytes, texts.bytes, seed=learning.seed)
    task = LearnMerges(store, texts.shards, learning.vocabulary, sampled)
    record = committed(store, task.folder, task.name)
    if record is None:
        watch.say(f"learning a vocabulary of {learning.vocabulary:,} entries")
        for outcome in engine().each([task]):
            if outcome.failure is not None:
                raise failed("learning a tokenizer", outcome, None)
            record = outcome.value
    assert record is not None, "the task has an outcome"
    return task.read(record), record


def _measured(
    store: Store, made: Made, paths: dict[str, Gathered], seed: int, engine: EngineOf, watch: Watch
) -> Measured:
    """What the texts become, over all shards; each of the paths is a group where there are several."""
    total = sum(texts.bytes for texts in paths.values())
    names = short(list(paths))
    sampled = Sampled.of_bytes(MEASURED_BYTES, total, seed=seed)
    tasks = [
        MeasureShard(store, shard, made, sampled, names[path] if len(paths) > 1 else None)
        for path, texts in paths.items()
        for shard in texts.shards
    ]
    found: list[Measured] = []
    watch.step("tokens", 0, len(tasks))
    if tasks:
        for outcome in engine().each(tasks):
            if outcome.failure is not None:
                raise failed("measuring a tokenizer", outcome, tasks[outcome.index].shard)
            found.append(outcome.value)
            watch.step("tokens", len(found), len(tasks))
    return merged(found, made.vocabulary)
