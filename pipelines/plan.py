"""Planning: from a spec to steps with keys. Pure; no input is opened and nothing is written.

A step's key is made of its stage's identity and the keys of the producers of the columns it reads, so renaming a
step, moving a corpus or adding workers changes no key, and changing a field changes the keys of what follows it only.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import Any

import pyarrow as pa

from pipelines.export_columns import Columns
from pipelines.rule_files import loader
from pipelines.spec import Spec
from pipelines.wiring import (
    Pinned,
    Stages,
    end_of_chain,
    local_reads,
    reads_of,
    resolved,
    with_companions,
    with_pinned,
    with_texts,
)
from stages.base import CorpusStage, Files, RowStage, Sink
from stages.catalog import did_you_mean
from stages.document import DOCUMENT
from stages.errors import SpecError
from stages.fingerprint import key
from stages.rules import BoundPolicy, RuleFile, bind
from stages.text.text_bytes import TextBytes
from stages.text.tokens import Tokens

FORMAT = 1
#: The step that measures the text that leaves, so that verdicts and exports are planned without reading text.
LEAVING = "leaving"
#: The steps of the sections of the same names.
SELECT, ORDER = "select", "order"


@dataclass(frozen=True, slots=True)
class Step:
    """One measurement of the plan.

    `reads` are full column names; `corpus` are the corpus steps that the result depends on, however indirectly;
    `companion_of` names the step that this one was inserted for.
    """

    name: str
    stage: RowStage | CorpusStage
    key: str
    reads: tuple[str, ...]
    parents: tuple[str, ...]
    corpus: tuple[str, ...] = ()
    companion_of: str | None = None

    @property
    def folder(self) -> str:
        """Where the step's results live in the store."""
        return f"steps/{self.name}-{self.key}"

    @property
    def is_row(self) -> bool:
        """Whether each document is measured on its own."""
        return isinstance(self.stage, RowStage)

    def columns(self) -> dict[str, pa.Field]:
        """The columns written, by full name."""
        return {f"{self.name}.{field.name}": field for field in self.stage.schema()}


@dataclass(frozen=True, slots=True)
class Phase:
    """Row steps that run in one pass over each shard, or one corpus step."""

    steps: tuple[Step, ...]

    @property
    def is_row(self) -> bool:
        """Whether this is a pass of row steps."""
        return self.steps[0].is_row


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that is decided before work begins."""

    spec: Spec
    source_keys: Mapping[str, str]
    steps: tuple[Step, ...]
    phases: tuple[Phase, ...]
    text: str
    policy: BoundPolicy
    policy_key: str  # of the rules and what they read
    verdict_key: str  # the same with the selection
    select: Step | None
    order: Step | None
    rule_files: Mapping[str, RuleFile]  # as they were read, by the name that the spec gives them

    @property
    def digest(self) -> str:
        """A key of the request and of everything that it names: rule files, models and stages as they are now."""
        keys = [[s.name, s.key] for s in self.steps]
        keys += [[s.name, s.key] for s in self.choosers]
        export = [self.text, self.spec.sink.identity(), self.spec.write.shard_bytes]
        return key([self.spec.raw, dict(self.source_keys), keys, self.verdict_key, export])

    @property
    def choosers(self) -> tuple[Step, ...]:
        """The steps of the sections `select` and `order`, which come after the rules."""
        return tuple(s for s in (self.select, self.order) if s is not None)

    def step(self, name: str) -> Step:
        """The step of that name."""
        return next(s for s in (*self.steps, *self.choosers) if s.name == name)

    def fields(self) -> dict[str, pa.Field]:
        """Every measured or declared column by full name."""
        found = {f.name: f for f in DOCUMENT}
        for step in (*self.steps, *self.choosers):
            found |= step.columns()
        return found

    def columns(self, sink: Sink) -> Columns:
        """What an export by that sink reads of a document.

        Raises:
            SpecError: the sink needs or names a column that there is not, or cannot write one.
        """
        return Columns.of(sink, self.fields(), {s.name: s.stage for s in self.steps}, self.text)

    @property
    def tokens(self) -> str | None:
        """The column that counts the tokens of the text that leaves: the one that `select` counts, or the only one.

        None where there is none, or several of which none is chosen.
        """
        found = [f"{s.name}.count" for s in self.steps if isinstance(s.stage, Tokens) and s.stage.text == self.text]
        counted = getattr(self.select.stage, "count", None) if self.select is not None else None
        if counted in found:
            return str(counted)
        return found[0] if len(found) == 1 else None

    def source_folder(self, name: str) -> str:
        """Where the document shards of a source live."""
        return f"steps/{name}-{self.source_keys[name]}"

    @property
    def policy_folder(self) -> str:
        """Where the resolved percentiles live."""
        return f"steps/verdict-{self.policy_key}"

    @property
    def verdict_folder(self) -> str:
        """Where the verdicts live."""
        return f"steps/verdict-{self.verdict_key}"

    def json(self) -> dict[str, Any]:
        """The plan as data, enough to see later what made a key differ."""
        return {
            "format": FORMAT,
            "name": self.spec.name,
            "text": self.text,
            "sources": {n: {"key": k, "identity": source_identity(n, self.spec)} for n, k in self.source_keys.items()},
            "steps": [
                {
                    "name": s.name,
                    "kind": s.stage.kind,
                    "role": "row" if s.is_row else "corpus",
                    "key": s.key,
                    "identity": s.stage.identity(),
                    **(
                        {"pinned": s.stage.model_dump(mode="json", include=set(s.stage.pinned))}
                        if s.stage.pinned
                        else {}
                    ),
                    "reads": list(s.reads),
                    "companion_of": s.companion_of,
                    "writes": [_field_json(f) for f in s.stage.schema()],
                }
                for s in (*self.steps, *self.choosers)
            ],
            "verdict": {"key": self.verdict_key, "policy": self.policy.identity()},
        }


def plan(
    spec: Spec,
    load: Callable[[str], RuleFile] | None = None,
    files: Files | None = None,
    pinned: Pinned | None = None,
) -> Plan:
    """The plan of a spec; `load` finds rule files elsewhere than in the package and beside the spec.

    `files` are those of the store where the run will be; without them, what is in a store has no content hash, unless
    `pinned` says what an earlier plan found there.

    Raises:
        SpecError: an unknown column, a cycle, a type mismatch, a fork without a choice, or a missing model.

    """
    known = resolved(with_texts(spec), files, pinned or {})
    stages, owners = with_companions(known)
    text = spec.write.text or end_of_chain(stages, "the export")
    stages[LEAVING] = TextBytes(text=text)
    owners[LEAVING] = "write"
    steps = _keyed(stages, owners)
    fields = {f.name: f for f in DOCUMENT}
    for step in steps:
        fields |= step.columns()
    rule_files = _Remembered(load or loader(spec.folder))
    policy = bind(spec.keep, fields, {s.name: s.stage for s in steps}, text, rule_files)
    policy_key = verdict_key = _policy_key(policy, steps)
    chosen = _Choosers(known, list(steps), files, pinned or {})
    select = chosen.step(SELECT, spec.select, policy_key)
    if select is not None:
        policy = replace(policy, selects=True)
        verdict_key = key([policy_key, select.key])
    order = chosen.step(ORDER, spec.order, verdict_key)
    made = Plan(
        spec=spec,
        source_keys={name: key(source_identity(name, spec)) for name in spec.sources},
        steps=steps,
        phases=tuple(_phases(steps)),
        text=text,
        policy=policy,
        policy_key=policy_key,
        verdict_key=verdict_key,
        select=select,
        order=order,
        rule_files=rule_files.found,
    )
    made.columns(spec.sink)
    return made


class _Choosers:
    """The steps of `select` and `order`: corpus stages over what the policy keeps."""

    def __init__(self, stages: Stages, steps: list[Step], files: Files | None, pinned: Pinned) -> None:
        self._stages, self._steps, self._files, self._pinned = stages, steps, files, pinned

    def step(self, section: str, given: CorpusStage | None, judged: str) -> Step | None:
        """The section's step, whose key holds that of what was judged before."""
        if given is None:
            return None
        stage = with_pinned(given.resolve(self._stages), self._pinned.get(section, {}))
        stage = stage.located(self._files) if self._files is not None else stage
        reads = local_reads(stage)
        known = {f.name: f for f in DOCUMENT} | {c: f for s in self._steps for c, f in s.columns().items()}
        for column in reads:
            if column not in known:
                raise SpecError(
                    f"`{section}` reads {column!r}, which no step writes{did_you_mean(column, list(known))}",
                    where=section,
                    column=column,
                )
        by_name = {s.name: s for s in self._steps}
        producers = {role: _producer(c, by_name) for role, c in _roles(section, stage, reads).items()}
        parents = tuple(dict.fromkeys(c.rpartition(".")[0] for c in reads if "." in c))
        step = Step(
            name=section,
            stage=stage,
            key=key({"identity": stage.identity(), "reads": producers, "judged": judged}),
            reads=reads,
            parents=parents,
            corpus=_corpus_behind(parents, by_name),
        )
        self._steps.append(step)
        return step


class _Remembered:
    """A loader of rule files that keeps what it found."""

    def __init__(self, load: Callable[[str], RuleFile]) -> None:
        self._load = load
        self.found: dict[str, RuleFile] = {}

    def __call__(self, name: str) -> RuleFile:
        self.found[name] = self._load(name)
        return self.found[name]


def source_identity(name: str, spec: Spec) -> dict[str, Any]:
    """What the document shards of a source depend on, apart from the files."""
    return {"source": name, **spec.sources[name].identity()}


def _keyed(stages: Stages, owners: Mapping[str, str]) -> tuple[Step, ...]:
    reads = {name: reads_of(name, stage) for name, stage in stages.items()}
    writes = {f"{n}.{f.name}": f for n, s in stages.items() for f in s.schema()}
    known = {f.name: f for f in DOCUMENT} | writes
    for name, columns in reads.items():
        for column in columns:
            if column not in known:
                raise SpecError(
                    f"step {name!r} reads {column!r}, which no step writes{did_you_mean(column, list(known))}",
                    step=name,
                    column=column,
                )
        text = getattr(stages[name], "text", None)
        if text in columns:
            _need_text(str(text), known, f"step {name!r}")
    parents = {n: tuple(dict.fromkeys(c.rpartition(".")[0] for c in cs if "." in c)) for n, cs in reads.items()}
    try:
        order = list(TopologicalSorter(parents).static_order())
    except CycleError as error:
        raise SpecError(f"the steps read each other in a circle: {' -> '.join(error.args[1])}; break it") from error
    steps: dict[str, Step] = {}
    for name in order:
        stage = stages[name]
        identity = stage.identity()
        producers = {role: _producer(column, steps) for role, column in _roles(name, stage, reads[name]).items()}
        steps[name] = Step(
            name=name,
            stage=stage,
            key=key({"identity": identity, "reads": producers}),
            reads=reads[name],
            parents=parents[name],
            corpus=_corpus_behind(parents[name], steps),
            companion_of=owners.get(name),
        )
    return tuple(steps[n] for n in stages)


def _corpus_behind(parents: tuple[str, ...], steps: Mapping[str, Step]) -> tuple[str, ...]:
    found = {p for p in parents if not steps[p].is_row}
    return tuple(sorted(found.union(*(steps[p].corpus for p in parents))))


def _roles(name: str, stage: RowStage | CorpusStage, reads: tuple[str, ...]) -> dict[str, str]:
    """The columns read by what they are for: a field's name, or the companion's column."""
    roles = {f: getattr(stage, f) for f in type(stage).references() if getattr(stage, f) in reads}
    rest = [c for c in reads if c not in roles.values()]
    if isinstance(stage, RowStage):
        return roles | {f"column {i}": c for i, c in enumerate(rest)}
    named = {getattr(stage, f): f for f in type(stage).step_references()}
    found = roles
    for column in rest:
        step, dot, leaf = column.rpartition(".")
        role = f"{named[step]}.{leaf}" if dot and step in named else column.removeprefix(f"{name}.")
        found[role] = column
    return found


def _producer(column: str, steps: Mapping[str, Step]) -> list[str]:
    name, dot, leaf = column.rpartition(".")
    return [steps[name].key, leaf] if dot else ["document", leaf]


def _need_text(column: str, known: Mapping[str, pa.Field], who: str) -> None:
    field = known.get(column)
    if field is None:
        raise SpecError(f"{who} reads the text {column!r}, which no step writes{did_you_mean(column, list(known))}")
    if field.type != pa.string():
        raise SpecError(f"{who} reads {column!r} as text, but it holds {field.type}; name a text column")


def _phases(steps: tuple[Step, ...]) -> Iterator[Phase]:
    """Steps in running order: row steps of equal depth together, where depth counts the corpus steps before."""
    depth: dict[str, int] = {}
    for name in TopologicalSorter({s.name: s.parents for s in steps}).static_order():
        step = next(s for s in steps if s.name == name)
        before = [depth[p] for p in step.parents]
        deepest = max(before, default=0)
        # Even depths are row passes, odd ones corpus steps.
        depth[name] = deepest + (deepest % 2 if step.is_row else 1 - deepest % 2)
    for level in sorted(set(depth.values())):
        chosen = tuple(s for s in steps if depth[s.name] == level)
        if level % 2 == 0:
            yield Phase(_sorted(chosen))
        else:
            yield from (Phase((s,)) for s in _sorted(chosen))


def _sorted(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with every producer before its readers."""
    by_name = {s.name: s for s in steps}
    order = TopologicalSorter({s.name: [p for p in s.parents if p in by_name] for s in steps}).static_order()
    return tuple(by_name[n] for n in order)


def _policy_key(policy: BoundPolicy, steps: tuple[Step, ...]) -> str:
    by_name = {s.name: s for s in steps}
    columns = {c: _producer(c, by_name) for c in sorted({*policy.columns, f"{LEAVING}.bytes"})}
    return key({"policy": policy.identity(), "columns": columns})


def _field_json(field: pa.Field) -> dict[str, str]:
    notes = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    return {"name": field.name, "type": str(field.type), **notes}
