"""Which documents go into which file of an export.

The final order is source name, path below the glob's root, ordinal. A document belongs to the file
`bytes before it // shard_bytes`, so the cut depends on the documents and the spec alone. A document larger than
`shard_bytes` can leave a number without documents; such numbers are left out and the rest counted up.

The driver holds one entry a shard and one a file, whatever the number of documents or input files.
"""

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.shards import Shard, batches
from pipelines.store import Store

KEEP, SIZE = "verdict.keep", "verdict.text_bytes"
#: A place in the order: source name, path, ordinal.
Place = tuple[str, str, int]
#: The rows of one path in a shard: path, first ordinal, kept rows, kept bytes of the leaving text.
Segment = Sequence[Any]


@dataclass(frozen=True, slots=True)
class Part:
    """One shard of a run with the files that hold the leaving text and the verdict, and its segments, in row order."""

    shard: Shard
    sidecars: Mapping[str, str]  # column -> path, for the text (where measured), verdict.keep and verdict.text_bytes
    segments: tuple[Segment, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Neighbours in the final order: the kept rows number `first` to `last` (exclusive) of a shard."""

    shard: Shard
    sidecars: Mapping[str, str]
    first: int
    last: int
    before: int  # bytes of all documents before it
    nbytes: int


@dataclass(frozen=True, slots=True)
class File:
    """One file: its number in the cut and the pieces that may have documents of it, in order."""

    number: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of one shard, from one place in the order to another."""

    begin: Place
    end: Place
    part: int
    first: int
    rows: int
    nbytes: int


def pieces(parts: Iterable[Part]) -> list[Piece]:
    """All kept documents of the corpus, as stretches of shards in the final order."""
    shards: list[Part] = []
    runs: list[_Run] = []
    for number, part in enumerate(parts):
        runs += _joined(part, number) or _stretches(part, number)
        shards.append(replace(part, segments=()))
    runs.sort(key=lambda r: r.begin)
    assert _in_order(runs), "ingest cuts the sorted input into neighbouring shards"
    placed = []
    before = 0
    for run in runs:
        part = shards[run.part]
        placed.append(Piece(part.shard, part.sidecars, run.first, run.first + run.rows, before, run.nbytes))
        before += run.nbytes
    return placed


def _stretches(part: Part, number: int) -> Iterator[_Run]:
    first = 0
    for path, ordinal, rows, nbytes in part.segments:
        if rows:
            place = (part.shard.source, path, ordinal)
            yield _Run(place, place, number, first, rows, nbytes)
        first += rows


def _in_order(runs: Sequence[_Run]) -> bool:
    return all(a.end < b.begin for a, b in pairwise(runs))


def _joined(part: Part, number: int) -> list[_Run]:
    """One stretch for a whole shard in order, so that memory does not grow with the number of small input files."""
    kept = [s for s in part.segments if s[2]]
    places = [(path, ordinal) for path, ordinal, _, _ in kept]
    if not kept or any(map(operator.ge, places, places[1:])):
        return []
    begin, end = ((part.shard.source, *places[i]) for i in (0, -1))
    return [_Run(begin, end, number, 0, sum(s[2] for s in kept), sum(s[3] for s in kept))]


def files(placed: Sequence[Piece], shard_bytes: int, full: Mapping[int, Sequence[int]]) -> list[File]:
    """The files that have documents, in order.

    `full` gives, for each of the `wide` pieces by position, the numbers of the files that it has documents in.
    """
    members: dict[int, list[Piece]] = {}
    for position, piece in enumerate(placed):
        numbers = full[position] if position in full else _numbers(piece, shard_bytes)
        for number in numbers:
            members.setdefault(number, []).append(piece)
    return [File(number, tuple(found)) for number, found in sorted(members.items())]


def wide(placed: Sequence[Piece], shard_bytes: int) -> list[int]:
    """Positions of the pieces that may reach into a file in which no piece begins: only their rows tell if they do."""
    begun = {piece.before // shard_bytes for piece in placed}
    return [i for i, piece in enumerate(placed) if any(n not in begun for n in _numbers(piece, shard_bytes))]


def _numbers(piece: Piece, shard_bytes: int) -> range:
    """The files that a piece may have documents in; it begins in the first."""
    return range(piece.before // shard_bytes, (piece.before + piece.nbytes) // shard_bytes + 1)


@dataclass(frozen=True, slots=True)
class FileNumbers:
    """The numbers of the files that a piece has documents in, from narrow columns."""

    store: Store
    piece: Piece
    shard_bytes: int

    def __call__(self) -> list[int]:
        """The numbers, in order."""
        found: set[int] = set()
        for _, _, numbers in kept_rows(self.store, self.piece, self.shard_bytes):
            found.update(np.unique(numbers).tolist())
        return sorted(found)


def kept_rows(
    store: Store, piece: Piece, shard_bytes: int
) -> Iterator[tuple[int, NDArray[np.int64], NDArray[np.int64]]]:
    """For each row group of a piece: its number, the kept rows in it, and the file that each of them goes to."""
    rank, before = 0, piece.before
    for group, batch in enumerate(batches(store, piece.shard, [KEEP, SIZE], piece.sidecars)):
        kept = np.flatnonzero(batch[KEEP].to_numpy(zero_copy_only=False))
        ranks = rank + np.arange(len(kept))
        rank += len(kept)
        kept = kept[(ranks >= piece.first) & (ranks < piece.last)]
        if not len(kept):
            continue
        sizes = batch[SIZE].fill_null(0).to_numpy(zero_copy_only=False)[kept].astype(np.int64)
        ends = before + np.cumsum(sizes)
        yield group, kept, (ends - sizes) // shard_bytes
        before = int(ends[-1])
