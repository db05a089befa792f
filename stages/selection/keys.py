"""Documents as sortable words of 64 bits: group, key, then `doc_id`, in one order wherever they are compared."""

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.chance import halves
from stages.errors import DataError, SpecError
from stages.flow import TO
from stages.quantiles import images

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]
Real = NDArray[np.float64]
Mask = NDArray[np.bool_]

#: The key behind all numbers, infinities too: what has no value.
LAST = np.uint64(0xFFFFFFFFFFFFFFFF)
_SIGN = np.uint64(1 << 63)
#: The most that one document may count: no file holds a trillion tokens.
MOST = 1 << 40


@dataclass(frozen=True, slots=True)
class Rows:
    """Some documents of a shard or partition, one value of each field a document.

    `place` is a number for shard and row, or the row alone; `high` and `low` are the halves of the `doc_id`.
    """

    place: Ints
    group: Keys
    key: Keys
    high: Keys
    low: Keys
    amount: Ints

    def take(self, chosen: Mask | Ints) -> "Rows":
        """Some of the documents."""
        return Rows(*(getattr(self, f.name)[chosen] for f in fields(self)))

    def table(self) -> pa.Table:
        """The same as a table."""
        return pa.table({f.name: getattr(self, f.name) for f in fields(self)})

    def to_shard(self, shard: int) -> pa.Table:
        """The same as a table for the shard itself, so that later rounds need not read its columns again."""
        return self.table().append_column(TO, pa.array(np.full(len(self.place), shard)))

    @classmethod
    def of(cls, table: pa.Table) -> "Rows":
        """The rows that `table` gave."""
        return cls(*(table[f.name].to_numpy() for f in fields(cls)))


def rows_of(table: pa.Table, key: Keys, amount: Ints | None = None, group: Keys | None = None) -> Rows:
    """Rows with their places from `row` and `doc_id`; without a group all are in one, without an amount each counts 1."""
    high, low = halves(table["doc_id"])
    return Rows(
        table["row"].to_numpy(),
        np.zeros(len(key), np.uint64) if group is None else group,
        key,
        high,
        low,
        np.ones(len(key), np.int64) if amount is None else amount,
    )


def numbers(table: pa.Table, name: str, kind: str) -> tuple[Real, Mask]:
    """A column's values as floats, and which of them are there; NaN is not.

    Raises:
        SpecError: the column does not hold numbers.
    """
    values = table[name]
    if not (pa.types.is_integer(values.type) or pa.types.is_floating(values.type) or pa.types.is_boolean(values.type)):
        raise SpecError(
            f"{kind} orders documents by {name!r}, which holds {values.type}; name a column of numbers", column=name
        )
    if pa.types.is_boolean(values.type):
        values = values.cast(pa.int8())
    real: Real = pc.cast(values, pa.float64(), safe=False).fill_null(np.nan).to_numpy()
    return real, ~np.isnan(real)


def amounts(table: pa.Table, name: str, kind: str) -> tuple[Ints, Mask]:
    """A column's whole numbers, 0 for null, and which of them are there.

    Raises:
        SpecError: the column does not hold whole numbers.
        DataError: a number is negative, or more than any document can have.
    """
    values = table[name]
    if not pa.types.is_integer(values.type):
        raise SpecError(
            f"{kind} counts {name!r}, which holds {values.type}; name a column of whole numbers, such as tokens, "
            "words or bytes",
            column=name,
        )
    there = values.is_valid().to_numpy()
    if pa.types.is_uint64(values.type):
        values = pc.min_element_wise(values, pa.scalar(MOST + 1, pa.uint64()))
    whole: Ints = values.fill_null(0).cast(pa.int64()).to_numpy()
    wrong = np.flatnonzero((whole < 0) | (whole > MOST))
    if len(wrong):
        document = table["doc_id"][int(wrong[0])].as_py()
        raise DataError(
            f"{name!r} holds {whole[wrong[0]]} for document {document}, and {kind} counts amounts from 0 to 2**40; "
            "name a column that holds amounts",
            column=name,
            doc_id=document,
        )
    return whole, there


def need_some(kind: str, usable: int, lacking: Mapping[str, int]) -> None:
    """See that there is something to choose from; `lacking` counts the documents without a value by column.

    Raises:
        DataError: there are documents, and none can be used.
    """
    if not usable and any(lacking.values()):
        told = " and ".join(f"{n:,} have no {name!r}" for name, n in lacking.items() if n)
        raise DataError(
            f"{kind} can use none of the documents that it is given: {told}; name a column that is measured for them "
            "(a model for another language measures nothing), or mend the step that writes it"
        )


def rising(values: Real, there: Mask) -> Keys:
    """Keys in the order of the values, what is not there last."""
    return np.where(there, images(np.where(there, values, 0.0)), LAST)


def falling(values: Real, there: Mask) -> Keys:
    """Keys in the opposite order of the values, what is not there last."""
    return np.where(there, ~images(np.where(there, values, 0.0)), LAST)


def values_of(keys: Keys) -> Real:
    """The numbers that `falling` made these keys of, NaN for what was not there."""
    image = ~keys
    real: Real = np.where(image & _SIGN, image ^ _SIGN, ~image).view(np.float64)
    return np.where(keys == LAST, np.nan, real)


def in_order(rows: Rows) -> Ints:
    """Positions of the rows by group, key and `doc_id`."""
    order = np.argsort(rows.key)
    in_turn = rows.key[order]
    same = in_turn[1:] == in_turn[:-1]
    if same.any():
        tied = np.append(same, False) | np.append(False, same)
        some = order[tied]
        order[tied] = some[np.lexsort((rows.low[some], rows.high[some], rows.key[some]))]
    groups, code = np.unique(rows.group, return_inverse=True)
    if len(groups) > 1:
        # numpy sorts numbers of 16 bits by radix
        narrow = code[order].astype(np.uint16 if len(groups) <= 1 << 16 else np.int64)
        order = order[np.argsort(narrow, kind="stable")]
    return order


def before(rows: Rows, key: np.uint64, high: np.uint64, low: np.uint64) -> Mask:
    """Whether each row stands before a document, groups apart."""
    same = rows.key == key
    earlier: Mask = (rows.key < key) | (same & ((rows.high < high) | ((rows.high == high) & (rows.low < low))))
    return earlier
