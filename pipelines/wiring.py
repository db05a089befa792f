"""How the steps of a spec hang together: which text each reads, which other steps it names, what comes with it."""

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import TypeAdapter

from pipelines.spec import Spec
from stages.base import CorpusStage, Files, RowStage, Stage
from stages.catalog import did_you_mean
from stages.errors import SpecError

S = TypeVar("S", bound=Stage)
Stages = dict[str, RowStage | CorpusStage]
#: By step, what its stage found in the store when it was planned.
Pinned = Mapping[str, Mapping[str, Any]]


def _rewriters(stages: Mapping[str, RowStage | CorpusStage]) -> list[str]:
    return [n for n, s in stages.items() if isinstance(s, RowStage) and "text" in s.schema().names]


def with_texts(spec: Spec) -> Stages:
    """The stages with every `text` that the spec left open set to the end of the rewriting chain.

    What a rewriting step depends on reads what that step rewrites: the chain's end before it.
    """
    stages: Stages = dict(spec.measure)
    end = "text"
    for name in _rewriters(stages):
        if "text" not in stages[name].model_fields_set:
            stages[name] = stages[name].model_copy(update={"text": end})
        for needed in _needs(name, stages) - {name}:
            if "text" in type(stages[needed]).references() and "text" not in stages[needed].model_fields_set:
                stages[needed] = stages[needed].model_copy(update={"text": getattr(stages[name], "text")})  # noqa: B009 - not every stage has it
        end = f"{name}.text"
    rewriters = set(_rewriters(stages))
    for name, stage in stages.items():
        wants = "text" in type(stage).references() and "text" not in stage.model_fields_set
        if wants and name not in rewriters:
            reads_text = isinstance(stage, CorpusStage) or "text" in _reading_fields(stage)
            if reads_text:
                stages[name] = stage.model_copy(update={"text": end_of_chain(stages, f"step {name!r}")})
    return stages


def _needs(name: str, stages: Stages) -> set[str]:
    """The steps that a step names, and those that they name, with itself.

    Raises:
        SpecError: it names a step that is not there.
    """
    found: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop()
        if one in found:
            continue
        found.add(one)
        stage = stages[one]
        for field in type(stage).step_references():
            named = getattr(stage, field)
            if named not in stages:
                raise SpecError(
                    f"step {one!r} names the step {named!r} in {field!r}, which is not in the spec"
                    f"{did_you_mean(named, [n for n in stages if n != one])}",
                    step=one,
                )
            waiting.append(named)
    return found


def resolved(stages: Stages, files: Files | None, pinned: Pinned) -> Stages:
    """The stages, each with what it needs to know of the steps that it names and of the store, or knew when it ran."""
    known: Stages = {}
    for name, stage in stages.items():
        _needs(name, stages)
        found = with_pinned(stage.resolve(stages), pinned.get(name, {}))
        known[name] = found.located(files) if files is not None else found
    return known


def with_pinned(stage: S, values: Mapping[str, Any]) -> S:
    """The stage with what an earlier plan found in the store, as that plan was kept in JSON."""
    fields = type(stage).model_fields
    kinds: Mapping[str, Any] = {name: fields[name].annotation for name in values}
    found = {name: TypeAdapter(kinds[name]).validate_python(value) for name, value in values.items()}
    return stage.model_copy(update=found)


def _reading_fields(stage: RowStage) -> list[str]:
    """The reference fields whose columns the stage really reads."""
    reads = set(stage.reads())
    return [f for f in type(stage).references() if getattr(stage, f) in reads]


def end_of_chain(stages: Mapping[str, RowStage | CorpusStage], who: str) -> str:
    """The one text that no other rewriting step reads."""
    rewriters = _rewriters(stages)
    used = {getattr(stages[n], "text", "") for n in rewriters}
    ends = [f"{n}.text" for n in rewriters if f"{n}.text" not in used]
    if len(ends) > 1:
        raise SpecError(
            f"{who} could use any of {', '.join(ends)}: the rewriting steps fork; write `text:` to choose one",
            columns=ends,
        )
    return ends[0] if ends else "text"


def with_companions(stages: Stages) -> tuple[Stages, dict[str, str]]:
    """The stages with the companions of corpus stages inserted before them."""
    found: Stages = {}
    owners: dict[str, str] = {}
    for name, stage in stages.items():
        if isinstance(stage, CorpusStage):
            for short, companion in stage.companions().items():
                found[f"{name}.{short}"] = companion
                owners[f"{name}.{short}"] = name
        found[name] = stage
    return found, owners


def reads_of(name: str, stage: RowStage | CorpusStage) -> tuple[str, ...]:
    """Full names of the columns that a step reads."""
    if isinstance(stage, RowStage):
        return stage.reads()
    own = stage.companions()
    return tuple(f"{name}.{c}" if c.rpartition(".")[0] in own else c for c in local_reads(stage))


def local_reads(stage: CorpusStage) -> tuple[str, ...]:
    """The columns that a corpus step reads, with its companions' as `name.column`; texts of chosen documents too."""
    return tuple(dict.fromkeys([*stage.reads(), *stage.texts()]))
