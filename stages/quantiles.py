"""Exact nearest-rank percentiles of a corpus in bounded memory: radix selection in rounds.

Every number has an unsigned image of the same order. Each round counts, over all shards, the next few bits
of the images that share a prefix with the wanted value, and so fixes those bits; after the last round the
prefix is the value. Only counts travel: they add up in any order, so the answer does not depend on
parallelism, and it is the very value that sorting the whole column would give.

    state = Percentiles.start(requests, fields)
    while not state.done:
        counts = merge(state.count(table) for table in shards)      # any grouping, any order
        state = state.refine(counts)
    state.thresholds()

Rounds: 2 for 32-bit columns, 4 for 64-bit ones, one more first where there are groups; more where there are many
groups, since a round's table is at most `MAX_CELLS` counts of 8 bytes (8 MB) for each percentile asked for.
At most `MAX_GROUPS` groups.
"""

# shape suffixes: P percentiles, G groups, D next digits

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.errors import SpecError
from stages.rule_binding import Request
from stages.verdict import Threshold

MAX_CELLS = 1 << 20
MAX_GROUPS = 1 << 16
MAX_BITS = 16

Images = NDArray[np.uint64]
#: Counts of one round: for each population either rows by group, or for each percentile (cells, counts).
Counts = Mapping[int, Any]


@dataclass(frozen=True, slots=True)
class Population:
    """The values that one or more percentiles are taken of, and what is known of those percentiles.

    Shapes: P percentiles, G groups (1 without `per`).
    """

    column: str
    per: str | None
    requests: tuple[Request, ...]
    dtype: str  # numpy's name of the column's type
    width: int  # bits of an image
    groups: tuple[str, ...] | None  # None: not known yet; without `per` one nameless group
    fixed: int  # leading bits that are known
    prefix_PG: NDArray[np.uint64]  # those bits
    rank_PG: NDArray[np.int64]  # 1-based, among the values with that prefix

    @property
    def done(self) -> bool:
        """Whether every bit is known."""
        return self.groups is not None and (self.fixed == self.width or not self.groups)

    @property
    def bits(self) -> int:
        """How many bits the next round fixes: as many as its table allows."""
        assert self.groups is not None
        room = MAX_CELLS // max(1, len(self.groups))
        return min(MAX_BITS, self.width - self.fixed, room.bit_length() - 1)


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Where the search for all percentiles of a policy stands. Picklable."""

    populations: tuple[Population, ...]

    @classmethod
    def start(cls, requests: Sequence[Request], fields: Mapping[str, pa.Field]) -> Self:
        """Nothing known yet, for these requests over columns of these types."""
        asked: dict[tuple[str, str | None], list[Request]] = {}
        for request in dict.fromkeys(requests):
            asked.setdefault((request.column, request.per), []).append(request)
        populations = []
        for (column, per), wanted in asked.items():
            dtype = np.dtype(fields[column].type.to_pandas_dtype())
            width = 32 if dtype.itemsize <= 4 else 64  # noqa: PLR2004  # bytes
            start = None if per else ("",)
            shape = (len(wanted), 1)
            nothing = np.zeros(shape, np.uint64), np.zeros(shape, np.int64)
            populations.append(Population(column, per, tuple(wanted), dtype.name, width, start, 0, *nothing))
        return cls(tuple(populations))

    @property
    def done(self) -> bool:
        """Whether every percentile is known."""
        return all(p.done for p in self.populations)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that `count` reads in this round."""
        names = (c for p in self.populations if not p.done for c in (p.column, p.per) if c)
        return tuple(dict.fromkeys(names))

    def count(self, table: pa.Table) -> Counts:
        """Counts of this round over the rows of one table (a shard or a part of one)."""
        return {i: _count(p, table) for i, p in enumerate(self.populations) if not p.done}

    def refine(self, counts: Counts) -> "Percentiles":
        """What is known after a round whose counts over the whole corpus are `counts`.

        Raises:
            SpecError: there are too many groups.
        """
        return Percentiles(tuple(p if p.done else _refine(p, counts.get(i)) for i, p in enumerate(self.populations)))

    def thresholds(self) -> dict[Request, Threshold]:
        """The value of every percentile: a number, with `per` one for each group, None where there is no value."""
        found: dict[Request, Threshold] = {}
        for population in self.populations:
            assert population.done, population.column
            groups = population.groups or ()
            for row, request in enumerate(population.requests):
                images = population.prefix_PG[row] if groups else np.zeros(0, np.uint64)
                values = _values(images, population)
                by_group = dict(zip(groups, values, strict=True))
                found[request] = by_group if request.per else by_group.get("")
        return found


def merge(parts: Iterable[Counts]) -> Counts:
    """The counts of all parts together."""
    total: dict[int, Any] = {}
    for part in parts:
        for index, found in part.items():
            total[index] = found if index not in total else _add(total[index], found)
    return total


def nearest_rank(fraction: Fraction, rows: int) -> int:
    """The 1-based rank of a percentile among `rows` sorted values: the least that covers the fraction, at least 1."""
    return max(1, math.ceil(fraction * rows))


def images(values: NDArray[Any]) -> Images:
    """Unsigned images of the same order: 32 bits for types of up to 4 bytes, else 64. -0.0 is 0.0."""
    small = values.dtype.itemsize <= 4  # noqa: PLR2004  # bytes
    if np.issubdtype(values.dtype, np.floating):
        real: Any = values.astype(np.float32 if small else np.float64)
        raw: Any = (real + real.dtype.type(0)).view(np.uint32 if small else np.uint64)  # adding 0 turns -0.0 into 0.0
        sign = raw.dtype.type(1 << (31 if small else 63))
        image: Images = np.where(raw & sign, ~raw, raw | sign).astype(np.uint64)
        return image
    if np.issubdtype(values.dtype, np.unsignedinteger):
        return values.astype(np.uint64)
    whole: Any = values.astype(np.int64)
    moved: Images = (whole + np.int64(1 << 31) if small else whole ^ np.int64(-(1 << 63))).view(np.uint64)
    return moved


def _values(found: Images, population: Population) -> list[int | float]:
    """The numbers that have these images."""
    dtype = np.dtype(population.dtype)
    small = population.width == 32  # noqa: PLR2004  # bits
    if np.issubdtype(dtype, np.floating):
        raw: Any = found.astype(np.uint32 if small else np.uint64)
        sign = raw.dtype.type(1 << (population.width - 1))
        real: Any = np.where(raw & sign, raw ^ sign, ~raw).astype(raw.dtype).view(np.float32 if small else np.float64)
        return [float(v) for v in real]
    offset = 0 if np.issubdtype(dtype, np.unsignedinteger) else 1 << (population.width - 1)
    return [int(v) - offset for v in found]


def _count(population: Population, table: pa.Table) -> Any:
    column = _array(table[population.column])
    present = column.is_valid()
    groups = None
    if population.per:
        groups = _array(table[population.per]).cast(pa.string())
        present = pc.and_(present, groups.is_valid())
    if population.groups is None:
        assert groups is not None
        tally = pc.value_counts(groups.filter(present))
        return dict(zip(tally.field(0).to_pylist(), tally.field(1).to_pylist(), strict=True))
    image = images(column.filter(present).to_numpy(zero_copy_only=False))
    if groups is None:
        place = np.zeros(len(image), np.int64)
    else:
        names = pa.array(population.groups, pa.string())
        place = pc.index_in(groups.filter(present), value_set=names).to_numpy(zero_copy_only=False).astype(np.int64)
    return [_cells(population, row, image, place) for row in range(len(population.requests))]


def _cells(population: Population, row: int, image: Images, place: NDArray[np.int64]) -> tuple[Any, Any]:
    """Which cells (group x next bits) have rows, and how many."""
    bits = population.bits
    rest = population.width - population.fixed
    if population.fixed:
        same = (image >> np.uint64(rest)) == population.prefix_PG[row][place]
        image, place = image[same], place[same]
    digit = (image >> np.uint64(rest - bits)) & np.uint64((1 << bits) - 1)
    dense = np.bincount((place << bits) | digit.astype(np.int64))
    cells = np.flatnonzero(dense)
    return cells.astype(np.int32), dense[cells]


def _refine(population: Population, found: Any) -> Population:
    if population.groups is None:
        return _with_groups(population, found or {})
    bits = population.bits
    prefix_PG, rank_PG = population.prefix_PG.copy(), population.rank_PG.copy()
    for row, (cells, counts) in enumerate(found or []):
        table_GD = np.zeros((len(population.groups), 1 << bits), np.int64)
        table_GD.reshape(-1)[cells] = counts
        below_GD = np.cumsum(table_GD, axis=1)
        if not rank_PG[row].any():  # the first round without groups tells how many values there are
            rank_PG[row] = nearest_rank(population.requests[row].percentile.fraction, int(below_GD[0, -1]))
        digit_G = (below_GD < rank_PG[row][:, None]).sum(axis=1)
        before_G = np.where(digit_G > 0, below_GD[np.arange(len(digit_G)), np.maximum(digit_G - 1, 0)], 0)
        prefix_PG[row] = (prefix_PG[row] << np.uint64(bits)) | digit_G.astype(np.uint64)
        rank_PG[row] -= before_G
    if not found or not len(found[0][0]):  # no value in the whole corpus
        return replace(population, groups=())
    return replace(population, fixed=population.fixed + bits, prefix_PG=prefix_PG, rank_PG=rank_PG)


def _with_groups(population: Population, sizes: Mapping[str, int]) -> Population:
    if len(sizes) > MAX_GROUPS:
        message = (
            f"per: {population.per} has more than {MAX_GROUPS:,} distinct values, too many for a percentile of "
            f"{population.column} each; group by a coarser column"
        )
        raise SpecError(message, column=population.per)
    names = sorted(sizes)
    ranks = [[nearest_rank(r.percentile.fraction, sizes[n]) for n in names] for r in population.requests]
    shape = (len(population.requests), len(names))
    return replace(
        population,
        groups=tuple(names),
        prefix_PG=np.zeros(shape, np.uint64),
        rank_PG=np.array(ranks, np.int64).reshape(shape),
    )


def _add(one: Any, other: Any) -> Any:
    if isinstance(one, Mapping):
        both = dict(one)
        for group, rows in other.items():
            both[group] = both.get(group, 0) + rows
        return both
    return [_add_cells(a, b) for a, b in zip(one, other, strict=True)]


def _add_cells(one: tuple[Any, Any], other: tuple[Any, Any]) -> tuple[Any, Any]:
    cells, place = np.unique(np.concatenate([one[0], other[0]]), return_inverse=True)
    counts = np.zeros(len(cells), np.int64)
    np.add.at(counts, place, np.concatenate([one[1], other[1]]))
    return cells, counts


def _array(values: pa.ChunkedArray | pa.Array) -> pa.Array:
    whole = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
    if isinstance(whole, pa.ChunkedArray):
        whole = pa.concat_arrays(whole.chunks) if whole.num_chunks else pa.array([], whole.type)
    return whole.dictionary_decode() if pa.types.is_dictionary(whole.type) else whole
