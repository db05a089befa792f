"""Plans of arms: a run's own spec as it was planned, changed in places, with the step that makes tokens."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipelines.ablation.arms import Arm
from pipelines.plan import ORDER, SELECT, Plan, plan
from pipelines.rule_files import loader
from pipelines.spec import Spec, from_data, load, set_field
from pipelines.view import RunView
from pipelines.wiring import Pinned
from stages.base import CorpusStage, Files, RowStage, Stage
from stages.errors import SpecError
from stages.rules import RuleFile
from stages.text.tokens import Tokens

#: No step of a spec can have this name.
TOKENS = "ablation.tokens"


def changed(raw: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The spec with `set` changes applied; sources stay as they are.

    Raises:
        SpecError: a path leads nowhere, or to a source.
    """
    own = copy.deepcopy(dict(raw))
    for path, value in changes.items():
        if path.partition(".")[0] in ("source", "sources"):
            raise SpecError(
                f"an arm cannot set {path}: all arms are made of the same documents; run another spec instead"
            )
        set_field(own, path, value)
    return own


def spec_file(path: str) -> tuple[dict[str, Any], str]:
    """A spec file as data, and the folder that its paths are below."""
    spec = load(path)
    return dict(spec.raw), spec.folder


def needed(made: Plan, *more: str) -> set[str]:
    """The steps that a plan's verdict, selection and order depend on, and those named in `more` with what they need."""
    columns = [*made.policy.columns, *(c for step in made.choosers for c in step.reads)]
    return _with_parents(made, [*(c.rpartition(".")[0] for c in columns if "." in c), *more])


def charged(made: Plan, base: Plan) -> set[str]:
    """Of the steps that a plan's verdict, selection and order depend on, those that the curation is charged for.

    What every arm needs is charged to none: the text that leaves the run (of the plan `base`), and tokens.
    """
    text = {base.step(name).key for name in _with_parents(base, [base.text.rpartition(".")[0]])}
    return {n for n in needed(made) if made.step(n).key not in text and not isinstance(made.step(n).stage, Tokens)}


def _with_parents(made: Plan, waiting: list[str]) -> set[str]:
    steps = {step.name: step for step in made.steps}
    found: set[str] = set()
    while waiting:
        if (name := waiting.pop()) in steps and name not in found:
            found.add(name)
            waiting += steps[name].parents
    return found


@dataclass(frozen=True, slots=True)
class Planner:
    """Plans over one run: what the run found in its store when it was planned stays as it was."""

    view: RunView
    tokens: Tokens

    def base(self) -> Plan:
        """The run's own plan, with tokens."""
        return self.plan(self.view.spec.raw, None)

    def of(self, arm: Arm) -> Plan:
        """The plan whose verdict chooses an arm's documents.

        Raises:
            SpecError: the arm's spec is wrong, or reads a column that it no longer has.
        """
        assert arm.raw is not None, "an arm of all documents has no verdict"
        try:
            return self.plan(arm.raw, arm.origin)
        except SpecError as error:
            raise SpecError(f"the arm {arm.name!r} cannot be planned: {error.message}", arm=arm.name) from error

    def plan(self, raw: Mapping[str, Any], folder: str | None) -> Plan:
        """A plan of a spec with the step `ablation.tokens` over the text that leaves."""
        own = folder or self.view.spec.folder
        spec = from_data(dict(raw), Path(own))
        pinned = {**self._pinned(spec), TOKENS: _found(self.tokens, self.view.store)}
        rules = _rules(self.view.plan.rule_files, loader(own)) if folder is None else loader(own)
        leaves = plan(spec, rules, pinned=pinned).text
        tokens = self.tokens.model_copy(update={"text": leaves})
        return plan(replace(spec, measure={**spec.measure, TOKENS: tokens}), rules, pinned=pinned)

    def _pinned(self, spec: Spec) -> Pinned:
        """What each step found in the store: what the run found, where the step is the run's; else what is there now."""
        run = self.view.plan
        known = {s.name: {f: getattr(s.stage, f) for f in s.stage.pinned} for s in (*run.steps, *run.choosers)}
        theirs: dict[str, Any] = {**self.view.spec.measure, SELECT: self.view.spec.select, ORDER: self.view.spec.order}
        mine: dict[str, Any] = {**spec.measure, SELECT: spec.select, ORDER: spec.order}
        found: dict[str, dict[str, Any]] = {}
        for name, stage in mine.items():
            if isinstance(stage, (RowStage, CorpusStage)) and stage.pinned:
                same = name in known and theirs.get(name) == stage
                found[name] = known[name] if same else _found(stage, self.view.store)
        return {n: {k: _plain(v) for k, v in values.items()} for n, values in found.items()}


def _found(stage: Stage, files: Files) -> dict[str, Any]:
    located = stage.located(files)
    return {name: _plain(getattr(located, name)) for name in stage.pinned}


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _rules(known: Mapping[str, RuleFile], other: Callable[[str], RuleFile]) -> Callable[[str], RuleFile]:
    """Rule files as the run read them, and others from where they are."""
    return lambda name: known[name] if name in known else other(name)
