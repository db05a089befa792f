"""A finished run as memory-mapped arrays: what became of every document, and any column, opened when first asked for.

    meta.json        which run and which format; written before the folder gets its name
    fate.npy         0 kept, 1 rejected, 2 quarantined
    reasons-W.npy    64 reasons a word, in the order of `meta.json`: bit R of word W is reason 64 W + R
    doc_ids.npy      16 bytes each;  found.npy: documents in the order of their ids
    columns/ orders/ clusters/

Documents are numbered as the run has them: shard by shard, row by row. Memory: one shard's narrow columns while columns
are written, 24 bytes a document while an order is made, and what `clusters` says. Readers hold a byte a document or less.
"""

import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.service.explorer.clusters import Clusters, build_clusters, name_of
from pipelines.service.explorer.clusters import ready as clusters_ready
from pipelines.service.explorer.columns import READY, Column, ColumnWriter
from pipelines.service.explorer.parts import (
    Progress,
    Told,
    array_at,
    find_json,
    part_name,
    publish,
    row_type,
    write_json,
)
from pipelines.what_if import SIZE, View
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.rules import FIRST, NOT_SELECTED, BoundOneOf

FORMAT = 1
META = "meta.json"
KEPT, REJECTED, QUARANTINED = range(3)
WORD = 64


class Arrays:
    """The arrays of one run, in a folder. Safe to share between threads."""

    def __init__(self, view: View, folder: Path) -> None:
        self.view, self.folder = view, folder
        self._open: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()
        self.meta: Mapping[str, Any] = find_json(folder / META)
        self.rows: int = self.meta["rows"]
        self.reasons: list[str] = self.meta["reasons"]
        self.fate = array_at(folder / "fate.npy")
        self.words = [array_at(folder / f"reasons-{w}.npy") for w in range(self.meta["words"])]
        self.bytes = self.column(SIZE).values
        self.tokens = self.column(view.tokens).values if view.tokens else None
        self.starts = np.concatenate([[0], np.cumsum([s.rows for s in view.shards])]).astype(np.int64)

    # -- columns --------------------------------------------------------------------------------------------------

    def column(self, name: str, progress: Progress | None = None) -> Column:
        """A column by its full name; it is read from its sidecars when it is first asked for.

        Raises:
            SpecError: there is no such column, no rule could test it, or it has too many different texts.
        """
        if name not in self.view.fields:
            raise SpecError(
                f"the run {self.view.run} has no column {name!r}{did_you_mean(name, list(self.view.fields))}",
                column=name,
            )
        place = self.folder / "columns" / part_name(name)

        def make(made: Path) -> None:
            told = Told(progress, self.rows)
            writer = ColumnWriter(made, name, self.view.fields[name], self.rows)
            for shard in self.view.shards:
                writer.add(self.view.read(shard, [name])[name])
                told.add(shard.rows)
            writer.close()

        def get() -> Column:
            publish(place, make, lambda: find_json(place / READY) is not None)
            return Column.at(place, name)

        found: Column = self._once(("column", name), get)
        return found

    def table(self, start: int, stop: int, columns: Sequence[Column]) -> pa.Table:
        """Rows of some columns, as the run's rules read them."""
        return pa.table([c.array(start, stop) for c in columns], [c.name for c in columns])

    def order(self, name: str) -> NDArray[Any]:
        """The documents that have a value, least value first, equal ones as the run has them."""
        column = self.column(name)
        place = self.folder / "orders" / part_name(name)

        def make(made: Path) -> None:
            order = _sorted(column, self.rows)
            np.save(made / "order.npy", order)
            np.save(made / "fates.npy", self.fate[order])
            write_json(made / READY, {})

        def get() -> NDArray[Any]:
            publish(place, make, lambda: find_json(place / READY) is not None)
            return array_at(place / "order.npy")

        found: NDArray[Any] = self._once(("order", name), get)
        return found

    def fates_in_order(self, name: str) -> NDArray[np.uint8]:
        """What became of the documents of `order`, beside each other."""
        self.order(name)
        path = self.folder / "orders" / part_name(name) / "fates.npy"
        found: NDArray[np.uint8] = self._once(("fates", name), lambda: array_at(path))
        return found

    def clusters(self, choice: BoundOneOf, told: Told | None = None) -> Clusters:
        """The clusters of a choice's column, members in the order of the choice."""
        name = name_of(choice)
        place = self.folder / "clusters" / name
        tell = (told or Told(None, 1)).add

        def get() -> Clusters:
            publish(place, lambda made: build_clusters(self.view, choice, made, tell), lambda: clusters_ready(place))
            return Clusters.at(place)

        found: Clusters = self._once(("clusters", name), get)
        return found

    def _once(self, what: tuple[str, str], get: Any) -> Any:
        found = self._open.get(what)
        if found is None:
            found = get()  # two threads may open the same files; building is guarded by its own lock
            with self._lock:
                found = self._open.setdefault(what, found)
        return found

    # -- documents ------------------------------------------------------------------------------------------------

    def bit(self, reason: str) -> tuple[int, np.uint64]:
        """The word and the bit of a reason."""
        number = self.reasons.index(reason)
        return number // WORD, np.uint64(1 << number % WORD)

    def failed(self, reason: str, start: int, stop: int) -> NDArray[np.bool_]:
        """Which of the documents have this reason against them."""
        word, bit = self.bit(reason)
        mask: NDArray[np.bool_] = (self.words[word][start:stop] & bit) != 0
        return mask

    def reasons_of(self, row: int) -> list[str]:
        """The reasons against a document."""
        found = [int(w[row]) for w in self.words]
        return [r for i, r in enumerate(self.reasons) if found[i // WORD] >> (i % WORD) & 1]

    def was_kept(self, start: int, stop: int) -> NDArray[np.bool_]:
        """Which documents every rule of the run keeps: what a selection chose from is counted before it chose."""
        kept: NDArray[np.bool_] = self.fate[start:stop] == KEPT
        return kept | self.failed(NOT_SELECTED, start, stop) if self.view.policy.selects else kept

    @cached_property
    def doc_ids(self) -> NDArray[np.uint8]:
        """The 16 bytes of every document's id."""
        return array_at(self.folder / "doc_ids.npy")

    def find(self, doc_id: str) -> int | None:
        """The row of a document, or None."""
        try:
            wanted = bytes.fromhex(doc_id)
        except ValueError:
            return None
        order = array_at(self.folder / "found.npy")
        low, high = 0, len(order)
        while low < high:
            middle = (low + high) // 2
            if self.doc_ids[order[middle]].tobytes() < wanted:
                low = middle + 1
            else:
                high = middle
        row = int(order[low]) if low < len(order) else -1
        return row if row >= 0 and self.doc_ids[row].tobytes() == wanted else None


def by_place(cluster: str) -> BoundOneOf:
    """A choice of the first document of each cluster."""
    return BoundOneOf(0, "", cluster, FIRST)


def _sorted(column: Column, rows: int) -> NDArray[Any]:
    """The rows with a value, in the order of the values."""
    kind = row_type(rows)
    there = np.flatnonzero(column.present(slice(None))) if column.valid is not None else None
    values = np.asarray(column.values if there is None else column.values[there])
    if column.dictionary is not None:
        ranks = pc.rank(column.dictionary, tiebreaker="dense").to_numpy()
        values = ranks[values].astype(np.int32)
    order = np.argsort(values, kind="stable")
    return (order if there is None else there[order]).astype(kind)
