"""Cuts a stream of batches into groups of rows that depend on the rows alone, not on how they arrived.

A group is full at `rows` rows, or before the row that would take its text (and lists of numbers) beyond `nbytes` bytes (a single
larger row is a group of its own).
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def groups(batches: Iterable[pa.RecordBatch], schema: pa.Schema, rows: int, nbytes: int) -> Iterator[pa.Table]:
    """Groups of the rows of all batches, in order, each in one piece. Holds one group and one batch."""
    waiting: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        if not batch.num_rows:
            continue
        ends = np.cumsum(_bytes(batch))
        start = 0
        while start < batch.num_rows:
            before = int(ends[start - 1]) if start else 0
            fits = int(np.searchsorted(ends, before + nbytes - held_bytes, side="right"))
            stop = max(start, min(fits, start + rows - held_rows, batch.num_rows))
            if stop == start and not held_rows:
                stop = start + 1
            if stop > start:
                waiting.append(batch.slice(start, stop - start))
                held_rows += stop - start
                held_bytes += int(ends[stop - 1]) - before
            if stop < batch.num_rows or held_rows == rows:
                yield _joined(waiting, schema)
                waiting, held_rows, held_bytes = [], 0, 0
            start = stop
    if waiting:
        yield _joined(waiting, schema)


def _bytes(batch: pa.RecordBatch) -> np.ndarray:
    """Bytes of text and of lists of numbers in each row, over all such columns."""
    total = np.zeros(batch.num_rows, np.int64)
    for column in batch.columns:
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
            total += pc.binary_length(column).fill_null(0).to_numpy(zero_copy_only=False)
        elif pa.types.is_list(column.type) and pa.types.is_primitive(column.type.value_type):
            width = column.type.value_type.bit_width // 8
            total += width * pc.list_value_length(column).fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return total


def _joined(batches: list[pa.RecordBatch], schema: pa.Schema) -> pa.Table:
    columns = [pa.concat_arrays([b.column(i) for b in batches]) for i in range(len(schema))]
    return pa.Table.from_arrays(columns, schema=schema)
