"""Writing the kept documents of a run, in final order, as files that appear whole.

The bytes of the data files depend on the documents and the spec alone: not on input shards, workers or engine, and
not on the run's id, which stands in `manifest.json` only. Everything rejected gives one valid file without documents.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from pipelines.commit import committed
from pipelines.dataset_card import About, beside
from pipelines.engine import Engine, open_engine
from pipelines.export_file import COLUMNS, COUNTED, MAX_COUNTED, WriteExportFile
from pipelines.export_places import MANIFEST, Found, InBucket, InFolder, InStore, Place, Target
from pipelines.export_plan import KEEP, SIZE, File, FileNumbers, Part, files, pieces, wide
from pipelines.plan import Plan
from pipelines.progress import NullWatch, Watch
from pipelines.results import Results
from pipelines.runs import RunFolder
from pipelines.shards import Shard
from pipelines.store import Store, encode
from pipelines.view import RunView
from stages.base import Sink
from stages.catalog import parse
from stages.errors import SpecError, StageError, StorageError
from stages.fingerprint import key
from stages.rules import SYMBOLS, BoundPolicy

FORMAT = 1
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


@dataclass(frozen=True, slots=True)
class Request:
    """What to export: the run's plan, how files are written, and how much text goes into one."""

    store: Store
    run: str
    plan: Plan
    sink: Sink
    shard_bytes: int

    @property
    def key(self) -> str:
        """The same for the same run, format and cut."""
        identity = {"format": FORMAT, "run": self.run, "sink": self.sink.identity(), "shard_bytes": self.shard_bytes}
        return key(identity)


def export_run(
    folder: RunFolder,
    plan: Plan,
    shards: Sequence[Shard],
    results: Results,
    engine: Callable[[], Engine],
    watch: Watch,
) -> dict[str, Any]:
    """Export a run into its store: `exports/{name}/v{n}`, the same `v{n}` however often it is asked for.

    Returns:
        path (absolute, or a URL), documents, bytes (of text), files, and cpu_seconds where known.

    Raises:
        StorageError: the store cannot be read or written.
        StageError: a worker was lost repeatedly.
    """
    request = Request(folder.store, folder.run, plan, plan.spec.sink, plan.spec.write.shard_bytes)
    note = folder.path(f"export-{plan.spec.sink.kind}.json")
    place = (InStore if folder.store.is_local else InBucket)(folder.store, plan.spec.name, note)
    paths = {s.digest: _sidecars(plan, results, s) for s in shards}
    return export(request, _Verdicts(folder.store, shards, paths), place, engine, watch)


def export_to(
    view: RunView,
    format: str,  # noqa: A002 - the command's own word
    out: Path,
    options: Options,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Export a finished run into a folder outside the store; what `export_run` gives.

    Raises:
        SpecError: the format is unknown, or the folder holds something else or is inside the store.
        StorageError: the folder cannot be written.
    """
    if view.store.is_local and out.expanduser().resolve().is_relative_to(Path(view.store.url).resolve()):
        raise SpecError(f"the folder {str(out)!r} is inside the store; give --out a folder outside of it", out=str(out))
    same = format == view.spec.sink.kind
    sink = view.spec.sink if same else cast("Sink", parse({"kind": format}, "sink", "--format"))
    request = Request(view.store, view.run, view.plan, sink, view.spec.write.shard_bytes)
    measured = [view.text] if "." in view.text else []
    listed = view.store.get_json(f"runs/{view.run}/shards.json")["shards"]
    paths = {s["digest"]: {c: s["sidecars"][c.rpartition(".")[0]] for c in (*measured, KEEP, SIZE)} for s in listed}
    opened: list[Engine] = []

    def engine() -> Engine:
        if not opened:
            nbytes = view.ledger["total"]["bytes_exported"]
            opened.append(open_engine(options.engine, options.workers, options.address, nbytes))
        return opened[0]

    try:
        place = InFolder(out.expanduser().resolve())
        return export(request, _Verdicts(view.store, view.shards, paths), place, engine, watch or NullWatch())
    finally:
        for started in opened:
            started.close()


def _sidecars(plan: Plan, results: Results, shard: Shard) -> dict[str, str]:
    measured = [plan.text] if "." in plan.text else []
    return results.sidecars(shard, [*measured, KEEP, SIZE])


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


def export(
    request: Request, verdicts: _Verdicts, place: Place, engine: Callable[[], Engine], watch: Watch
) -> dict[str, Any]:
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
                found = _write(request, verdicts, place, target, _Work(engine, watch))
    return _outcome(found)


@dataclass(frozen=True, slots=True)
class _Work:
    """Runs tasks and tells how far they are."""

    engine: Callable[[], Engine]
    watch: Watch

    def all(self, tasks: Sequence[Callable[[], Any]]) -> Iterator[tuple[int, Any]]:
        """The position and the value of every task, as they come."""
        if not tasks:
            return
        for outcome in self.engine().each(tasks):
            if outcome.failure is not None:
                if outcome.failure.error is not None:
                    raise outcome.failure.error
                message = f"the export failed: {outcome.failure.message}; run it again, finished files are kept"
                raise StageError(message, step=STEP)
            yield outcome.index, outcome.value


def _write(request: Request, verdicts: _Verdicts, place: Place, target: Target, work: _Work) -> Found:
    counts = _Counts()
    planned = _files(request, verdicts.parts(counts.add), work)
    tasks = [
        WriteExportFile(
            store=request.store,
            target=target,
            sink=request.sink,
            name=f"part-{number:05d}{request.sink.suffix}",
            file=file,
            shard_bytes=request.shard_bytes,
            text=request.plan.text,
        )
        for number, file in enumerate(planned)
    ]
    records: list[dict[str, Any]] = [{}] * len(tasks)
    done = nbytes = 0
    work.watch.step(STEP, 0, len(tasks), 0)
    for index, record in work.all(tasks):
        records[index] = record
        done, nbytes = done + 1, nbytes + record["text_bytes"]
        work.watch.step(STEP, done, len(tasks), nbytes)
    manifest = _manifest(request, records)
    about = About(request.plan.spec.name, request.run, counts.total(), _reasons(request.plan.policy))
    documents = beside(about, manifest, request.sink.suffix) | {MANIFEST: encode(manifest)}
    cost = round(sum(r["cpu_seconds"] for r in records), 6)
    return place.publish(request.key, [t.name for t in tasks], documents, {"cpu_seconds": cost})


def _files(request: Request, parts: Iterable[Part], work: _Work) -> list[File]:
    """The files of the export; a single empty one when nothing is kept."""
    placed = pieces(parts)
    positions = wide(placed, request.shard_bytes)
    looks = [FileNumbers(request.store, placed[p], request.shard_bytes) for p in positions]
    full = {positions[index]: numbers for index, numbers in work.all(looks)}
    return files(placed, request.shard_bytes, full) or [File(0, ())]


def _manifest(request: Request, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    listed = [{name: r[name] for name in ("name", "rows", "bytes", "text_bytes", "sha256")} for r in records]
    return {
        "format": FORMAT,
        "key": request.key,
        "name": request.plan.spec.name,
        "run": request.run,
        "kind": request.sink.kind,
        "schema": [{"name": field.name, "type": str(field.type)} for field in COLUMNS],
        "files": listed,
        "total": {
            "documents": sum(f["rows"] for f in listed),
            "text_bytes": sum(f["text_bytes"] for f in listed),
            "bytes": sum(f["bytes"] for f in listed),
            "files": len(listed),
        },
        "counts": {column: _together([r["counts"][column] for r in records]) for column in COUNTED},
    }


def _together(parts: Sequence[Mapping[str, int] | None]) -> dict[str, int] | None:
    """Documents by value over all files, most frequent first; None for a column of many values."""
    total: Counter[str] = Counter()
    for part in parts:
        if part is None:
            return None
        total.update(part)
    if len(total) > MAX_COUNTED:
        return None
    return dict(sorted(total.items(), key=lambda item: (-item[1], item[0])))


def _outcome(found: Found) -> dict[str, Any]:
    total = found.manifest["total"]
    return {
        "path": found.where,
        "documents": total["documents"],
        "bytes": total["text_bytes"],
        "files": total["files"],
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
