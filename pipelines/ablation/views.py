"""The documents of arms, found: rows of the token column by the run's own columns. No text is read and none is copied.

Bound: 17 bytes a document and arm, in the driver.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.ablation.origins import TOKENS, Planner, charged, needed
from pipelines.among import KEEP
from pipelines.engine import Engine
from pipelines.execute import Execution
from pipelines.judge_run import VERDICT, judge_run, order_run
from pipelines.plan import LEAVING, ORDER, SELECT, Phase, Plan
from pipelines.progress import Watch
from pipelines.shards import batches
from pipelines.token_packs import PackFile, token_packs
from pipelines.view import RunView
from stages.chance import mixed
from trainer.token_pack import TokenPack

Ints = NDArray[np.int64]
EPOCHS, POSITION = f"{SELECT}.epochs", f"{ORDER}.position"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows of a token pack, each as often as it is to be read; in training order where `ordered`."""

    rows: Ints
    ordered: bool
    unknown: int  # documents of the arm that have no tokens, because their text is unknown


@dataclass(slots=True)
class Tokenized:
    """One token column of a run: the pack that all arms with its text share."""

    plan: Plan
    execution: Execution
    files: tuple[PackFile, ...]
    pack: TokenPack
    starts: Ints  # the first row of each shard


@dataclass
class Corpus:
    """A run's documents as arms see them. Steps, verdicts and tokens are computed where they are missing."""

    view: RunView
    planner: Planner
    engine: Callable[[], Engine]
    watch: Watch
    _tokenized: dict[str, Tokenized] = field(default_factory=dict)

    @cached_property
    def base(self) -> Tokenized:
        """The token column of the run's own text."""
        return self.tokenized(self.planner.base())

    def tokenized(self, plan: Plan) -> Tokenized:
        """The token column of a plan's text, with the pack that it is trained from; made once for all plans that share it.

        Raises:
            StageError: a step failed, or documents could not be tokenized.
        """
        token_key = plan.step(TOKENS).key
        if token_key not in self._tokenized:
            execution = self.executed(plan, TOKENS)
            files = token_packs(execution, plan, TOKENS)
            pack = TokenPack.open([self.view.store.local(file.path) for file in files])
            starts = np.cumsum([0, *(s.rows for s in self.view.shards)])[:-1]
            self._tokenized[token_key] = Tokenized(plan, execution, files, pack, starts.astype(np.int64))
        return self._tokenized[token_key]

    def executed(self, plan: Plan, *steps: str) -> Execution:
        """What a plan's verdict needs, and `steps`, computed for every shard."""
        execution = Execution(self.view.store, self.view.shards, plan.spec.limits, self.engine, self.watch)
        wanted = {*needed(plan, LEAVING, *steps)}
        for phase in plan.phases:
            if own := tuple(s for s in phase.steps if s.name in wanted):
                execution.phase(Phase(own))
        return execution

    def everything(self, tokenized: Tokenized) -> Chosen:
        """Every document that broke no step."""
        execution = tokenized.execution
        parts = []
        for start, shard in zip(tokenized.starts, self.view.shards, strict=True):
            sound = np.ones(shard.rows, bool)
            sound[list(execution.results.quarantined(shard.digest))] = False
            parts.append(start + np.flatnonzero(sound))
        return _known(_joined(parts), tokenized.pack, ordered=False)

    def kept(self, plan: Plan) -> tuple[Chosen, Execution]:
        """What a plan's policy keeps and selects, in its order; and what it took."""
        tokenized = self.tokenized(plan)
        execution = self.executed(plan, TOKENS)
        judge_run(execution, plan)
        order_run(execution, plan)
        columns = [KEEP, *([EPOCHS] if EPOCHS in plan.fields() else []), *([POSITION] if plan.order else [])]
        parts, places = [], []
        for start, shard in zip(tokenized.starts, self.view.shards, strict=True):
            found = batches(self.view.store, shard, columns, execution.results.sidecars(shard, columns))
            table = pa.Table.from_batches(list(found)) if shard.rows else None
            if table is None:
                continue
            keep = np.flatnonzero(table[KEEP].to_numpy())
            times = _filled(table, EPOCHS, keep, 1)
            parts.append(np.repeat(start + keep, times))
            places.append(np.repeat(_filled(table, POSITION, keep, 0), times))
        rows = _joined(parts)
        if plan.order is not None:
            rows = rows[np.argsort(_joined(places), kind="stable")]
        return _known(rows, tokenized.pack, ordered=plan.order is not None), execution


def _filled(table: pa.Table, name: str, rows: Ints, default: int) -> Ints:
    if name not in table.column_names:
        return np.full(len(rows), default, np.int64)
    values: Ints = table[name].take(pa.array(rows)).fill_null(default).to_numpy().astype(np.int64)
    return values


def _joined(parts: Sequence[Ints]) -> Ints:
    return np.concatenate([np.empty(0, np.int64), *parts]).astype(np.int64)


def _known(rows: Ints, pack: TokenPack, *, ordered: bool) -> Chosen:
    there = pack.lengths_of(rows) >= 0
    return Chosen(rows[there], ordered, int((~there).sum()))


def matched(chosen: Chosen, pack: TokenPack, tokens: int, *, seed: int) -> Chosen:
    """The arm cut at random, document by document, to at most `tokens` tokens: those with the lowest hash stay.

    An arm that has no more than that stays whole.
    """
    lengths = pack.lengths_of(chosen.rows)
    if lengths.sum() <= tokens:
        return chosen
    order = np.argsort(chances(pack, chosen.rows, seed, "ablation.random"), kind="stable")
    stays = np.zeros(len(order), bool)
    stays[order[np.cumsum(lengths[order]) <= tokens]] = True
    return Chosen(chosen.rows[stays], chosen.ordered, chosen.unknown)


def chances(pack: TokenPack, rows: Ints, seed: int, kind: str) -> NDArray[np.uint64]:
    """One uniform number for each row, by its document: the copies of a document stay or go together."""
    halves = pack.doc_ids_of(rows).view(">u8").astype(np.uint64)
    return mixed(seed, kind, halves[:, 0], halves[:, 1])


@dataclass(frozen=True, slots=True)
class Cost:
    """Processor seconds of an arm's curation, cached or not: of measuring and judging, and of selecting and ordering.

    Reading the inputs, the text that leaves the run and its tokens are what every arm needs; they are not counted.
    Neither is what fitting an artifact took (a scorer and its labels), which is done once for any number of documents.
    """

    curation: float
    selection: float

    @property
    def total(self) -> float:
        """Both."""
        return self.curation + self.selection


def cost(plan: Plan, execution: Execution, base: Plan) -> Cost:
    """What a plan's verdict, selection and order took, with all that they depend on and that other arms do not need."""

    def spent(*names: str) -> float:
        return float(sum(execution.results.total(name, execution.shards)["cpu_seconds"] for name in names))

    choices = [f"choice-{i}" for i in range(len(plan.policy.one_of))]
    return Cost(spent(*charged(plan, base), *choices, VERDICT), spent(*(s.name for s in plan.choosers)))
