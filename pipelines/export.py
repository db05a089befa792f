"""Writing the kept documents of a run, in final order, as files that appear whole.

The bytes of the data files depend on the documents and the spec alone: not on input shards, workers or engine, and
not on the run's id, which stands in `manifest.json` only. Everything rejected gives one valid file without documents.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from pipelines.commit import committed
from pipelines.dataset_card import About, beside
from pipelines.engine import Engine, open_engine
from pipelines.execute import Execution
from pipelines.export_file import CorpusOrder, Rows, WriteExportFile
from pipelines.export_ordered import OrderedTexts
from pipelines.export_places import MANIFEST, Found, InBucket, InFolder, InStore, Place, Target
from pipelines.export_plan import KEEP, File, FileNumbers, Part, files, pieces, wide
from pipelines.export_request import Request, beside_data, manifest_of
from pipelines.plan import Plan
from pipelines.progress import NullWatch, Watch
from pipelines.runs import RunFolder
from pipelines.shards import Shard
from pipelines.spec import write_section
from pipelines.store import Store, encode
from pipelines.view import RunView
from stages.base import Sink
from stages.errors import SpecError, StageError, StorageError
from stages.rules import SYMBOLS, BoundPolicy

STEP = "export"


class Options(Protocol):
    """Where work is executed."""

    @property
    def engine(self) -> str:
        """Its name."""

    @property
    def workers(self) -> int | None:
        """How many processes; None: one for each core."""

    @property
    def address(self) -> str | None:
        """An existing cluster."""


def export_run(
    folder: RunFolder,
    plan: Plan,
    execution: Execution,
) -> dict[str, Any]:
    """Export a run into its store: `exports/{name}/v{n}`, the same `v{n}` however often it is asked for.

    Returns:
        path (absolute, or a URL), documents, bytes (of text), files, and tokens and cpu_seconds where known.

    Raises:
        StorageError: the store cannot be read or written.
        StageError: a worker was lost repeatedly.
    """
    request = Request(folder.store, folder.run, plan, plan.spec.sink, plan.spec.write.shard_bytes)
    note = folder.path(f"export-{plan.spec.sink.kind}.json")
    place = (InStore if folder.store.is_local else InBucket)(folder.store, plan.spec.name, note)
    paths = {s.digest: execution.results.sidecars(s, request.measured) for s in execution.shards}
    return export(request, _Verdicts(folder.store, execution.shards, paths), place, execution)


def export_to(
    view: RunView,
    format: str,  # noqa: A002 - the command's own word
    out: Path,
    options: Options,
    watch: Watch | None = None,
    settings: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Export a finished run into a folder outside the store; what `export_run` gives.

    `settings` are fields of the format, and `shard_bytes`; what they leave out is as the spec has it, or as usual where
    the spec writes another format.

    Raises:
        SpecError: the format or a setting is unknown, the format needs something that the run does not have, or the folder
            holds something else or is inside the store.
        StorageError: the folder cannot be written.
    """
    if view.store.is_local and out.expanduser().resolve().is_relative_to(Path(view.store.url).resolve()):
        raise SpecError(f"the folder {str(out)!r} is inside the store; give --out a folder outside of it", out=str(out))
    sink, shard_bytes = _asked(view, format, settings or {})
    request = Request(view.store, view.run, view.plan, sink, shard_bytes)
    paths = {s.digest: view.sidecars(s, request.measured) for s in view.shards}
    opened: list[Engine] = []

    def engine() -> Engine:
        if not opened:
            nbytes = view.ledger["total"]["bytes_exported"]
            opened.append(open_engine(options.engine, options.workers, options.address, nbytes))
        return opened[0]

    try:
        place = InFolder(out.expanduser().resolve())
        execution = Execution(view.store, view.shards, view.spec.limits, engine, watch or NullWatch())
        return export(request, _Verdicts(view.store, view.shards, paths), place, execution)
    finally:
        for started in opened:
            started.close()


def _asked(view: RunView, format: str, settings: Mapping[str, Any]) -> tuple[Sink, int]:  # noqa: A002 - the command's own word
    """The sink of a format with these settings, and the bytes of text in a file."""
    base = view.spec.raw.get("write") or {} if format == view.spec.sink.kind else {}
    fields = {"shard_bytes": view.spec.write.shard_bytes, **base, **settings, "kind": format}
    write, sink = write_section(fields, "--format")
    return sink, write.shard_bytes


@dataclass(frozen=True, slots=True)
class _Verdicts:
    """The shards of a run with what their verdicts' commit records say."""

    store: Store
    shards: Sequence[Shard]
    paths: Mapping[str, Mapping[str, str]]

    def parts(self, noted: Callable[[Mapping[str, Any]], None]) -> Iterator[Part]:
        """Every shard with its segments; `noted` hears the counts of each verdict."""
        for shard in self.shards:
            paths = self.paths[shard.digest]
            folder, _, name = paths[KEEP].rpartition("/")
            record = committed(self.store, folder, name.rsplit(".", 2)[0])
            if record is None:
                message = f"the verdict of shard {shard.digest} is not in the store any more; run the spec again"
                raise StorageError(message, shard=shard.digest)
            noted(record["counts"])
            yield Part(shard, paths, tuple(record["segments"]))


def export(request: Request, verdicts: _Verdicts, place: Place, execution: Execution) -> dict[str, Any]:
    """Write the kept documents to a place, unless they are there already.

    Raises:
        StorageError: the place cannot be written.
        StageError: a worker was lost repeatedly.
    """
    found = place.find(request.key)
    if found is None:
        with place.staging(request.key) as target:
            found = place.find(request.key)  # a run beside this one may have been faster
            if found is None:
                found = _write(request, verdicts, place, target, execution)
    return _outcome(found)


def _all(execution: Execution, tasks: Sequence[Callable[[], Any]]) -> Iterator[tuple[int, Any]]:
    """The position and the value of every task, as they come."""
    for outcome in execution.each(tasks):
        if outcome.failure is not None:
            if outcome.failure.error is not None:
                raise outcome.failure.error
            message = f"the export failed: {outcome.failure.message}; run it again, finished files are kept"
            raise StageError(message, step=STEP)
        yield outcome.index, outcome.value


def _write(request: Request, verdicts: _Verdicts, place: Place, target: Target, execution: Execution) -> Found:
    counts, columns = _Counts(), request.columns
    with _planned(request, verdicts, counts, execution) as planned:
        tasks = [
            WriteExportFile(target, request.sink, f"part-{n:05d}", documents, columns)
            for n, documents in enumerate(planned)
        ]
        records: list[dict[str, Any]] = [{}] * len(tasks)
        done = nbytes = 0
        execution.watch.step(STEP, 0, len(tasks), 0)
        for index, record in _all(execution, tasks):
            records[index] = record
            done, nbytes = done + 1, nbytes + record["text_bytes"]
            execution.watch.step(STEP, done, len(tasks), nbytes)
    small = beside_data(request, records)
    manifest = manifest_of(request, records, small)
    about = About(request.plan.spec.name, request.run, counts.total(), _reasons(request.plan.policy))
    documents = small | beside(about, manifest, request.sink.suffix) | {MANIFEST: encode(manifest)}
    cost = round(sum(r["cpu_seconds"] for r in records), 6)
    return place.publish(request.key, [name for task in tasks for name in task.names], documents, {"cpu_seconds": cost})


@contextmanager
def _planned(
    request: Request, verdicts: _Verdicts, counts: "_Counts", execution: Execution
) -> Iterator[Sequence[Rows]]:
    """The files of the export; a single empty one when nothing is kept."""
    if request.plan.order is None:
        found = _files(request, verdicts.parts(counts.add), execution)
        yield [CorpusOrder(request.store, file, request.shard_bytes) for file in found]
        return
    for _ in verdicts.parts(counts.add):
        pass
    with OrderedTexts(execution, verdicts.paths, request.columns, request.shard_bytes) as texts:
        ordered = texts.files(counts.total()["kept"])
        yield ordered or [CorpusOrder(request.store, File(0, ()), request.shard_bytes)]


def _files(request: Request, parts: Iterable[Part], execution: Execution) -> list[File]:
    placed = pieces(parts)
    positions = wide(placed, request.shard_bytes)
    looks = [FileNumbers(request.store, placed[p], request.shard_bytes) for p in positions]
    full = {positions[index]: numbers for index, numbers in _all(execution, looks)}
    return files(placed, request.shard_bytes, full) or [File(0, ())]


def _outcome(found: Found) -> dict[str, Any]:
    total = found.manifest["total"]
    return {
        "path": found.where,
        "documents": total["documents"],
        "bytes": total["text_bytes"],
        "files": total["files"],
        **({"tokens": total["tokens"]} if "tokens" in total else {}),
        **found.facts,
    }


class _Counts:
    """The verdicts' counts of all shards together."""

    def __init__(self) -> None:
        self._total: Counter[str] = Counter()
        self._reasons: dict[str, Counter[str]] = {}

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add those of one shard."""
        self._total.update({name: counts[name] for name in ("kept", "rejected", "quarantined")})
        for reason, numbers in counts["reasons"].items():
            self._reasons.setdefault(reason, Counter()).update(numbers)

    def total(self) -> dict[str, Any]:
        """The sums."""
        return {n: self._total[n] for n in ("kept", "rejected", "quarantined")} | {"reasons": self._reasons}


def _reasons(policy: BoundPolicy) -> list[tuple[str, str, str]]:
    """Every reason with its rule in words and its citation."""
    plain = [(r.reason, f"{r.column} {SYMBOLS[r.test]} {r.value}", r.cite) for r in policy.plain]
    chosen = [(c.reason, f"one of {c.cluster} by {c.by}", c.cite) for c in policy.one_of]
    return [*plain, *chosen]
