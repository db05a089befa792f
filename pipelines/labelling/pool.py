"""The documents that may be labelled: ids, vectors and where their texts are. Texts are read for the picked ones alone.

A pool holds at most MOST documents, those with the lowest hash where there are more: 512 bytes of vector each, and no text.
"""

from bisect import bisect_right
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.engine import Engine
from pipelines.execute import Execution
from pipelines.labelling.oracle import Question
from pipelines.plan import Phase, Plan, plan
from pipelines.progress import Watch
from pipelines.shards import Shard, batches
from pipelines.spec import Spec
from pipelines.store import Store
from pipelines.wiring import Stages
from stages.base import CorpusStage, RowStage
from stages.chance import draw, lowest
from stages.errors import DataError
from stages.text.embedding import Embedding

MOST = 100_000
#: No step of a spec can have this name.
VECTORS = "label.vectors"
_KEPT = "kept"


@dataclass(frozen=True)
class Documents:
    """N documents of some shards, in the order of their doc_ids. A document without a vector cannot be scored."""

    store: Store
    shards: tuple[Shard, ...]
    text: str
    sidecars: Mapping[str, Mapping[str, str]]  # of the text, by shard digest
    key: str  # of the vectors' step: model and text
    doc_ids: pa.Array
    ids: pa.Array
    vectors: pa.Array
    shard_of: npt.NDArray[np.int64]
    row_of: npt.NDArray[np.int64]
    left_out: int  # more than MOST

    def scorable(self) -> npt.NDArray[np.bool_]:
        """The documents that have a vector."""
        there: npt.NDArray[np.bool_] = self.vectors.is_valid().to_numpy(zero_copy_only=False)
        return there

    def questions(self, rows: Sequence[int]) -> list[Question]:
        """The documents at rows, with their texts, in that order."""
        found: dict[int, Question] = {}
        for index in sorted({int(self.shard_of[r]) for r in rows}):
            here = sorted((int(self.row_of[r]), r) for r in rows if self.shard_of[r] == index)
            for (_, place), text in zip(here, self._texts(self.shards[index], [row for row, _ in here]), strict=True):
                found[place] = Question(self.doc_ids[place].as_py(), self.ids[place].as_py(), text)
        return [found[r] for r in rows]

    def _texts(self, shard: Shard, rows: Sequence[int]) -> Iterator[str]:
        """The texts of some rows (ascending) of a shard; reads the row groups that hold them."""
        shape = pq.read_metadata(self.store.open_input(shard.path))
        starts = list(accumulate((shape.row_group(i).num_rows for i in range(shape.num_row_groups - 1)), initial=0))
        by_group: dict[int, list[int]] = {}
        for row in rows:
            by_group.setdefault(bisect_right(starts, row) - 1, []).append(row)
        found = batches(self.store, shard, [self.text], self.sidecars[shard.digest], by_group)
        for (group, here), batch in zip(by_group.items(), found, strict=True):
            texts = batch[self.text].take(pa.array([r - starts[group] for r in here], pa.int64()))
            yield from (t or "" for t in texts.to_pylist())


@dataclass(frozen=True, slots=True)
class Work:
    """Where vectors are computed."""

    store: Store
    engine: Callable[[], Engine]
    watch: Watch


#: The rows of a shard that may be in a pool (a mask), or None for all.
Chosen = Callable[[Shard], npt.NDArray[np.bool_] | None]


@dataclass(frozen=True, slots=True)
class Asked:
    """What a pool shall be: its encoder, the artifacts that do not exist yet, its documents, and the seed of its draw."""

    model: str
    artifacts: Collection[str]
    chosen: Chosen
    seed: int


def documents(spec: Spec, shards: Sequence[Shard], work: Work, *, asked: Asked) -> Documents:
    """The pool of a spec's documents in `shards`, with the vectors of the text that leaves.

    Steps that read the artifacts (scores of the very learner) take no part.

    Raises:
        DataError: there is no document.
        SpecError: the encoder is missing.
    """
    made = planned(spec, asked.model, asked.artifacts, work.store)
    execution = Execution(work.store, shards, spec.limits, work.engine, work.watch)
    needed = _needed(made, VECTORS)
    for phase in made.phases:
        if steps := tuple(s for s in phase.steps if s.name in needed):
            execution.phase(Phase(steps))
    column, text = f"{VECTORS}.vector", made.text
    parts, left_out = _Parts(asked.seed), 0
    for index, shard in enumerate(execution.shards):
        sidecars = execution.results.sidecars(shard, [column])
        table = pa.Table.from_batches(list(batches(work.store, shard, ["doc_id", "id", column], sidecars)))
        left_out = parts.take(index, table, asked.chosen(shard), column)
    if not parts.rows:
        raise DataError("there is no document to label; take --pool all, or a run with documents")
    table = parts.table()
    texts = {s.digest: execution.results.sidecars(s, [text]) for s in execution.shards}
    return Documents(
        store=work.store,
        shards=execution.shards,
        text=text,
        sidecars=texts,
        key=made.step(VECTORS).key,
        doc_ids=_array(table["doc_id"]),
        ids=_array(table["id"]),
        vectors=_array(table["vector"]),
        shard_of=table["shard"].to_numpy(),
        row_of=table["row"].to_numpy(),
        left_out=left_out,
    )


def _array(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


class _Parts:
    """Rows of shards, at most MOST of them, those with the lowest hash."""

    def __init__(self, seed: int) -> None:
        self._seed, self._table, self._left_out = seed, None, 0

    @property
    def rows(self) -> int:
        return 0 if self._table is None else self._table.num_rows

    def take(self, index: int, table: pa.Table, mask: npt.NDArray[np.bool_] | None, column: str) -> int:
        """Consider the rows of a shard; gives how many rows of all shards so far were left out."""
        rows = pa.table(
            {
                "doc_id": table["doc_id"],
                "id": table["id"],
                "vector": table[column],
                "shard": np.full(table.num_rows, index),
                "row": np.arange(table.num_rows),
            }
        )
        if mask is not None:
            rows = rows.filter(pa.array(mask))
        both = rows if self._table is None else pa.concat_tables([self._table, rows])
        if both.num_rows > MOST:
            best = lowest(draw(self._seed, "pool", both["doc_id"]), MOST)
            self._left_out += both.num_rows - MOST
            both = both.take(pa.array(np.sort(best)))
        self._table = both.combine_chunks()
        return self._left_out

    def table(self) -> pa.Table:
        assert self._table is not None, "there are rows"
        return self._table.sort_by("doc_id").combine_chunks()


def planned(spec: Spec, model: str, artifacts: Collection[str], store: Store) -> Plan:
    """A plan of the steps that lead to the text that leaves, and of its vectors."""
    text = {"text": spec.write.text} if spec.write.text else {}
    vectors = Embedding(model=model, **text)
    measure = {**_without(dict(spec.measure), artifacts), VECTORS: vectors}
    return plan(replace(spec, measure=measure, keep=(), select=None, order=None), files=store)


def _without(stages: Stages, artifacts: Collection[str]) -> Stages:
    """The stages that read none of the artifacts, nor what reads them."""
    gone = {n for n, s in stages.items() if getattr(s, "model", None) in artifacts}
    while True:
        more = {n for n, s in stages.items() if n not in gone and any(r in gone for r in _steps_read(s))}
        if not more:
            return {n: s for n, s in stages.items() if n not in gone}
        gone |= more


def _steps_read(stage: RowStage | CorpusStage) -> set[str]:
    cls = type(stage)
    columns = {str(getattr(stage, f)).rpartition(".")[0] for f in cls.references()}
    return columns | {str(getattr(stage, f)) for f in cls.step_references()}


def _needed(made: Plan, name: str) -> set[str]:
    """A step and every step that it depends on."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        if (one := waiting.pop()) not in found:
            found.add(one)
            waiting += made.step(one).parents
    return found


def of_fate(fates: Callable[[Shard], pa.ChunkedArray], pool: str) -> Chosen:
    """The kept documents (pool `kept`) or all."""
    if pool != _KEPT:
        return lambda shard: None  # noqa: ARG005 - a mask of none
    return lambda shard: pc.fill_null(pc.equal(fates(shard), _KEPT), fill_value=False).to_numpy()
