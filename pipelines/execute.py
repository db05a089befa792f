"""Executing the phases of a plan over shards: what is committed is reused, what is missing is computed and sealed."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pipelines.commit import committed, intact, record_path, seal
from pipelines.engine import Engine, Outcome, Task
from pipelines.flow import Related, Round, Settle, StoreFlow
from pipelines.passes import Address, RowPass
from pipelines.plan import Phase, Step
from pipelines.poison import IsolatedPass
from pipelines.progress import Watch
from pipelines.results import Result, Results
from pipelines.shards import Shard
from pipelines.spec import Limits
from pipelines.store import Store
from pipelines.wiring import local_reads
from stages.base import CorpusStage
from stages.errors import StageError, StorageError, TamisError
from stages.fingerprint import key

#: Failures of a pass that may be the fault of single documents.
ISOLATED = ("crash", "oom", "timeout")


class Execution:
    """The state of one run's work: a store, its shards, and what is known of every step."""

    def __init__(
        self, store: Store, shards: Sequence[Shard], limits: Limits, engine: Callable[[], Engine], watch: Watch
    ) -> None:
        self.store = store
        self.shards = tuple(shards)
        self.limits = limits
        self.watch = watch
        self.results = Results()
        self.shard_set = key(sorted(s.digest for s in shards))
        self._engine = engine

    def phase(self, phase: Phase) -> None:
        """Compute what is missing of one phase.

        Raises:
            StageError: a step failed, or broke on more documents than `max_quarantine` allows.

        """
        if phase.is_row:
            self._row_phase(phase.steps)
        else:
            self._corpus_step(phase.steps[0])
        for step in phase.steps:
            self._check_quarantine(step)

    def probe(self, step: Step) -> int:
        """For how many shards the step's results are there already; takes them over and computes nothing."""
        if any(d not in self.results.by_step.get(c, {}) for c in step.corpus for d in (s.digest for s in self.shards)):
            return 0
        if not self._adopt(step) and step.is_row:
            for shard in self.shards:
                self._find(step, shard)
        return len(self.results.by_step.get(step.name, {}))

    # -- row steps ------------------------------------------------------------------------------------------------

    def address(self, step: Step, shard: Shard) -> Address:
        """Where a row step's result for a shard is: named by the shard and by the corpus columns behind it."""
        if not step.corpus:
            return Address(step.folder, shard.digest)
        return Address(
            step.folder, f"{shard.digest}.{key([self.results.digest(c, shard.digest) for c in step.corpus])}"
        )

    def inputs(self, corpus: Sequence[str]) -> str:
        """A key of the shards and of the results of the corpus steps for them."""
        if not corpus:
            return self.shard_set
        digests = sorted(s.digest for s in self.shards)
        return key([self.shard_set, [[self.results.digest(c, d) for d in digests] for c in corpus]])

    def _row_phase(self, steps: Sequence[Step]) -> None:
        open_steps = [s for s in steps if not self._adopt(s)]
        passes = []
        for shard in self.shards:
            lacking = [s for s in open_steps if not self._find(s, shard)]
            if lacking:
                passes.append(self._row_pass(shard, lacking))
        self._run_passes(" + ".join(s.name for s in steps), passes)
        for step in open_steps:
            self._seal(step.name, step.folder, self.inputs(step.corpus))

    def _adopt(self, step: Step) -> bool:
        """Take over a sealed manifest, if there is one for these inputs."""
        return self._take_over(step.name, step.folder, self.inputs(step.corpus))

    def _find(self, step: Step, shard: Shard) -> bool:
        """Take over a commit record, if there is one."""
        address = self.address(step, shard)
        record = committed(self.store, address.folder, address.name)
        if record is not None:
            self.results.add(step.name, shard.digest, Result.of(record, cached=True))
        return record is not None

    def _row_pass(self, shard: Shard, steps: Sequence[Step]) -> RowPass:
        made = {c for s in steps for c in s.columns()}
        read = {c for s in steps for c in s.reads if c not in made}
        addresses = {s.name: self.address(s, shard) for s in steps}
        return RowPass(self.store, shard, tuple(steps), addresses, self.results.sidecars(shard, read))

    def _run_passes(self, name: str, passes: Sequence[RowPass]) -> None:
        done = sum(s.bytes for s in self.shards) - sum(p.shard.bytes for p in passes)
        finished = len(self.shards) - len(passes)
        self.watch.step(name, finished, len(self.shards), done)
        again: list[RowPass] = []
        for outcome in self.each(passes, self.limits.max_shard_seconds):
            task = passes[outcome.index]
            if outcome.failure is not None:
                if not _may_be_poison(outcome):
                    raise failed(f"steps {name}", outcome, task.shard)
                self.watch.say(
                    f"shard {task.shard.digest}: {outcome.failure.message}; looking for the document at fault"
                )
                again.append(task)
                continue
            self._note(task, outcome.value)
            finished, done = finished + 1, done + task.shard.bytes
            self.watch.step(name, finished, len(self.shards), done)
        isolated = [IsolatedPass(task, self.limits) for task in again]
        for outcome in self.each(isolated):
            task = again[outcome.index]
            if outcome.failure is not None:
                raise failed(f"steps {name}", outcome, task.shard)
            self._note(task, outcome.value)
            finished, done = finished + 1, done + task.shard.bytes
            self.watch.step(name, finished, len(self.shards), done)

    def _note(self, task: RowPass, records: Mapping[str, Any]) -> None:
        for step, record in records.items():
            self.results.add(step, task.shard.digest, Result.of(record, cached=False))

    # -- corpus steps ---------------------------------------------------------------------------------------------

    def _corpus_step(self, step: Step) -> None:
        stage = step.stage
        assert isinstance(stage, CorpusStage)
        names = dict(zip(local_reads(stage), step.reads, strict=True))
        sidecars = {s.digest: self.results.sidecars(s, step.reads) for s in self.shards}
        self.relate(Related(step.name, step.folder, self.inputs(step.corpus), stage, stage.schema(), sidecars, names))

    def relate(self, work: Related) -> None:
        """Relate all documents; the results are sidecars named by the shard and by `inputs`, a key of all inputs."""
        if not self.shards or self._take_over(work.name, work.folder, work.inputs):
            return
        try:
            self._flow(work)
        except StorageError:
            # A second driver of the same run may have finished, and swept the files that this one was reading.
            if not self._take_over(work.name, work.folder, work.inputs):
                raise

    def _take_over(self, name: str, folder: str, inputs: str) -> bool:
        """Take over the sealed results of a corpus step, if they are there."""
        found = self._read_seal(folder, inputs)
        if found is None:
            return False
        for digest, value in found["shards"].items():
            self.results.add(name, digest, Result.from_json(value))
        self.results.notes[name] = found.get("notes", {})
        return True

    def _flow(self, work: Related) -> None:
        flow = self.flow(work)
        work.program.program(flow)
        for shard, record, cached in flow.results:
            self.results.add(work.name, shard.digest, Result.of(record, cached=cached))
        self.results.notes[work.name] = {"counts": flow.counts, **flow.costs}
        self._seal(work.name, work.folder, work.inputs)
        self.sweep(flow.addresses)

    def flow(self, work: Related) -> StoreFlow:
        """A program's flow, whose rounds run on the engine and are watched."""
        count = _Count(self.watch, work.name)

        def committed_rounds(label: str, tasks: Sequence[Any]) -> Iterator[tuple[Any, Mapping[str, Any], bool]]:
            count.more(f"{work.name}: {label}", len(tasks))
            for found in self._all(work.name, tasks):
                count.one()
                yield found

        return StoreFlow(self.store, self.shards, work, committed_rounds)

    def _all(self, name: str, tasks: Sequence[Any]) -> Iterator[tuple[Any, Any, bool]]:
        """Every task with its commit record and whether it was there already."""
        waiting = []
        for task in tasks:
            record = self._found(task)
            if record is None:
                waiting.append(task)
            else:
                yield task, record, True
        for outcome in self.each(waiting):
            task = waiting[outcome.index]
            if outcome.failure is not None:
                raise failed(f"step {name!r}", outcome, getattr(task, "shard", None))
            yield task, outcome.value, False

    def _found(self, task: Round | Settle) -> Mapping[str, Any] | None:
        """The commit record of a task; what was not written durably is trusted only if it is as it was written."""
        address = task.address
        if task.durable:
            return committed(self.store, address.folder, address.name)
        try:
            record = committed(self.store, address.folder, address.name)
            if record is None or intact(self.store, record):
                return record
        except StorageError:
            self.watch.say(f"{address.folder}/{address.name} was damaged; computing it again")
        self.store.delete(record_path(address.folder, address.name))
        return None

    def sweep(self, addresses: Iterable[Address]) -> None:
        """Delete the shuffle's files; the sealed manifest no longer needs them."""
        for address in addresses:
            record = committed(self.store, address.folder, address.name)
            for file in record["files"] if record else []:
                self.store.delete(file["path"])
            self.store.delete(record_path(address.folder, address.name))

    # -- manifests and engines ------------------------------------------------------------------------------------

    def each(self, tasks: Sequence[Task], seconds: float | None = None) -> Iterator[Outcome]:
        """Outcomes of the tasks; no engine is started for none."""
        if tasks:
            yield from self._engine().each(tasks, seconds=seconds)

    def _read_seal(self, folder: str, name: str) -> Mapping[str, Any] | None:
        found: Mapping[str, Any] | None = self.store.find_json(f"{folder}/manifests/{name}.json")
        return found

    def _seal(self, name: str, folder: str, inputs: str) -> None:
        found = self.results.by_step.get(name, {})
        notes = self.results.notes.get(name)
        more = {"notes": notes} if notes else {}
        seal(self.store, folder, inputs, {"shards": {d: r.json() for d, r in sorted(found.items())}, **more})

    def _check_quarantine(self, step: Step) -> None:
        total = self.results.total(step, self.shards)
        allowed = self.limits.max_quarantine * total["documents_in"]
        if total["quarantined"] > max(allowed, 1 if self.limits.max_quarantine else 0):
            raise StageError(
                f"step {step.name!r} breaks on {total['quarantined']} of {total['documents_in']} documents, more than "
                f"max_quarantine ({self.limits.max_quarantine:g}) allows; mend the stage or raise max_quarantine",
                step=step.name,
                quarantined=total["quarantined"],
            )


class _Count:
    """How many tasks of a program's rounds are done."""

    def __init__(self, watch: Watch, name: str) -> None:
        self._watch, self._name = watch, name
        self._done = self._total = 0

    def more(self, name: str, tasks: int) -> None:
        """The next round."""
        self._name = name
        self._done, self._total = 0, tasks
        self._watch.step(name, 0, tasks)

    def one(self) -> None:
        """One more."""
        self._done += 1
        self._watch.step(self._name, self._done, self._total, 0)


def _may_be_poison(outcome: Outcome) -> bool:
    """Whether single documents may be at fault: the process died, or a kernel raised."""
    failure = outcome.failure
    assert failure is not None
    return failure.reason in ISOLATED or failure.error is None or type(failure.error) is StageError


def failed(what: str, outcome: Outcome, shard: Shard | None) -> TamisError:
    """The error that a failed task becomes: its own, or one that names the work and the shard."""
    failure = outcome.failure
    assert failure is not None
    if failure.error is not None:
        return failure.error
    place = f" on shard {shard.digest}" if shard else ""
    return StageError(f"{what} failed{place}: {failure.message}", shard=shard.digest if shard else None)
