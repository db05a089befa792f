"""Everything that is settled before an arm is trained: tokens, arms as views, the panel, what they share."""

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipelines.ablation.arms import Arm, expand, parts
from pipelines.ablation.contamination import Hits, audit
from pipelines.ablation.origins import Planner
from pipelines.ablation.panel import PanelRecord, build_panel
from pipelines.ablation.request import AblateRequest
from pipelines.ablation.terms import Supply
from pipelines.ablation.views import Chosen, Corpus, Cost, Tokenized, cost, matched
from pipelines.engine import Engine
from pipelines.progress import Watch
from pipelines.run import Options
from pipelines.store import Store
from pipelines.view import RunView
from stages.artifacts import Artifact, find
from stages.errors import DataError, SpecError
from stages.text.tokens import Tokens
from trainer.evidence.attribution import design
from trainer.probes import Probe
from trainer.view import View


@dataclass(frozen=True, slots=True)
class ReadyArm:
    """An arm whose documents are known. path: of its view in the store; supply: its tokens and what its curation cost."""

    arm: Arm
    tokenized: Tokenized
    chosen: Chosen
    view: View
    path: str
    supply: Supply
    cost: Cost
    rewrites_text: bool

    @property
    def name(self) -> str:
        """The arm's name."""
        return self.arm.name

    @property
    def packs(self) -> tuple[str, ...]:
        """The files of its token column, in the store."""
        return tuple(file.path for file in self.tokenized.files)

    @property
    def data(self) -> dict[str, str]:
        """Keys of its tokens and documents."""
        return {"pack": self.tokenized.pack.key, "view": self.view.key}


@dataclass(frozen=True, slots=True)
class Prepared:
    """What the training of all arms is made of."""

    store: Store
    run: RunView
    request: AblateRequest
    tokenizer: Artifact
    arms: tuple[ReadyArm, ...]
    panel: PanelRecord
    hits: dict[str, Hits]  # by text: documents of the panel that are in the corpus

    def arm(self, name: str) -> ReadyArm:
        """The arm of that name."""
        return next(arm for arm in self.arms if arm.name == name)

    @property
    def baseline(self) -> ReadyArm:
        """What the arms are compared with."""
        return self.arm(self.request.baseline)


class Preparation:
    """Prepares an ablation, step by step."""

    def __init__(
        self, run: RunView, request: AblateRequest, engine: Callable[[], Engine], options: Options, watch: Watch
    ) -> None:
        self.run, self.request, self.store = run, request, run.store
        self._engine, self._options, self._watch = engine, options, watch

    def prepare(self, tokenizer: Artifact) -> Prepared:
        """Tokens, views, panel and audit. Probes are read here once, so that what is wrong with one is said at once.

        Raises:
            SpecError: an arm cannot be made of the run.
            DataError: an arm or the panel is empty, or a probe cannot be read.
        """
        for path in self.request.probes:
            Probe.read(path)
        panel = build_panel(
            self.store,
            self.request.panel,
            tokenizer=tokenizer,
            bytes_per_domain=self.request.panel_bytes,
            seed=self.request.seed,
            options=self._options,
            watch=self._watch,
        )
        tokens = Tokens(tokenizer=f"artifact:{tokenizer.id}")
        corpora = _Corpora(self.run, tokens, self._engine, self._watch)
        raw = self.run.spec.raw
        subsets = design(tuple(parts(raw)), {}, seed=self.request.seed) if "shapley" in self.request.arms else ()
        arms = self._ready(expand(self.request, raw, subsets), corpora)
        hits = {key: self._audit(tokenized, panel) for key, tokenized in _by_text(arms).items()}
        return Prepared(self.store, self.run, self.request, tokenizer, arms, panel, hits)

    def _audit(self, tokenized: Tokenized, panel: PanelRecord) -> Hits:
        return audit(tokenized.execution, tokenized.plan, panel, self.store, self._watch)

    def _ready(self, arms: Sequence[Arm], corpora: "_Corpora") -> tuple[ReadyArm, ...]:
        found: dict[str, ReadyArm] = {}
        for arm in sorted(arms, key=lambda a: a.matched is not None):
            tokenized, chosen, spent = corpora.of(arm)
            if arm.matched is not None:
                tokens = _tokens(found[arm.matched].chosen, found[arm.matched].tokenized)
                chosen = matched(chosen, tokenized.pack, tokens, seed=self.request.seed)
            found[arm.name] = self._filed(arm, tokenized, chosen, spent, corpora.base)
        return tuple(found[arm.name] for arm in arms)

    def _filed(self, arm: Arm, tokenized: Tokenized, chosen: Chosen, spent: Cost, base: Tokenized) -> ReadyArm:
        """The arm with its view in a file."""
        if not len(chosen.rows):
            raise DataError(
                f"the arm {arm.name!r} ({arm.what}) has no document; loosen the rules that it is judged by, or leave it out",
                arm=arm.name,
            )
        view = View(chosen.rows, chosen.ordered, arm.name, tokenized.pack.key)
        path = filed(self.store, view)
        supply = Supply(arm.name, _tokens(chosen, tokenized) + len(chosen.rows), spent.total)
        return ReadyArm(arm, tokenized, chosen, view, path, supply, spent, rewrites_text=tokenized is not base)


def filed(store: Store, view: View) -> str:
    """The path of a view in the store, which has it from then on."""
    path = f"views/{view.pack}/{view.key}.view"
    if store.size(path) is None:
        scratch = store.scratch() / f"{view.key}.{uuid.uuid4().hex}.view"
        view.save(scratch)
        store.upload(scratch, path)
    return path


class _Corpora:
    """The documents of the run, and of other runs that arms name."""

    def __init__(self, run: RunView, tokens: Tokens, engine: Callable[[], Engine], watch: Watch) -> None:
        self._tokens, self._engine, self._watch = tokens, engine, watch
        self._own = self._of(run)
        self._store = run.store
        self._others: dict[str, Corpus] = {}

    @property
    def base(self) -> Tokenized:
        """The token column that the run's own arms share."""
        return self._own.base

    def of(self, arm: Arm) -> tuple[Tokenized, Chosen, Cost]:
        """An arm's token column, its documents before it is matched to another, and the processor time of its curation."""
        if arm.run is not None:
            if arm.run not in self._others:
                self._others[arm.run] = self._of(RunView.open(self._store, arm.run))
            corpus = self._others[arm.run]
            plan = corpus.planner.base()
        elif arm.raw is None:
            return self._own.base, self._own.everything(self._own.base), Cost(0.0, 0.0)
        else:
            corpus = self._own
            plan = corpus.planner.of(arm)
        chosen, execution = corpus.kept(plan)
        return corpus.tokenized(plan), chosen, cost(plan, execution, self._own.base.plan)

    def _of(self, run: RunView) -> Corpus:
        return Corpus(run, Planner(run, self._tokens), self._engine, self._watch)


def tokenizer_of(run: RunView, request: AblateRequest) -> Artifact:
    """The one tokenizer of all arms: the request's, else that of the run's own step `tokens`.

    Raises:
        SpecError: neither names one.
    """
    named = request.tokenizer
    for stage in run.spec.measure.values():
        if named is None and isinstance(stage, Tokens):
            named = stage.tokenizer
    if named is None:
        raise SpecError(
            f"the run {run.run} has no step `tokens`, so its ablation needs a tokenizer; fit one with `tamis learn "
            "tokenizer --text PATH --vocab 4096 --out NAME` and give it as --tokenizer artifact:NAME"
        )
    return find(run.store, named, "tokenizer")


def _tokens(chosen: Chosen, tokenized: Tokenized) -> int:
    return int(tokenized.pack.lengths_of(chosen.rows).sum())


def _by_text(arms: Sequence[ReadyArm]) -> dict[str, Tokenized]:
    return {arm.tokenized.pack.key: arm.tokenized for arm in arms}


def facts(arm: ReadyArm) -> dict[str, Any]:
    """What people want to know of an arm."""
    return {
        "name": arm.name,
        "what": arm.arm.what,
        "documents": len(np.unique(arm.chosen.rows)),
        "tokens": arm.supply.tokens,
        "view": arm.view.key,
        "ordered": arm.chosen.ordered,
        "rewrites_text": arm.rewrites_text,
        "unknown_documents": arm.chosen.unknown,
        "curation_cpu_seconds": round(arm.cost.curation, 3),
        "selection_cpu_seconds": round(arm.cost.selection, 3),
    }
