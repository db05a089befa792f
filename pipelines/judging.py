"""Verdicts as work over shards: thresholds of percentiles, choices within clusters, and every document's fate.

Reads stored columns only, never text. Thresholds are exact; choices are shuffles through files.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.commit import Attempt
from pipelines.flow import ShardSite
from pipelines.passes import Address, peak_memory_bytes
from pipelines.plan import LEAVING
from pipelines.shards import Shard, batches, sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages.base import Columns, column
from stages.choice import lost
from stages.flow import Flow, one_round
from stages.rules import (
    FAIL,
    FIRST,
    LONGEST,
    PASS,
    BoundOneOf,
    BoundPolicy,
    Count,
    Thresholds,
    add_counts,
    count,
    decide,
    failing,
    judge,
)

#: The columns of a verdict's sidecar.
VERDICT = pa.schema(
    [
        column("keep", pa.bool_(), "1", doc="whether the document is exported"),
        column("fate", pa.string(), "kept|rejected|quarantined"),
        column("reasons", pa.list_(pa.string()), "names", doc="every reason against the document"),
        column("text_bytes", pa.int64(), "bytes", doc="length of the text that leaves"),
    ]
)
#: What a selection writes.
SELECTED = "select.selected"
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judging:
    """What is needed to judge the rows of one shard; picklable.

    `choices` are the paths of the sidecars of the choices made so far, in the policy's order; `selected` is whether
    the selection has been made too, among what all of them keep.
    """

    policy: BoundPolicy
    thresholds: Thresholds
    sidecars: Mapping[str, str]
    quarantined: tuple[int, ...]
    choices: tuple[str, ...] = ()
    selected: bool = False

    def columns(self) -> list[str]:
        """The columns that are read for the plain rules and the size of what leaves."""
        return list(dict.fromkeys([*self.policy.plain_columns, f"{LEAVING}.bytes"]))

    def statuses(self, batch: pa.RecordBatch) -> NDArray[np.int8]:
        """One row of statuses for each plain rule and each choice made so far."""
        status = judge(self.policy.plain, pa.Table.from_batches([batch]), self.thresholds)
        rows = [status]
        for i in range(len(self.choices)):
            stays = batch[f"choice-{i}.stays"]
            chosen = pc.fill_null(pc.equal(stays, batch["doc_id"]), True).to_numpy(zero_copy_only=False)  # noqa: FBT003 - Arrow's argument
            rows.append(np.where(chosen, PASS, FAIL).astype(np.int8)[None, :])
        status = np.concatenate(rows)
        if not self.selected:
            return status
        chosen = batch[SELECTED].fill_null(False).to_numpy(zero_copy_only=False)  # noqa: FBT003 - Arrow's argument
        gone = failing(status).any(axis=0)  # who was not to be chosen from is not rejected for it
        return np.concatenate([status, np.where(chosen | gone, PASS, FAIL).astype(np.int8)[None, :]])

    def read(self, store: Store, shard: Shard, more: tuple[str, ...] = ()) -> Iterator[tuple[int, pa.RecordBatch]]:
        """Row groups with every needed column, each with the number of its first row."""
        stays = {f"choice-{i}.stays": path for i, path in enumerate(self.choices)}
        selected = (SELECTED,) if self.selected else ()
        wanted = list(dict.fromkeys(["doc_id", "id", *self.columns(), *stays, *selected, *more]))
        start = 0
        for batch in batches(store, shard, wanted, {**self.sidecars, **stays}):
            yield start, batch
            start += batch.num_rows

    def sound(self, start: int, rows: int) -> Mask:
        """Which rows are not quarantined."""
        mask = np.ones(rows, bool)
        mask[[r - start for r in self.quarantined if start <= r < start + rows]] = False
        return mask


@dataclass(frozen=True, slots=True)
class Choosing:
    """One `one_of` rule as a program, over the rows that everything before it keeps.

    `number` is the rule's place among the policy's choices; `quarantined` has rows by shard digest.
    """

    schema: ClassVar[pa.Schema] = pa.schema([column("stays", pa.string(), "doc_id", doc="the cluster's chosen member")])
    partition_by: ClassVar[str] = "cluster"

    policy: BoundPolicy
    thresholds: Thresholds
    number: int
    quarantined: Mapping[str, tuple[int, ...]]

    @property
    def choice(self) -> BoundOneOf:
        """The rule."""
        return self.policy.one_of[self.number]

    def program(self, flow: Flow) -> None:
        """One round: the members of a cluster meet."""
        one_round(self, flow)

    def related_rows(self, site: ShardSite) -> pa.Table:
        """Kept rows with a cluster, with the value that decides and their place in the corpus."""
        shard = site.shard
        assert shard is not None
        before = tuple(site.sidecars[f"choice-{i}.stays"] for i in range(self.number))
        bad = self.quarantined.get(shard.digest, ())
        judging = Judging(self.policy, self.thresholds, site.sidecars, bad, before)
        value, size = self._value(), self._size(site)
        more = (self.choice.cluster, *((value,) if value else ()), *((size,) if size else ()), "path", "ordinal")
        parts = []
        for start, batch in judging.read(site.store, shard, tuple(more)):
            keep = ~failing(judging.statuses(batch)).any(axis=0) & judging.sound(start, batch.num_rows)
            keep &= batch[self.choice.cluster].is_valid().to_numpy(zero_copy_only=False)
            if size:  # who has no other in the cluster stays
                keep &= pc.fill_null(pc.greater(batch[size], 1), False).to_numpy(zero_copy_only=False)  # noqa: FBT003 - Arrow's argument
            rows = batch.num_rows
            table = pa.table(
                {
                    "row": pa.array(np.arange(start, start + rows)),
                    "doc_id": batch["doc_id"],
                    "cluster": batch[self.choice.cluster],
                    "source": pa.array([shard.source] * rows, pa.string()),
                    "path": batch["path"],
                    "ordinal": batch["ordinal"],
                }
            )
            if value:
                table = table.append_column("value", batch[value])
            parts.append(table.filter(pa.array(keep)))
        return pa.concat_tables(parts)

    def _size(self, site: ShardSite) -> str | None:
        """The column with the cluster's size, where the step has one."""
        step, dot, leaf = self.choice.cluster.rpartition(".")
        size = f"{step}.cluster_size"
        return size if dot and leaf == "cluster" and size in site.sidecars else None

    def _value(self) -> str | None:
        if self.choice.by == FIRST:
            return None
        return f"{LEAVING}.bytes" if self.choice.by == LONGEST else self.choice.by

    def relate(self, rows: pa.Table) -> Columns:
        """For every row the doc_id of the member of its cluster that stays."""
        stays = np.flatnonzero(~lost(rows, self.choice.order))
        codes = rows["cluster"].combine_chunks().dictionary_encode().indices.to_numpy()
        winner = np.zeros(int(codes.max(initial=-1)) + 1, np.int64)
        winner[codes[stays]] = stays
        chosen = rows["doc_id"].take(pa.array(winner[codes]))
        return {"stays": pa.concat_arrays(chosen.chunks) if chosen.num_chunks else pa.array([], pa.string())}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Write one shard's verdict: keep, fate and all reasons of every row, with the counts that the ledger needs."""

    store: Store
    shard: Shard
    judging: Judging
    address: Address

    def __call__(self) -> dict[str, Any]:
        """The commit record: counts by fate and reason, and the kept runs of each file (`segments`)."""
        began, cpu = time.perf_counter(), time.process_time()
        tally = Tally()
        with Attempt(self.store, self.address.folder, self.address.name) as attempt:
            with attempt.file() as path, sidecar_writer(path, VERDICT) as writer:
                for start, batch in self.judging.read(self.store, self.shard, ("path", "ordinal")):
                    table = self._judged(batch, start, tally)
                    writer.write_table(table, row_group_size=max(1, batch.num_rows))
            return attempt.commit(
                {
                    "rows": self.shard.rows,
                    "seconds": round(time.perf_counter() - began, 6),
                    "cpu_seconds": round(time.process_time() - cpu, 6),
                    "peak_memory_bytes": peak_memory_bytes(),
                    "quarantined": [],
                    "counts": tally.json(),
                    "segments": tally.segments,
                }
            )

    def _judged(self, batch: pa.RecordBatch, start: int, tally: "Tally") -> pa.Table:
        status = self.judging.statuses(batch)
        sound = self.judging.sound(start, batch.num_rows)
        status[:, ~sound] = PASS
        reasons = self.judging.policy.reasons
        keep, why = decide(status, reasons)
        keep &= sound
        size = batch[f"{LEAVING}.bytes"]
        tally.add(status[:, sound], reasons, keep, sound, size.fill_null(0).to_numpy(zero_copy_only=False))
        tally.add_segments(batch, keep)
        fate = pa.array(np.where(keep, "kept", np.where(sound, "rejected", "quarantined")), pa.string())
        columns = [batch["doc_id"], batch["id"], pa.array(keep), fate, why, size]
        return pa.Table.from_arrays(columns, schema=sidecar_schema(VERDICT))


class Tally:
    """Counts of one shard's verdict."""

    def __init__(self) -> None:
        self.kept = self.rejected = self.quarantined = 0
        self.kept_bytes = self.rejected_bytes = 0
        self.reasons: dict[str, Count] = {}
        self.reason_bytes: dict[str, int] = {}
        self.segments: list[list[Any]] = []

    def add(
        self, status: NDArray[np.int8], reasons: tuple[str, ...], keep: Mask, sound: Mask, size: NDArray[np.int64]
    ) -> None:
        """Add one row group; `status` has the sound rows only."""
        self.kept += int(keep.sum())
        self.quarantined += int((~sound).sum())
        self.rejected += int((sound & ~keep).sum())
        self.kept_bytes += int(size[keep].sum())
        self.rejected_bytes += int(size[sound & ~keep].sum())
        self.reasons = add_counts(self.reasons, count(status, reasons))
        fails = failing(status)
        for name in dict.fromkeys(reasons):
            rows = fails[[r == name for r in reasons]].any(axis=0)
            self.reason_bytes[name] = self.reason_bytes.get(name, 0) + int(size[sound][rows].sum())

    def add_segments(self, batch: pa.RecordBatch, keep: Mask) -> None:
        """Add the kept documents and bytes of each run of rows from one file: [path, first ordinal, rows, bytes]."""
        paths = pc.run_end_encode(batch["path"])
        size = batch[f"{LEAVING}.bytes"].fill_null(0).to_numpy(zero_copy_only=False)
        ordinals = batch["ordinal"].to_numpy()
        starts = np.append(0, paths.run_ends.to_numpy()[:-1]) if batch.num_rows else np.empty(0, np.int64)
        rows, nbytes = (np.add.reduceat(v, starts) for v in (keep.astype(np.int64), np.where(keep, size, 0)))
        found = zip(paths.values.to_pylist(), ordinals[starts].tolist(), rows.tolist(), nbytes.tolist(), strict=True)
        segments = [list(segment) for segment in found]
        if self.segments and segments and self.segments[-1][0] == segments[0][0]:
            _, _, more, bytes_more = segments.pop(0)
            self.segments[-1][2] += more
            self.segments[-1][3] += bytes_more
        self.segments += segments

    def json(self) -> dict[str, Any]:
        """The counts as data."""
        return {
            "kept": self.kept,
            "rejected": self.rejected,
            "quarantined": self.quarantined,
            "kept_bytes": self.kept_bytes,
            "rejected_bytes": self.rejected_bytes,
            "reasons": {
                name: {
                    "documents": c.failed,
                    "alone": c.alone,
                    "not_applicable": c.not_applicable,
                    "null": c.null,
                    "bytes": self.reason_bytes.get(name, 0),
                }
                for name, c in self.reasons.items()
            },
        }
