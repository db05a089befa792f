"""In what order documents are read: from easy to hard, in phases."""

from functools import partial
from typing import ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from stages.base import Column, CorpusStage, OptionalColumn, column
from stages.chance import mixed, uniform
from stages.flow import TO, Flow, Site, arrived, keys_of, partition_of, row_of, shard_of
from stages.selection.keys import LAST, Ints, Keys, Real, Rows, falling, in_order, need_some, numbers, rising, rows_of
from stages.selection.pacing import STARTS, Pacing, Schedule, competences, spread
from stages.selection.ranking import Ranked, ranked, scattered, started, summed

#: The most phases of one pass, and passes.
MOST = 1000


class Curriculum(CorpusStage):
    """Position of each document in the order of reading, easiest first, and the phase that it is in.

    Documents are ranked by the difficulty `by` (lowest first; with `direction: descending` highest first; equal ones by
    `doc_id`). The curriculum has `phases` phases of equal length. In phase p the easiest c((p + 1) / phases) of the
    documents are available, where c is the `pacing` function (`stages/selection/pacing.py` has them all with their
    sources): the phase is drawn from the available documents that no earlier phase took, all alike. So every document
    is read once, and none before its time. Where fewer are available than a phase is long (quadratic, geometric, step),
    it takes all of them, and the last phase is longer. Within a phase the order is random.

    `start` is the competence at time 0. `mix` is the share of every phase that is drawn from all documents, available or
    not. With `warmup` below 1 the curriculum covers that share of all documents, and reaches full competence with its
    end; those that it left follow at random, as one more phase. With `interleave` k the corpus is cut into k parts,
    every k-th document by rank, which go through the curriculum one after another (phases are numbered on). With
    `balance`, a column such as `domain`, documents are ranked within their domain, so that every phase takes the same
    share of every domain. Sizes of phases and shares of `mix` are met within a few documents of every domain and part,
    because what waits for a later phase is spread evenly over the ranks.

    Documents without a difficulty (null or NaN) come after all others in random order, counted in the last phase.
    `position` has no gaps.

    Bound: a partition of a million documents at 48 bytes, and as much again to sort them; a row for every partition
    and domain in one process.
    """

    kind: Literal["curriculum"] = "curriculum"
    writes: ClassVar = pa.schema(
        [
            column("position", pa.int64(), "document", doc="documents that are read before this one"),
            column("phase", pa.int64(), "phase", doc="number of the phase, from 0"),
        ]
    )

    by: Column
    direction: Literal["ascending", "descending"] = "ascending"
    pacing: Pacing = "linear"
    phases: int = Field(default=10, ge=1, le=MOST)
    start: float | None = Field(default=None, ge=0, lt=1)
    mix: float = Field(default=0.0, ge=0, le=1)
    warmup: float = Field(default=1.0, gt=0, le=1)
    interleave: int = Field(default=1, ge=1, le=MOST)
    balance: OptionalColumn = None
    seed: int

    @model_validator(mode="after")
    def _started(self) -> Self:
        if self.pacing == "geometric" and self.start == 0:
            raise ValueError("geometric pacing multiplies what it starts with; give a `start` above 0")
        return self

    def reads(self) -> tuple[str, ...]:
        """The difficulty, and the domain."""
        return tuple(dict.fromkeys([self.by, *([self.balance] if self.balance else [])]))

    def schedule(self) -> Schedule:
        """How one pass is spread over its phases."""
        start = STARTS[self.pacing] if self.start is None else self.start
        return Schedule.of(competences(self.pacing, self.phases, start), self.mix, self.warmup)

    def program(self, flow: Flow) -> None:
        """Rank by difficulty, place into phases, sort by phase and chance, bring home."""
        offered = flow.at("shards", "rows", self.offer, to="shards")
        unknown = offered.counts.get("documents_without_difficulty", 0)
        need_some(self.kind, offered.rows - unknown, {self.by: unknown})
        rows = scattered(flow, offered)
        sums = flow.at("partitions", "sum", summed, rows, to="one")
        starts = flow.at("one", "starts", started, sums, to="partitions")
        placed = flow.at("partitions", "place", self.place, rows, starts, to="partitions")
        sizes = flow.at("partitions", "size", _sizes, placed, to="one")
        begins = flow.at("one", "begin", _begins, sizes, to="partitions")
        last = self.interleave * self.phases + (self.warmup < 1) - 1
        answers = flow.at("partitions", "order", partial(_ordered, last), placed, begins, to="shards")
        flow.settle(arrived, answers)

    # -- rounds -----------------------------------------------------------------------------------------------------

    def offer(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        """The shard's documents by difficulty, those without one in a group of their own; to itself."""
        table = site.columns(*self.reads())
        value, there = numbers(table, self.by, self.kind)
        key = (rising if self.direction == "ascending" else falling)(value, there)
        group = keys_of(table[self.balance]) if self.balance else np.zeros(len(key), np.uint64)
        rows = rows_of(table, key, group=np.where(there, group & ~np.uint64(1), LAST))
        return rows.to_shard(site.number), {"documents_without_difficulty": int(np.count_nonzero(~there))}

    def place(self, site: Site, rows: pa.Table, starts: pa.Table) -> pa.Table:
        """The phase of every document, and its turn there, to the partition of its part of the order."""
        found = ranked(rows, starts)
        partitions = site.sites["partitions"]
        known = found.rows.group != LAST
        turn = mixed(self.seed, f"{self.kind} order", found.rows.high, found.rows.low)
        phase, share = self._phases(found, turn)
        to = np.minimum((share * partitions).astype(np.int64), partitions - 1)
        return pa.table(
            {
                TO: np.where(known, to, partition_of(turn, partitions)),
                "place": found.rows.place,
                "phase": np.where(known, phase, -1),
                "turn": turn,
                "high": found.rows.high,
            }
        )

    def _phases(self, found: Ranked, turn: Keys) -> tuple[Ints, Real]:
        """The phase of each document, and about what share of all documents is read before it."""
        schedule = self.schedule()
        parts, size = self.interleave, schedule.size_P
        offset = mixed(self.seed, f"{self.kind} spread", found.rows.group, np.zeros_like(found.rows.group))
        # Each group begins with another part, lest small groups all be in the first.
        first = (offset % np.uint64(parts)).astype(np.int64)
        part = (found.rank + first) % parts
        skipped = (part - first) % parts
        rank, members = (found.rank - skipped) // parts, -((skipped - found.members) // parts)
        offset, within = (
            mixed(self.seed, f"{self.kind} {what}", offset, part.astype(np.uint64)) for what in ("part", "rank")
        )
        # A lone document is as likely to be easy as hard, lest small groups all meet in the middle.
        phase = schedule.phase_of((rank + uniform(within)) / members, spread(rank, offset))
        closing = phase >= self.phases
        shares = np.append(np.tile(size[: self.phases] / parts, parts), size[self.phases :])
        phase = np.where(closing, parts * self.phases, part * self.phases + phase)
        end = np.cumsum(shares)
        share = np.append(0.0, end[:-1])[phase] + shares[phase] * (turn.astype(np.float64) * 2.0**-64)
        return phase, np.minimum(share, end[phase])  # never beyond where the next phase begins


def _sizes(site: Site, placed: pa.Table) -> pa.Table:
    """How many documents with and without a difficulty a partition holds."""
    known = int(np.count_nonzero(placed["phase"].to_numpy() >= 0))
    return pa.table({TO: [0], "partition": [site.number], "known": [known], "unknown": [placed.num_rows - known]})


def _begins(site: Site, sizes: pa.Table) -> pa.Table:
    """The first positions of a partition's documents with and without a difficulty."""
    del site
    partition, known, unknown = (sizes[c].to_numpy() for c in ("partition", "known", "unknown"))
    sort = np.argsort(partition)
    partition, known, unknown = partition[sort], known[sort], unknown[sort]
    return pa.table(
        {
            TO: partition,
            "known": np.cumsum(known) - known,
            "unknown": known.sum() + np.cumsum(unknown) - unknown,
        }
    )


def _ordered(last: int, site: Site, placed: pa.Table, begins: pa.Table) -> pa.Table:
    """The positions of a partition's documents, to their shards."""
    del site
    place, phase, turn, high = (placed[c].to_numpy() for c in ("place", "phase", "turn", "high"))
    unknown = phase < 0
    group = np.where(unknown, last + 1, phase).astype(np.uint64)
    nothing = np.zeros(len(place), np.int64)
    order = in_order(Rows(place, group, turn, high, high, nothing))
    known = len(place) - int(np.count_nonzero(unknown))
    position = np.concatenate(
        [
            np.arange(known) + begins["known"].to_numpy()[0],
            np.arange(len(place) - known) + begins["unknown"].to_numpy()[0],
        ]
    )
    place = place[order]
    return pa.table(
        {
            TO: shard_of(place),
            "row": row_of(place),
            "position": position,
            "phase": np.where(unknown, last, phase)[order],
        }
    )
