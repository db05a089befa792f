"""What people do with an index: add a run, ask about files, take documents down, look at it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from pipelines.index import bloom, redis_lsh
from pipelines.index.asking import Emit, Question, ask
from pipelines.index.backend import Backend
from pipelines.index.bloom import Bloom
from pipelines.index.chain import find, get
from pipelines.index.embedded import Embedded
from pipelines.index.incoming import Fate, RunSketches
from pipelines.index.redis_lsh import RedisLsh
from pipelines.progress import Watch
from pipelines.store import Store
from pipelines.view import RunView
from stages.banding import bands_for, candidate_probability
from stages.errors import SpecError
from stages.index.manifest import Configuration, Manifest, checked_name, sketch_of
from stages.text.minhash import Minhash

BackendName = Literal["store", "redis", "bloom"]
#: Similarities for which `info` tells how probably a twin is found.
SIMILARITIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@dataclass(frozen=True, slots=True)
class Banding:
    """How sketches are banded: both numbers, or the similarity that they should part at; nothing: as the step says."""

    bands: int | None = None
    rows: int | None = None
    threshold: float | None = None

    @property
    def chosen(self) -> bool:
        """Whether anything was asked for."""
        return (self.bands, self.rows, self.threshold) != (None, None, None)

    def of(self, stage: Minhash) -> tuple[int, int]:
        """Bands and rows for the sketches of a stage.

        Raises:
            SpecError: they contradict each other or need more values than a sketch has.
        """
        if self.threshold is not None:
            if self.bands is not None or self.rows is not None:
                raise SpecError("give either --threshold or --bands and --rows; one follows from the other")
            return bands_for(self.threshold, stage.permutations)
        if (self.bands is None) != (self.rows is None):
            raise SpecError("give both --bands and --rows, or --threshold alone")
        bands, rows = self.bands or stage.bands, self.rows or stage.rows
        if bands < 1 or rows < 1 or bands * rows > stage.permutations:
            raise SpecError(
                f"{bands} bands of {rows} rows need {bands * rows} values, and the sketches have {stage.permutations}; "
                "give less"
            )
        return bands, rows


@dataclass(frozen=True, slots=True)
class Storage:
    """Where a new index is kept, and what its kind of storage needs."""

    backend: BackendName | None = None
    url: str | None = None
    capacity: int | None = None
    false_positive_rate: float = 1e-6


@dataclass(frozen=True, slots=True)
class Taking:
    """Which documents of a run are taken in, and under which name."""

    fate: Fate = "kept"
    sketch: str | None = None
    corpus: str | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """What is asked about files, and who is told."""

    question: Question
    emit: Emit
    watch: Watch
    url: str | None = None


def add(index: str, view: RunView, taking: Taking, banding: Banding, storage: Storage, watch: Watch) -> dict[str, Any]:
    """Take a run's documents into an index, which begins to exist with the first of them.

    Raises:
        SpecError: the run has no sketches, or ones that cannot be compared with those of the index.
        StorageError: the store, or the server that keeps the index, cannot be reached.
    """
    store = view.store
    manifest = find(store, checked_name(index))
    sketches = RunSketches.of(view, sketch=taking.sketch, fate=taking.fate, corpus=taking.corpus)
    configuration = _configuration(manifest, index, sketches, banding)
    backend = _begun(store, index, configuration, manifest, storage)
    added = backend.add(sketches.coming(), watch)
    after = get(store, index)
    return {
        "index": index,
        "backend": after.backend,
        "snapshot": after.snapshot,
        "corpus": sketches.corpus,
        "run": view.run,
        "added": added.documents,
        "known": added.known,
        "taken_down": added.taken_down,
    }


def query(store: Store, index: str, paths: Sequence[str], asking: Asking) -> dict[str, Any]:
    """Look up every document of files; `asking.emit` is given each with its twins. Gives the counts.

    Raises:
        SpecError: there is no such index.
        DataError: a path matches no file, or a file cannot be read.
    """
    manifest = get(store, index)
    backend = opened(store, index, manifest, asking.url)
    asked = ask(backend, manifest.configuration, paths, asking.emit, asking.question, asking.watch)
    return {"index": index, "snapshot": manifest.snapshot, **asdict(asked)}


def remove(
    store: Store, index: str, doc_ids: Sequence[str], corpus: str | None, url: str | None = None
) -> dict[str, Any]:
    """Take documents down for good.

    Raises:
        SpecError: there is no such index or document, or the index cannot forget.
    """
    manifest = get(store, index)
    taken = opened(store, index, manifest, url).remove(doc_ids, corpus)
    return {"index": index, "snapshot": get(store, index).snapshot, "removed": taken}


def info(store: Store, index: str, url: str | None = None) -> dict[str, Any]:
    """What an index holds, how it compares, and how probably it finds a twin.

    Raises:
        SpecError: there is no such index.
    """
    manifest = get(store, index)
    configuration = manifest.configuration
    bands, rows = configuration.bands, configuration.rows
    return {
        "index": index,
        "backend": manifest.backend,
        "snapshot": manifest.snapshot,
        "manifest": manifest.number,
        **opened(store, index, manifest, url).info(),
        "configuration": configuration.json(),
        "candidate_probability": {str(s): candidate_probability(s, bands, rows) for s in SIMILARITIES},
        "adds": [{n: a[n] for n in ("corpus", "run", "documents")} for a in manifest.adds],
    }


def opened(store: Store, index: str, manifest: Manifest, url: str | None = None) -> Backend:
    """The backend that keeps an index.

    Raises:
        SpecError: this version of tamis does not know it.
        StorageError: its server cannot be reached.
    """
    if manifest.backend == "store":
        return Embedded(store, index)
    if manifest.backend == "bloom":
        return Bloom(store, index)
    if manifest.backend == "redis":
        return RedisLsh(store, index, url)
    raise SpecError(
        f"the index {index!r} is kept in {manifest.backend!r}, which this version of tamis does not know", index=index
    )


def _begun(
    store: Store, index: str, configuration: Configuration, manifest: Manifest | None, storage: Storage
) -> Backend:
    """The backend of an index that exists, or of a new one."""
    if manifest is not None:
        if storage.backend not in {None, manifest.backend}:
            raise SpecError(
                f"the index {index!r} is kept in {manifest.backend}, not in {storage.backend}; "
                "leave out --backend or give another name",
                index=index,
            )
        return opened(store, index, manifest, storage.url)
    if storage.backend == "bloom":
        return Bloom(store, index, bloom.begin(configuration, storage.capacity, storage.false_positive_rate))
    if storage.backend == "redis":
        return RedisLsh(store, index, storage.url, redis_lsh.begin(index, configuration, storage.url))
    return Embedded(store, index, configuration)


def _configuration(manifest: Manifest | None, index: str, sketches: RunSketches, banding: Banding) -> Configuration:
    """The configuration of a new index, or that of an old one, which the sketches must fit."""
    sketch = sketch_of(sketches.stage.identity())
    if manifest is None:
        return Configuration(sketch, *banding.of(sketches.stage))
    known = manifest.configuration
    known.accept(sketch, index, f"step {sketches.step.name!r} of the run {sketches.view.run}")
    if banding.chosen and banding.of(sketches.stage) != (known.bands, known.rows):
        raise SpecError(
            f"the index {index!r} has {known.bands} bands of {known.rows} rows, which cannot be changed; "
            "leave out --bands, --rows and --threshold or give another name",
            index=index,
        )
    return known
