"""A finished run to look around in: which documents, how many at another threshold, how values are spread, who is a copy.

    explorer = Explorer.open(view, state / "explorer" / view.run)
    explorer.what_if(["stats.words>=80"])
    found = explorer.documents(fate="rejected", reason="short", where=["lang.code==en"], offset=5_000, sort="-stats.words")
    explorer.read(found.places)              # the same documents with their texts; the only call that reads texts

Answers come from memory-mapped arrays and open no sidecar; a column that nobody asked for before is read from its
sidecars first, once. Deleting the folder loses nothing: it is built again.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.sample import FATES, Place, value_columns
from pipelines.service.explorer.arrays import Arrays, by_place
from pipelines.service.explorer.building import open_arrays
from pipelines.service.explorer.columns import TooManyTextsError
from pipelines.service.explorer.finding import Filter, Mask, Where, mask_of, page
from pipelines.service.explorer.judging_again import what_if
from pipelines.service.explorer.parts import Progress, chunks, publish
from pipelines.service.explorer.reading import described, place_of, read
from pipelines.service.explorer.spread import around, histogram
from pipelines.view import RunView
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.rule_binding import kind_of_column

#: Filters whose answers are remembered, a bit a document each.
REMEMBERED = 32
#: What is remembered of one: a bit a document, then documents, bytes and tokens.
Answer = tuple[NDArray[np.uint8], int, int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """A page of documents, and what all that were found come to."""

    total: int
    bytes: int  # of the texts that leave, or would
    tokens: int | None  # null where the run counts none
    rows: tuple[dict[str, Any], ...]  # row, doc_id, fate, reasons, values; of quarantined ones their record instead
    places: tuple[Place, ...]  # where they are; none of quarantined ones


class Explorer:
    """The arrays of a finished run. Safe to share between threads."""

    def __init__(self, view: RunView, arrays: Arrays) -> None:
        self.view, self.arrays = view, arrays
        self._masks: OrderedDict[Filter, Answer] = OrderedDict()
        self._lock = threading.Lock()
        self._shown = [c for c in value_columns(view) if self._held(c)]

    @classmethod
    def open(cls, view: RunView, folder: Path, progress: Progress | None = None) -> "Explorer":
        """The arrays of a run in `folder`, built there first where they are not; `progress` hears of work done, and all.

        Raises:
            StorageError: a sidecar is missing, or the disk does not take them.
        """
        return cls(view, open_arrays(view, folder, progress))

    def _held(self, column: str) -> bool:
        try:
            self.arrays.column(column)
        except TooManyTextsError:
            return False
        return True

    # -- rules ----------------------------------------------------------------------------------------------------

    def what_if(self, rules: Sequence[str]) -> dict[str, Any]:
        """Documents, bytes and tokens kept under changed rules, as `pipelines.what_if.what_if` gives them.

        Raises:
            SpecError: a rule cannot be read, or names an unknown column or a value that does not fit it.
        """
        return what_if(self.arrays, rules)

    def histogram(
        self,
        column: str,
        bins: int = 60,
        fate: str | None = None,
        *,
        low: float | None = None,
        high: float | None = None,
    ) -> dict[str, Any]:
        """Documents by value of a column and by fate.

        Of numbers: `edges`, `counts` by fate, and how many lie `below`, `above` or have none (`null`). Without `low` and
        `high` half a per cent at each end lies outside. Of texts and truth values: `values` with counts by fate.

        Raises:
            SpecError: an unknown column or fate, or a column of neither numbers, texts nor truth values.
        """
        if fate is not None and fate not in FATES:
            raise SpecError(f"the fate {fate!r} does not exist{did_you_mean(fate, list(FATES))}", fate=fate)
        if bins < 1:
            raise SpecError(f"a histogram has at least one bin, not {bins}", bins=bins)
        return histogram(self.arrays, column, bins, fate, low, high)

    def borderline(
        self, column: str, value: float | str, n: int = 10, *, test: str = "ge", fate: str | None = None
    ) -> dict[str, Any]:
        """At most `n` documents on each side of a threshold, nearest first; who is equal to it passes or fails as in a rule.

        Raises:
            SpecError: an unknown column, fate or test, or a value that does not fit.
        """
        if fate is not None and fate not in FATES:
            raise SpecError(f"the fate {fate!r} does not exist{did_you_mean(fate, list(FATES))}", fate=fate)
        below, above, limit = around(self.arrays, column, value, n, test, fate)
        sides = {"below": below, "above": above}
        shown = list(dict.fromkeys([column, *self._shown]))
        return {
            "column": column,
            "value": limit,
            **{s: described(self.arrays, rows, shown) for s, rows in sides.items()},
        }

    # -- documents ------------------------------------------------------------------------------------------------

    def documents(
        self,
        fate: str | None = None,
        reason: str | None = None,
        where: Sequence[Where] = (),
        *,
        offset: int = 0,
        limit: int = 50,
        sort: str | None = None,
        columns: Sequence[str] = (),
    ) -> Found:
        """A page of the documents of a fate, a reason and some tests of columns, and the sums of all of them.

        `where` has tests such as `"stats.words>=50"`, `("stats.words", "ge", 50)` or `("lang.code", "null", True)`; `sort` is
        a column, with `-` before it for the largest first. `columns` are shown beside those that rules read. Quarantined
        documents are listed with the records that are no documents, by `reason` alone.

        Raises:
            SpecError: an unknown fate, reason, column or test, or a value that does not fit.
        """
        if offset < 0 or limit < 0:
            raise SpecError(f"a page cannot begin at {offset} or have {limit} documents; give numbers from 0 on")
        if fate == "quarantined":
            return self._quarantined(reason, where, offset, limit)
        mask, total, nbytes, tokens = self._masked(Filter(fate, reason, tuple(map(_fixed, where))))
        rows = page(self.arrays, mask, offset, limit, sort)
        found = described(self.arrays, rows, list(dict.fromkeys([*self._shown, *columns])))
        places = tuple(place_of(self.arrays, int(row)) for row in rows)
        return Found(total, nbytes, tokens if self.arrays.tokens is not None else None, tuple(found), places)

    def read(self, places: Sequence[Place], characters: int | None = None) -> list[dict[str, Any]]:
        """The documents at these places with their texts, as `tamis sample` gives them."""
        return read(self.view, self.arrays, self._shown, places, characters)

    def find(self, doc_id: str) -> Place | None:
        """Where the document with that doc_id is, or None."""
        row = self.arrays.find(doc_id)
        return None if row is None else place_of(self.arrays, row)

    def clusters(self, column: str, offset: int = 0, limit: int = 20, members: int = 10) -> dict[str, Any]:
        """The clusters of a column with more than one document, the largest first, each with its first members.

        Raises:
            SpecError: there is no such column.
        """
        if column not in self.view.fields:
            raise SpecError(
                f"the run {self.view.run} has no column {column!r}{did_you_mean(column, list(self.view.fields))}",
                column=column,
            )
        if kind_of_column(self.view.fields[column]) is None:
            raise SpecError(f"{column!r} holds {self.view.fields[column].type}, which names no cluster", column=column)
        found = self.arrays.clusters(by_place(column))
        shown = []
        for cluster in found.by_size[offset : offset + limit].tolist():
            begin, end = found.starts[cluster], found.starts[cluster + 1]
            rows = found.members[begin:end]
            shown.append(
                {
                    "cluster": found.names[cluster].as_py(),
                    "size": len(rows),
                    "kept": int(np.count_nonzero(self.arrays.fate[rows] == FATES.index("kept"))),
                    "members": described(self.arrays, rows[:members], self._shown),
                }
            )
        return {"column": column, "total": len(found.by_size), "documents": len(found.members), "clusters": shown}

    # -- inside ---------------------------------------------------------------------------------------------------

    def _masked(self, wanted: Filter) -> tuple[Mask | None, int, int, int]:
        """Which documents are wanted (None: all), how many, and their bytes and tokens."""
        rows = self.arrays.rows
        with self._lock:
            known = self._masks.get(wanted)
            if known is not None:
                self._masks.move_to_end(wanted)
        if known is None:
            mask = mask_of(self.arrays, wanted)
            known = (np.packbits(mask), *self._sums(mask))
            with self._lock:
                self._masks[wanted] = known
                while len(self._masks) > REMEMBERED:
                    self._masks.popitem(last=False)
        bits, *sums = known
        mask_or_none = None if wanted.everything else np.unpackbits(bits, count=rows).view(np.bool_)
        return mask_or_none, sums[0], sums[1], sums[2]

    def _sums(self, mask: Mask) -> tuple[int, int, int]:
        total, nbytes, tokens = 0, 0, 0
        for a, b in chunks(self.arrays.rows):
            here = np.flatnonzero(mask[a:b])
            total += len(here)
            nbytes += int(self.arrays.bytes[a:b][here].sum(dtype=np.int64))
            tokens += 0 if self.arrays.tokens is None else int(self.arrays.tokens[a:b][here].sum(dtype=np.int64))
        return total, nbytes, tokens

    def _quarantined(self, reason: str | None, where: Sequence[Where], offset: int, limit: int) -> Found:
        if where:
            raise SpecError("quarantined documents have no columns to test; ask for them by reason alone")
        table = self._quarantine()
        if reason is not None:
            table = table.filter(pc.equal(table["reason"], reason))
        records = table.slice(offset, limit).to_pylist()
        rows = tuple({**r, "fate": "quarantined", "reasons": [r["reason"]]} for r in records)
        return Found(table.num_rows, 0, None if self.arrays.tokens is None else 0, rows, ())

    def _quarantine(self) -> pa.Table:
        """Every quarantined document and malformed record, mapped into memory."""
        place = self.arrays.folder / "quarantined"

        def make(made: Path) -> None:
            table = self.view.quarantined()
            with pa.OSFile(str(made / "records"), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
                writer.write_table(table)

        publish(place, make, (place / "records").exists)
        with pa.memory_map(str(place / "records")) as source:
            return pa.ipc.open_file(source).read_all()


def _fixed(test: Where) -> Where:
    """The test as something that is remembered."""
    return test if isinstance(test, str) or not isinstance(test[2], list) else (test[0], test[1], tuple(test[2]))
