"""Running a spec: freeze the inputs, ingest, measure, judge, export, account. Every part resumes where it stopped.

The driver holds no state that matters: what is committed in the store is done, and a second driver that runs the
same spec finds it. Nothing is computed twice once it is committed.
"""

import resource
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine import Engine, open_engine
from pipelines.execute import Execution, failed
from pipelines.export import export_run
from pipelines.gather import run_packs
from pipelines.ingest import IngestPack
from pipelines.inputs import freeze, packs
from pipelines.judge_run import judge_run, order_run
from pipelines.ledger import check_drop, ledger_of
from pipelines.plan import Plan, plan
from pipelines.progress import NullWatch, Watch
from pipelines.runs import FINISHED, Events, RunFolder, open_run
from pipelines.shards import Shard, batches
from pipelines.spec import Spec
from pipelines.store import Store
from pipelines.token_counts import tokens_exported
from stages.base import CorpusStage, RowStage
from stages.errors import DataError


@dataclass(frozen=True, slots=True)
class Options:
    """Where and how a run is executed; changes no byte of the result."""

    engine: str = "auto"
    workers: int | None = None
    address: str | None = None
    roots: tuple[str, ...] | None = None
    accept_changed_inputs: bool = False
    people: bool = False  # somebody labels what is put up in the store, so that a labelling by a person may wait


@dataclass(slots=True)
class Running:
    """A run in progress."""

    store: Store
    plan: Plan
    folder: RunFolder
    files: pa.Table
    options: Options
    watch: Watch
    stack: ExitStack
    events: Events
    ingested: list[dict[str, Any]] = field(default_factory=list)
    _engine: Engine | None = None

    def engine(self) -> Engine:
        """The engine, started when the first work needs it."""
        if self._engine is None:
            nbytes = pc.sum(self.files["size"]).as_py() or 0
            self.watch.say(f"starting the {self.options.engine} engine")
            self._engine = open_engine(self.options.engine, self.options.workers, self.options.address, nbytes)
            self.stack.callback(self._engine.close)
            warm_up(self._engine, self.plan, self.watch)
        return self._engine


def run(
    spec: Spec,
    store: Store,
    options: Options | None = None,
    watch: Watch | None = None,
    opened: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Run a spec to its end and give `{"run", "export", "total"}`; a finished run is found and given at once.

    `opened` is told the run's id as soon as it is known. Where the spec has a section `ablate:`, its arms are trained too, and `ablations` names what came of it.

    Raises:
        SpecError: the spec is wrong.
        DataError: an input is missing, changed or unreadable.
        StageError: a stage failed, or broke on more documents than allowed.
        StorageError: the store cannot be read or written.
    """
    options, watch = options or Options(), watch or NullWatch()
    done = _curated(spec, store, options, watch, opened)
    if spec.ablate:
        from pipelines.ablation.section import run_ablations  # noqa: PLC0415 - training loads what it uses

        done["ablations"] = run_ablations(spec, store, done["run"], options, watch)
    return done


def _curated(
    spec: Spec, store: Store, options: Options, watch: Watch, opened: Callable[[str], None] | None
) -> dict[str, Any]:
    """The run itself."""
    if spec.learn:
        from pipelines.learning.section import run_learners  # noqa: PLC0415 - it runs steps itself

        run_learners(spec.learn, store, options, watch)
    if spec.label:
        from pipelines.labelling.section import run_labels  # noqa: PLC0415 - it runs steps itself

        run_labels(spec, store, options, watch)
    made = plan(spec, files=store)
    files = freeze_all(spec, options.roots)
    folder = open_run(store, made, files, accept_changed_inputs=options.accept_changed_inputs)
    if opened is not None:
        opened(folder.run)
    if folder.finished and _export_is_there(folder):
        return outcome(folder)
    folder.put("plan.json", made.json())
    with ExitStack() as stack:
        events = Events(folder)
        running = Running(store, made, folder, files, options, _Told(watch, events), stack, events)
        return _complete(running)


def _complete(running: Running) -> dict[str, Any]:
    began, made, store = time.perf_counter(), running.plan, running.store
    shards = ingest(running)
    execution = Execution(store, shards, made.spec.limits, running.engine, running.watch)
    for phase in made.phases:
        execution.phase(phase)
    judged = judge_run(execution, made)
    check_drop(judged.counts, made.spec.limits)
    order_run(execution, made)
    exported = export_run(running.folder, made, execution) | {"tokens": tokens_exported(execution, made)}
    bad = quarantined(execution)
    result = {
        "run": running.folder.run,
        "export": exported["path"],
        "thresholds": judged.thresholds,
        "quarantined": bad,
        "malformed": [r["malformed"] for r in running.ingested if r["malformed"]["count"]],
    }
    _put_shards(running.folder, shards, execution)
    ledger = ledger_of(made, running.ingested, execution, judged, exported)
    ledger["total"]["seconds"] = round(time.perf_counter() - began, 3)
    ledger["total"]["peak_memory_bytes"] = max(
        ledger["total"]["peak_memory_bytes"], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    running.folder.put("result.json", result)
    _write_report(running, ledger)
    running.folder.put("ledger.json", ledger)
    running.events.tell({"state": "finished"}, now=True)
    return outcome(running.folder)


def outcome(folder: RunFolder) -> dict[str, Any]:
    """What a finished run came to: its id, where the export is, and the totals."""
    return {
        "run": folder.run,
        "export": folder.find("result.json")["export"],
        "total": folder.find(FINISHED)["total"],
    }


def _export_is_there(folder: RunFolder) -> bool:
    """Whether the export of a finished run was left where it was."""
    path = str(folder.find("result.json")["export"])
    return folder.store.find(path.removeprefix(folder.store.url).strip("/") + "/manifest.json") is not None


def _write_report(running: Running, ledger: Mapping[str, Any]) -> None:
    from pipelines.report import write  # noqa: PLC0415 - templates are needed at the end only
    from pipelines.view import RunView  # noqa: PLC0415 - a view needs a finished run

    running.watch.say("writing the report")
    write(RunView.of(running.folder, running.plan, ledger))


def freeze_all(spec: Spec, roots: Sequence[str] | None) -> pa.Table:
    """The input files of every source, by source and path.

    Raises:
        DataError: a source matches no file, or one cannot be read.
    """
    tables = [freeze(name, source, roots) for name, source in sorted(spec.sources.items())]
    return pa.concat_tables(tables)


def pack_tasks(store: Store, made: Plan, files: pa.Table) -> list[IngestPack]:
    """One ingest task for each pack of files."""
    tasks = []
    for name, source in sorted(made.spec.sources.items()):
        own = files.filter(pc.equal(files["source"], name))
        tasks += [
            IngestPack(store, name, source, made.source_folder(name), p.name, p.files(own))
            for p in packs(own, source.shard_bytes)
        ]
    return tasks


def ingest(running: Running) -> list[Shard]:
    """The document shards of the run, in the order of the packs.

    Raises:
        DataError: a file changed since it was frozen, or too much of it is malformed.
    """
    tasks = pack_tasks(running.store, running.plan, running.files)
    records = run_packs(running.store, tasks, running.engine, running.watch)
    running.ingested = [r | {"source": t.source_name} for r, t in zip(records, tasks, strict=True)]
    _check_malformed(running)
    return [Shard.from_json(s) for r in running.ingested for s in r["shards"]]


def _check_malformed(running: Running) -> None:
    for name, source in running.plan.spec.sources.items():
        count = sum(r["malformed"]["count"] for r in running.ingested if r["source"] == name)
        if source.max_malformed is not None and count > source.max_malformed:
            raise DataError(
                f"source {name!r} has {count} malformed records, more than max_malformed ({source.max_malformed}) "
                "allows; look at them with `tamis run` without the limit, or raise it",
                source=name,
                malformed=count,
            )


def quarantined(execution: Execution) -> list[dict[str, Any]]:
    """Every document that broke a step, with the first step that it broke and where the document came from."""
    found = []
    for shard in execution.shards:
        rows = execution.results.quarantined(shard.digest)
        if not rows:
            continue
        places = _places(execution.store, shard, sorted(rows))
        found += [
            {
                "source": shard.source,
                **places[row],
                **{k: entry[k] for k in ("doc_id", "id", "step", "reason", "message")},
            }
            for row, entry in sorted(rows.items())
        ]
    return found


def _places(store: Store, shard: Shard, rows: list[int]) -> dict[int, dict[str, Any]]:
    table = pa.Table.from_batches(list(batches(store, shard, ["path", "ordinal"], {}))).take(rows)
    return dict(zip(rows, table.to_pylist(), strict=True))


def _put_shards(folder: RunFolder, shards: Sequence[Shard], execution: Execution) -> None:
    by_step = execution.results.by_step
    folder.put(
        "shards.json",
        {"shards": [{**s.json(), "sidecars": {n: r[s.digest].path for n, r in by_step.items()}} for s in shards]},
    )


@dataclass(frozen=True, slots=True)
class WarmUp:
    """Compiles the kernels of stages, so that they are in numba's cache.

    A stage that reads text alone is opened, which may load its model, and measures one small batch.
    """

    stages: tuple[RowStage | CorpusStage, ...]

    def __call__(self) -> None:
        """Compile."""
        from stages.kernels.cache import mark_ready  # noqa: PLC0415 - only where something may need compiling
        from stages.kernels.warm import compile_kinds  # noqa: PLC0415 - the same

        for stage in self.stages:
            if isinstance(stage, RowStage) and _reads_text(stage):
                columns = {name: pa.array(["The cat, i.e. “猫”, sat on 3 mats.\n"]) for name in stage.reads()}
                stage.open()(pa.RecordBatch.from_pydict(columns))
                mark_ready(stage.kind)
            else:
                compile_kinds((stage.kind,))


def warm_up(engine: Engine, made: Plan, watch: Watch) -> None:
    """Compile the kernels of the plan's stages once on this machine, several at a time, before work fans out.

    Raises:
        StageError: a stage cannot be opened.
    """
    from stages.kernels.cache import is_ready  # noqa: PLC0415 - only where something may need compiling
    from stages.kernels.warm import KINDS, families  # noqa: PLC0415 - the same

    every = {s.stage.kind: s.stage for s in made.steps}
    own = {k: s for k, s in every.items() if k in KINDS or (isinstance(s, RowStage) and _reads_text(s))}
    waiting = families([kind for kind in own if not is_ready(kind)])
    done, total = 0, sum(map(len, waiting))
    if waiting:
        watch.step("compile", done, total)
    for outcome in engine.each([WarmUp(tuple(own[kind] for kind in family)) for family in waiting]):
        kinds = waiting[outcome.index]
        if outcome.failure is not None:
            raise failed(f"opening stages of kind {', '.join(kinds)}", outcome, None)
        done += len(kinds)
        watch.step("compile", done, total)


def _reads_text(stage: RowStage) -> bool:
    """Whether the stage reads strings only, so that it can be tried."""
    return all(c.rpartition(".")[2] in ("text", "url") for c in stage.reads())


class _Told:
    """Passes progress on, and notes it in the run's events."""

    def __init__(self, watch: Watch, events: Events) -> None:
        self._watch, self._events = watch, events

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        self._watch.step(name, done, total, nbytes)
        state = {"state": "running", "step": name, "done": done, "total": total, "bytes": nbytes}
        self._events.tell(state, now=done in (0, total))

    def say(self, sentence: str) -> None:
        self._watch.say(sentence)
