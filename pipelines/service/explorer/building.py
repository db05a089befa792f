"""Building the arrays of a run: one pass over narrow columns, shard by shard, then orders and clusters.

Everything is written into a folder of its own, which gets its name when it is whole.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.sample import FATES
from pipelines.service.explorer.arrays import FORMAT, KEPT, META, QUARANTINED, WORD, Arrays, by_place
from pipelines.service.explorer.clusters import name_of
from pipelines.service.explorer.columns import READY, Column, ColumnWriter
from pipelines.service.explorer.parts import (
    Progress,
    Told,
    chunks,
    find_json,
    new_array,
    part_name,
    publish,
    row_type,
    write_json,
)
from pipelines.what_if import FATE, REASONS, SIZE, View
from stages.document import packed
from stages.fingerprint import key
from stages.rules import NOT_SELECTED, BoundOneOf


def open_arrays(view: View, folder: Path, progress: Progress | None = None) -> Arrays:
    """The arrays of a run in `folder`, built there first where they are not.

    Raises:
        StorageError: a sidecar is missing, or the disk does not take them.
    """
    wanted = identity(view)

    def ready() -> bool:
        meta = find_json(folder / META)
        return isinstance(meta, dict) and {k: meta.get(k) for k in wanted} == wanted

    publish(folder, lambda made: build(view, made, progress), ready)
    return Arrays(view, folder)


def identity(view: View) -> dict[str, Any]:
    """What arrays must say of themselves to be this run's."""
    content = [[s.digest, s.rows] for s in view.shards]
    policy = [list(view.policy.reasons), view.policy.identity(), dict(view.thresholds)]
    return {"format": FORMAT, "run": view.run, "content": key([content, policy, view.tokens])}


def default_columns(view: View) -> list[str]:
    """The columns that rules, choices and selection go by, where numbers, truth values or texts."""
    plan = getattr(view, "plan", None)
    chosen = plan.select.reads if plan is not None and plan.select is not None else ()
    by = [c.by for c in view.policy.one_of if c.by in view.fields]
    names = [*view.policy.plain_columns, *by, *chosen, SIZE, *([view.tokens] if view.tokens else [])]
    return [n for n in dict.fromkeys(names) if ColumnWriter.holds(view.fields[n])]


def build(view: View, folder: Path, progress: Progress | None = None) -> None:
    """Write everything that is wanted of every run."""
    rows = sum(s.rows for s in view.shards)
    choices = cluster_choices(view)
    told = Told(progress, rows * (1 + len(choices)))
    columns = default_columns(view)
    writers = {n: ColumnWriter(folder / "columns" / part_name(n), n, view.fields[n], rows) for n in columns}
    base = _Base(view, folder, rows)
    for shard in view.shards:
        table = view.read(shard, list(dict.fromkeys([*base.columns, *writers])))
        base.add(table)
        for name, writer in writers.items():
            writer.add(table[name])
        told.add(shard.rows)
    for writer in writers.values():
        writer.close()
    sizes = [_values(folder, n) for n in (SIZE, view.tokens) if n]
    base.close(sizes[0], sizes[1] if view.tokens else None)
    made = Arrays(view, folder)
    for name in dict.fromkeys(r.column for r in view.policy.plain):
        if find_json(folder / "columns" / part_name(name) / READY)["kind"] == "number":
            made.order(name)
    for choice in choices:
        made.clusters(choice, told)


def cluster_choices(view: View) -> list[BoundOneOf]:
    """The run's choices, and for each of their columns the one that goes by place, which clusters are shown by."""
    every = [*view.policy.one_of, *(by_place(c.cluster) for c in view.policy.one_of)]
    return list({name_of(c): c for c in every}.values())


class _Base:
    """Writes what became of every document."""

    def __init__(self, view: View, folder: Path, rows: int) -> None:
        self._view, self._folder, self._rows, self._at = view, folder, rows, 0
        self._reasons = {r: i for i, r in enumerate(dict.fromkeys(view.policy.reasons))}
        self._words = max(1, -(-len(self._reasons) // WORD))
        self._fate = new_array(folder / "fate.npy", np.uint8, rows)
        self._masks = [new_array(folder / f"reasons-{w}.npy", np.uint64, rows) for w in range(self._words)]
        self._ids = new_array(folder / "doc_ids.npy", np.uint8, (rows, 16)) if "doc_id" in view.fields else None
        self._counts = Counter[str]()

    @property
    def columns(self) -> list[str]:
        """What is read of each shard."""
        return [FATE, REASONS, *(["doc_id"] if self._ids is not None else [])]

    def add(self, table: pa.Table) -> None:
        """The next shard."""
        here = slice(self._at, self._at + table.num_rows)
        fates = pa.array(FATES)
        self._fate[here] = pc.index_in(table[FATE], value_set=fates).to_numpy()
        if self._ids is not None:
            self._ids[here] = packed(table["doc_id"])
        for chunk in table[REASONS].chunks:
            self._add_reasons(chunk)
            self._at += len(chunk)

    def _add_reasons(self, chunk: pa.ListArray) -> None:
        rows = pc.list_parent_indices(chunk).to_numpy() + self._at
        values = chunk.flatten()
        codes = pc.index_in(values, value_set=pa.array(list(self._reasons), pa.string()))
        assert not codes.null_count, "a verdict has a reason that the policy does not give"
        for code in np.unique(codes.to_numpy()).tolist():
            mine = rows[codes.to_numpy() == code]
            self._masks[code // WORD][mine] |= np.uint64(1 << code % WORD)
            self._counts[list(self._reasons)[code]] += len(mine)

    def close(self, sizes: NDArray[Any], tokens: NDArray[Any] | None) -> None:
        """Every shard was added; these are the bytes and tokens of what leaves."""
        if self._ids is not None:
            keys = np.ascontiguousarray(self._ids).view("S16").reshape(-1) if self._rows else np.empty(0, "S16")
            np.save(self._folder / "found.npy", np.argsort(keys, kind="stable").astype(row_type(self._rows)))
        fates = np.zeros(len(FATES), np.int64)
        for a, b in chunks(self._rows):
            fates += np.bincount(self._fate[a:b], minlength=len(FATES))
        sums = self._sums(sizes, tokens)
        del self._fate, self._masks, self._ids
        meta = {
            **identity(self._view),
            "rows": self._rows,
            "words": self._words,
            "reasons": list(self._reasons),
            "counts": {r: self._counts[r] for r in self._reasons},
            "fates": dict(zip(FATES, fates.tolist(), strict=True)),
            "sums": sums,
        }
        write_json(self._folder / META, meta)

    def _sums(self, sizes: NDArray[Any], tokens: NDArray[Any] | None) -> dict[str, Any]:
        """Documents, bytes and tokens that every rule keeps, and how many documents are not quarantined."""
        found = Counter[str]()
        bit = self._reasons.get(NOT_SELECTED) if self._view.policy.selects else None
        for a, b in chunks(self._rows):
            kept = self._fate[a:b] == KEPT
            if bit is not None:
                kept |= (self._masks[bit // WORD][a:b] & np.uint64(1 << bit % WORD)) != 0
            found["documents"] += int(kept.sum())
            found["bytes"] += int(sizes[a:b][kept].sum(dtype=np.int64))
            found["sound"] += int((self._fate[a:b] != QUARANTINED).sum())
            found["tokens"] += 0 if tokens is None else int(tokens[a:b][kept].sum(dtype=np.int64))
        return {name: found[name] for name in ("documents", "bytes", "tokens", "sound")}


def _values(folder: Path, name: str) -> NDArray[Any]:
    return Column.at(folder / "columns" / part_name(name), name).values
