"""The policy of a run, executed: thresholds, then choices, then the verdict of every shard."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.among import KEEP, Among, Choice, Kept, PassesRules
from pipelines.commit import committed, seal
from pipelines.execute import Execution, failed
from pipelines.flow import Related
from pipelines.judging import SELECTED, Choosing, Judging, Verdict
from pipelines.passes import Address
from pipelines.plan import LEAVING, SELECT, Plan, Step
from pipelines.results import Result
from pipelines.shards import Shard, batches
from pipelines.store import Store
from pipelines.wiring import local_reads
from stages.base import CorpusStage
from stages.fingerprint import key
from stages.quantiles import Counts, Percentiles, merge
from stages.rules import Thresholds

VERDICT = "verdict"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a policy said of all documents."""

    counts: Mapping[str, Any]
    thresholds: Thresholds
    results: Mapping[str, Result]  # verdict sidecars by shard digest


@dataclass(frozen=True, slots=True)
class CountShard:
    """One shard's counts for one round of the search for percentiles."""

    store: Store
    shard: Shard
    state: Percentiles
    sidecars: Mapping[str, str]

    def __call__(self) -> Counts:
        """Counts of the round."""
        columns = list(self.state.columns)
        return merge(
            self.state.count(pa.Table.from_batches([b]))
            for b in batches(self.store, self.shard, columns, self.sidecars)
        )


def judge_run(execution: Execution, plan: Plan) -> Judgement:
    """Judge every document; what is committed is reused.

    Raises:
        SpecError: a percentile has too many groups.
        StorageError: a sidecar is missing.
    """
    read = (*plan.policy.columns, f"{LEAVING}.bytes")
    steps = [plan.step(n) for n in dict.fromkeys(c.rpartition(".")[0] for c in read if "." in c)]
    corpus = sorted({s.name for s in steps if not s.is_row}.union(*(s.corpus for s in steps)))
    inputs = execution.inputs(corpus)
    bad = {s.digest: tuple(execution.results.quarantined(s.digest)) for s in execution.shards}
    if any(bad.values()):
        inputs = key([inputs, {d: list(rows) for d, rows in bad.items() if rows}])
    thresholds = _thresholds(execution, plan, inputs)

    sizes = [f"{c.cluster.rpartition('.')[0]}.cluster_size" for c in plan.policy.one_of]
    columns = [*plan.policy.columns, f"{LEAVING}.bytes", *(s for s in sizes if s in plan.fields())]
    paths = {s.digest: execution.results.sidecars(s, columns) for s in execution.shards}
    choices = len(plan.policy.one_of)
    for i in range(choices):
        name = f"choice-{i}"
        choosing = Choosing(plan.policy, thresholds, i, {d: rows for d, rows in bad.items() if rows})
        folder = f"steps/{name}-{plan.policy_key}"
        execution.relate(Related(name, folder, inputs, choosing, Choosing.schema, paths))
        for digest, result in execution.results.by_step.get(name, {}).items():
            paths[digest] = {**paths[digest], f"{name}.stays": result.path}
    if plan.select is not None:
        passing = PassesRules(plan.policy, thresholds, {d: rows for d, rows in bad.items() if rows})
        _choose(execution, plan.select, passing, inputs, paths)
        for digest, result in execution.results.by_step.get(SELECT, {}).items():
            paths[digest] = {**paths[digest], SELECTED: result.path}
    tasks = []
    for shard in execution.shards:
        made = tuple(paths[shard.digest][f"choice-{i}.stays"] for i in range(choices))
        task = Judging(
            plan.policy, thresholds, paths[shard.digest], bad[shard.digest], made, selected=plan.select is not None
        )
        name = _name(execution, plan, shard, corpus, thresholds, bad[shard.digest])
        tasks.append(Verdict(execution.store, shard, task, Address(plan.verdict_folder, name)))
    return Judgement(_judge_shards(execution, tasks), thresholds, execution.results.by_step.get(VERDICT, {}))


def order_run(execution: Execution, plan: Plan) -> None:
    """Give every kept document its position, where the spec orders them."""
    if plan.order is None:
        return
    paths = {s.digest: execution.results.sidecars(s, [KEEP]) for s in execution.shards}
    _choose(execution, plan.order, Kept(), execution.inputs([VERDICT]), paths)


def _choose(
    execution: Execution, step: Step, choice: Choice, inputs: str, paths: Mapping[str, Mapping[str, str]]
) -> None:
    """Run the step of `select` or `order` over the documents of a choice; `paths` are the columns that it goes by."""
    stage = step.stage
    assert isinstance(stage, CorpusStage)
    names = dict(zip(local_reads(stage), step.reads, strict=True))
    sidecars = {s.digest: {**paths[s.digest], **execution.results.sidecars(s, step.reads)} for s in execution.shards}
    whole = key([inputs, execution.inputs(step.corpus)])
    program = Among(stage, choice)
    execution.relate(Related(step.name, step.folder, whole, program, stage.schema(), sidecars, names))


def _name(
    execution: Execution, plan: Plan, shard: Shard, corpus: list[str], thresholds: Thresholds, bad: tuple[int, ...]
) -> str:
    """A verdict's name: the shard, and whatever else it depends on."""
    choices = [f"choice-{i}" for i in range(len(plan.policy.one_of))]
    selection = [SELECT] if plan.select is not None else []
    other = [execution.results.digest(n, shard.digest) for n in (*corpus, *choices, *selection)]
    if not other and not thresholds and not bad:
        return shard.digest
    return f"{shard.digest}.{key([other, dict(thresholds), list(bad)])}"


def _judge_shards(execution: Execution, tasks: list[Verdict]) -> dict[str, Any]:
    counts: list[Mapping[str, Any]] = []
    total = len(tasks)
    missing = []
    for task in tasks:
        record = committed(execution.store, task.address.folder, task.address.name)
        if record is None:
            missing.append(task)
        else:
            _note(execution, task, record, counts, cached=True)
    nbytes = sum(t.shard.bytes for t in tasks) - sum(t.shard.bytes for t in missing)
    execution.watch.step(VERDICT, total - len(missing), total, nbytes)
    for outcome in execution.each(missing):
        task = missing[outcome.index]
        if outcome.failure is not None:
            raise failed("the verdict", outcome, task.shard)
        _note(execution, task, outcome.value, counts, cached=False)
        nbytes += task.shard.bytes
        execution.watch.step(VERDICT, len(counts), total, nbytes)
    return merged(counts)


def _note(
    execution: Execution, task: Verdict, record: Mapping[str, Any], counts: list[Mapping[str, Any]], *, cached: bool
) -> None:
    execution.results.add(VERDICT, task.shard.digest, Result.of(record, cached=cached))
    counts.append(record["counts"])


def merged(counts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The counts of several shards together."""
    total: dict[str, Any] = dict.fromkeys(("kept", "rejected", "quarantined", "kept_bytes", "rejected_bytes"), 0)
    reasons: dict[str, dict[str, int]] = {}
    for part in counts:
        for name in total:
            total[name] += part[name]
        for reason, numbers in part["reasons"].items():
            mine = reasons.setdefault(reason, dict.fromkeys(numbers, 0))
            for name, number in numbers.items():
                mine[name] += number
    return {**total, "reasons": reasons}


def _thresholds(execution: Execution, plan: Plan, inputs: str) -> Thresholds:
    """The resolved percentiles by reason: those that were sealed for these inputs, or found in rounds."""
    requests = plan.policy.requests
    if not requests:
        return {}
    path = f"{plan.policy_folder}/manifests/thresholds-{inputs}.json"
    known = execution.store.find_json(path)
    if known is None:
        state = Percentiles.start(requests, plan.fields())
        while not state.done:
            columns = [c for c in state.columns if "." in c]
            tasks = [
                CountShard(execution.store, s, state, execution.results.sidecars(s, columns)) for s in execution.shards
            ]
            counts: Counts = {}
            for outcome in execution.each(tasks):
                if outcome.failure is not None:
                    raise failed("the percentiles", outcome, tasks[outcome.index].shard)
                counts = merge((counts, outcome.value))
            state = state.refine(counts)
        found = state.thresholds()
        values = {r.reason: found[r.request] for r in plan.policy.plain if r.request is not None}
        known = seal(execution.store, plan.policy_folder, f"thresholds-{inputs}", {"thresholds": values})
    result: Thresholds = known["thresholds"]
    return result
