"""Merging segments into one, as a log-structured merge tree does: in a stream, leaving out what was taken down.

A merge reads its segments once, in blocks; it holds a block of each and nothing that grows with them. Segments are
merged when `FANOUT` of them are of one size, so that there are few and each document is rewritten few times.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.index.chain import fresh_name
from pipelines.index.writing import SegmentWriter
from pipelines.store import Store
from stages.index.search import Snapshot
from stages.index.segment import I64, U32, U64, Segment, contains

#: So many segments of one size (a power of FANOUT) become one.
FANOUT = 4
#: A segment with a larger share of documents that were taken down is rewritten.
DEAD_FRACTION = 0.25
#: Documents, and keys of a band, that are held of each segment.
_BLOCK = 1 << 15
_KEYS_BLOCK = 1 << 18
_GONE = np.uint32(0xFFFFFFFF)


def due(segments: Sequence[Mapping[str, Any]]) -> tuple[int, ...]:
    """Which segments are to be merged next, the smallest first; none where all is well."""
    sizes: dict[int, list[int]] = {}
    for i, entry in enumerate(segments):
        if entry["dead"] > DEAD_FRACTION * entry["rows"]:
            return (i,)
        level = (max(1, entry["rows"]).bit_length() - 1) // (FANOUT.bit_length() - 1)
        sizes.setdefault(level, []).append(i)
    return next((tuple(sizes[level]) for level in sorted(sizes) if len(sizes[level]) >= FANOUT), ())


def merge(store: Store, index: str, snapshot: Snapshot, chosen: Sequence[int]) -> dict[str, Any] | None:
    """Write the living documents of the chosen segments as one segment; None where none is left."""
    segments = [snapshot.segments[i] for i in chosen]
    dead = [snapshot.dead[i] for i in chosen]
    rows = sum(s.rows for s in segments) - sum(len(d) for d in dead)
    if not rows:
        return None
    corpora: Counter[str] = Counter()
    with ExitStack() as stack:
        moved = [stack.enter_context(_numbers(store, s.rows)) for s in segments]
        writer = stack.enter_context(SegmentWriter(store, index, rows, snapshot.configuration))
        at = 0
        for every, among in _documents_in_order(segments):
            alive = np.ones(len(among), bool)
            for i, gone in enumerate(dead):
                mine = every == i
                alive[mine] = ~contains(gone, among[mine])
            owner, row = every[alive], among[alive]
            for i, numbers in enumerate(moved):
                here = np.flatnonzero(owner == i)
                numbers[row[here]] = at + here
            at += len(row)
            ids, signatures, known = _gathered(segments, owner, row)
            writer.documents(ids, signatures, known)
            corpora.update(_corpora(snapshot, ids[2]))
        for band in range(snapshot.configuration.bands):
            for keys, numbers in _band_in_order(segments, moved, band):
                writer.band(band, keys, numbers)
        return writer.commit(dict(sorted(corpora.items())))


@contextmanager
def _numbers(store: Store, rows: int) -> Iterator[U32]:
    """A place for the new number of every old row; it is a mapped file, not memory."""
    path = store.scratch() / f"merge-{fresh_name()}"
    try:
        numbers = np.memmap(path, np.uint32, mode="w+", shape=(rows,))
        numbers[:] = _GONE
        yield numbers
    finally:
        path.unlink(missing_ok=True)


def _documents_in_order(segments: Sequence[Segment]) -> Iterator[tuple[I64, I64]]:
    """Blocks of (number of the segment, row), by id and add over all segments."""
    cursors = [0] * len(segments)
    while any(c < s.rows for c, s in zip(cursors, segments, strict=True)):
        # Up to the least of the blocks' last ids nothing is missing; equal ids are never parted.
        lasts = [s.high[min(c + _BLOCK, s.rows) - 1] for c, s in zip(cursors, segments, strict=True) if c < s.rows]
        bound = min(lasts)
        ends = [int(np.searchsorted(s.high, bound, "right")) for s in segments]
        owner = np.repeat(np.arange(len(segments)), [e - c for c, e in zip(cursors, ends, strict=True)])
        row = np.concatenate([np.arange(c, e) for c, e in zip(cursors, ends, strict=True)])
        planes = [
            np.concatenate([getattr(s, name)[c:e] for s, c, e in zip(segments, cursors, ends, strict=True)])
            for name in ("adds", "low", "high")
        ]
        order = _order(planes[-1], row, *planes[:-1])
        yield owner[order], row[order]
        cursors = ends


def _order(first: U64, *others: NDArray[Any]) -> I64:
    """How runs that are sorted by `first` are sorted together; where it is equal, by the last of the others, and so on."""
    order = np.argsort(first, kind="stable")  # sorted runs are merged, not sorted again
    equal = np.flatnonzero(np.diff(first[order]) == 0)
    if len(equal):
        tied = np.unique(np.concatenate([equal, equal + 1]))
        among = order[tied]
        order[tied] = among[np.lexsort((*(o[among] for o in others), first[among]))]
    return order


def _gathered(segments: Sequence[Segment], owner: I64, row: I64) -> tuple[tuple[U64, U64, U64], U32, pa.Table]:
    """Ids, sketches and what is known of documents, in this order."""
    high, low, adds = (np.empty(len(row), np.uint64) for _ in range(3))
    signatures = np.empty((len(row), segments[0].signatures.shape[1]), np.uint32)
    tables, places = [], []
    for i, segment in enumerate(segments):
        mine = np.flatnonzero(owner == i)
        rows = row[mine]
        high[mine], low[mine], adds[mine] = segment.high[rows], segment.low[rows], segment.adds[rows]
        signatures[mine] = segment.signatures[rows]
        tables.append(segment.documents(rows))
        places.append(mine)
    back = np.empty(len(row), np.int64)
    back[np.concatenate(places)] = np.arange(len(row))
    return (high, low, adds), signatures, pa.concat_tables(tables).take(pa.array(back))


def _corpora(snapshot: Snapshot, adds: U64) -> dict[str, int]:
    numbers, counts = np.unique(adds, return_counts=True)
    found: Counter[str] = Counter()
    for number, count in zip(numbers, counts, strict=True):
        found[snapshot.manifest.adds[int(number)]["corpus"]] += int(count)
    return found


def _band_in_order(segments: Sequence[Segment], moved: Sequence[U32], band: int) -> Iterator[tuple[U64, U32]]:
    """Blocks of (key, new row) of a band in ascending order, without the rows that are gone."""
    cursors = [0] * len(segments)
    while any(c < s.rows for c, s in zip(cursors, segments, strict=True)):
        blocks = [_Block.of(s, n, band, c) for s, n, c in zip(segments, moved, cursors, strict=True)]
        bounds = [(int(b.keys[-1]), int(b.rows[-1])) for b in blocks if not b.last and len(b.keys)]
        taken = [b.until(min(bounds)) if bounds else len(b.keys) for b in blocks]
        keys = np.concatenate([b.keys[:t] for b, t in zip(blocks, taken, strict=True)])
        rows = np.concatenate([b.rows[:t] for b, t in zip(blocks, taken, strict=True)])
        order = _order(keys, rows)
        yield keys[order], rows[order]
        cursors = [b.after(t) for b, t in zip(blocks, taken, strict=True)]


@dataclass(frozen=True, slots=True)
class _Block:
    """The next entries of a band of one segment, without those that are gone."""

    keys: U64
    rows: U32  # new ones, ascending where keys are equal
    places: I64  # in the band
    end: int
    last: bool  # the band ends here

    @classmethod
    def of(cls, segment: Segment, numbers: U32, band: int, start: int) -> "_Block":
        """The block from a place on; one whose rows are all gone is followed by the next."""
        end = start
        while True:
            begin, end = end, min(end + _KEYS_BLOCK, segment.rows)
            rows = numbers[segment.owners[band][begin:end]]
            places = np.flatnonzero(rows != _GONE)
            if len(places) or end == segment.rows:
                keys = segment.keys[band][begin:end]
                return cls(keys[places], rows[places], places + begin, end, end == segment.rows)

    def until(self, bound: tuple[int, int]) -> int:
        """How many entries are not after the bound (key, row)."""
        key, row = np.uint64(bound[0]), np.uint32(bound[1])
        begin, end = (int(np.searchsorted(self.keys, key, side)) for side in ("left", "right"))
        return begin + int(np.searchsorted(self.rows[begin:end], row, "right"))

    def after(self, taken: int) -> int:
        """Where the band goes on once so many entries are taken."""
        return self.end if taken == len(self.keys) else int(self.places[taken])
