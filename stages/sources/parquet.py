"""Parquet files with a column of text."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stages.document import MAPPED
from stages.errors import DataError
from stages.sources.base import Input, Source
from stages.sources.record import compact
from stages.sources.rows import ROWS, Rows

#: Bytes of a file read ahead, and about as many decoded at once.
BUFFER = 1 << 20
BATCH_BYTES = 8_000_000
BATCH_ROWS = 1_000


class Parquet(Source):
    """Parquet files; text may be a string, a large string or a dictionary of them.

    A row's ordinal is its place in the file. Other columns of strings, numbers, truth values, dates and times go to
    `meta`; columns of other kinds are left out and counted as skipped. A row without a text or with bytes that are
    not UTF-8 is malformed; so is, as one record, all that follows a corrupt place.
    """

    kind: Literal["parquet"] = "parquet"

    def read(self, file: Input, rows: Rows) -> None:
        """Add every row of `file`.

        Raises:
            DataError: it has no column of text, or one of another type.
        """
        if not file.size:
            return
        done = 0
        try:
            with closing(file.open()) as stored, closing(_opened(stored)) as parquet:
                plan = _Plan(self, file.path, parquet.schema_arrow)
                for batch in _batches(parquet, plan.columns):
                    plan.add(batch, done, rows)
                    done += batch.num_rows
                for name in plan.left_out:
                    rows.skip(f"column {name}", done)
        except (pa.ArrowException, OSError) as error:
            problem = str(error).partition("\n")[0]
            message = f"{file.path}, after {done} records: the Parquet file is corrupt ({problem}); write it again"
            rows.malformed(done, "corrupt", message)


def _opened(stored: Any) -> pq.ParquetFile:
    """The file, with strings as dictionaries: a small file can repeat a long string without end."""
    options = {"buffer_size": BUFFER, "pre_buffer": False}
    first = pq.ParquetFile(stored, **options)
    strings = [f.name for f in first.schema_arrow if _is_text(f.type)]
    return pq.ParquetFile(stored, metadata=first.metadata, read_dictionary=strings, **options)


def _batches(parquet: pq.ParquetFile, columns: list[str]) -> Iterator[pa.RecordBatch]:
    for group in range(parquet.num_row_groups):
        shape = parquet.metadata.row_group(group)
        mean = shape.total_byte_size / max(1, shape.num_rows)
        rows = int(np.clip(BATCH_BYTES / max(1, mean), 1, BATCH_ROWS))
        yield from parquet.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False)


class _Plan:
    """Which columns of one file become what."""

    def __init__(self, source: Parquet, path: str, schema: pa.Schema) -> None:
        self._limits = (source.max_document_bytes, source.max_record_bytes)
        self._path = path
        fields = {c: source.fields.get(c, c) for c in MAPPED}
        self._text = fields.pop("text")
        self._check(schema, [self._text, *fields.values()])
        kinds = {f.name: f.type for f in schema}
        self._mapped = {c: f for c, f in fields.items() if f in kinds and _is_text_or_integer(kinds[f])}
        rest = [f for f in kinds if f != self._text and f not in self._mapped.values()]
        self._meta = [f for f in rest if _is_simple(kinds[f])]
        self.left_out = [f for f in rest if not _is_simple(kinds[f])]
        self.columns = [self._text, *dict.fromkeys(self._mapped.values()), *self._meta]

    def _check(self, schema: pa.Schema, wanted: list[str]) -> None:
        there = ", ".join(f"{f.name}: {_values(f.type)}" for f in schema) or "none"
        advice = f"(columns: {there}); name the column of text in the source: `fields: {{text: COLUMN}}`"
        if self._text not in schema.names:
            raise DataError(f"{self._path} has no column {self._text!r} {advice}", path=self._path)
        if len(set(schema.names)) < len(schema.names):
            raise DataError(f"{self._path} has two columns of one name (columns: {there}); rename one", path=self._path)
        for field in schema:
            if field.name in wanted and isinstance(field.type, pa.BaseExtensionType):
                problem = f"the column {field.name!r} of {self._path} has the extension type {field.type}"
                raise DataError(f"{problem}; write it as a plain string", path=self._path, column=field.name)
        if not _is_text(schema.field(self._text).type):
            kind = schema.field(self._text).type
            problem = f"the column {self._text!r} of {self._path} is {kind}, not a string"
            raise DataError(f"{problem} {advice}", path=self._path, column=self._text)

    def add(self, batch: pa.RecordBatch, first: int, rows: Rows) -> None:
        """Add the rows of a batch, the first of which has the ordinal `first`, decoding a bounded part at a time."""
        texts = _sizes(batch[self._text])
        sizes = sum((_sizes(c) for c in batch.columns if _is_text(c.type)), np.zeros(batch.num_rows, np.int64))
        max_text, max_record = self._limits
        large = (texts > max_text) | (sizes > max_record)
        for row in np.flatnonzero(large).tolist():
            message = f"it has {sizes[row]} bytes, {texts[row]} of them text, more than max_document_bytes = {max_text} allows"
            self._refuse(first + row, "too-large", message, rows)
        kept = np.flatnonzero(~large)
        ends = np.cumsum(sizes[kept])
        at = 0
        while at < len(kept):
            before = ends[at - 1] if at else 0
            stop = max(at + 1, int(np.searchsorted(ends, before + BATCH_BYTES, "right")))
            part = kept[at:stop]
            self._add_part(batch.take(pa.array(part)), part + first, rows)
            at = stop

    def _add_part(self, batch: pa.RecordBatch, ordinals: np.ndarray, rows: Rows) -> None:
        columns = {f: _decoded(batch[f]) for f in batch.schema.names}
        wrong = _not_utf8([c for c in columns.values() if pa.types.is_string(c.type)])
        missing = columns[self._text].is_null().to_numpy(zero_copy_only=False)
        for row in np.flatnonzero(wrong).tolist():
            self._refuse(int(ordinals[row]), "utf-8", "its bytes are not UTF-8", rows)
        for row in np.flatnonzero(missing & ~wrong).tolist():
            self._refuse(int(ordinals[row]), "no-text", f"its {self._text!r} is null", rows)
        good = pa.array(~(wrong | missing))
        columns = {f: c.filter(good) for f, c in columns.items()}
        count = len(columns[self._text])
        found = {c: columns[f].cast(pa.string()) for c, f in self._mapped.items()}
        found["text"] = columns[self._text]
        found["ordinal"] = pa.array(ordinals).filter(good)
        found["meta"] = _as_json({f: columns[f] for f in self._meta}, count)
        arrays = [found.get(name) for name in ROWS.names]
        nulls = pa.nulls(count, pa.string())
        batch = pa.RecordBatch.from_arrays([nulls if a is None else a for a in arrays], schema=ROWS)
        rows.add_batch(batch)

    def _refuse(self, ordinal: int, reason: str, message: str, rows: Rows) -> None:
        rows.malformed(ordinal, reason, f"{self._path} (record {ordinal}): {message}")


def _values(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    kind = _values(kind)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _is_text_or_integer(kind: pa.DataType) -> bool:
    return _is_text(kind) or bool(pa.types.is_integer(kind))


def _is_simple(kind: pa.DataType) -> bool:
    numbers: bool = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    return _is_text(kind) or numbers or pa.types.is_timestamp(kind) or pa.types.is_date(kind) or pa.types.is_time(kind)


def _sizes(column: pa.Array) -> np.ndarray:
    """Bytes of each string, decoding none."""
    if pa.types.is_dictionary(column.type):
        sizes = pc.binary_length(column.dictionary).take(column.indices)
    else:
        sizes = pc.binary_length(column)
    return np.asarray(pc.fill_null(sizes, 0).cast(pa.int64()))


def _decoded(column: pa.Array) -> pa.Array:
    """Strings as plain strings, dates and times as their text, everything else as it is."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if _is_text(column.type) or pa.types.is_temporal(column.type):
        return column.cast(pa.string())
    return column


def _not_utf8(columns: list[pa.Array]) -> np.ndarray:
    """A mask of the rows where any string has bytes that are not UTF-8."""
    wrong = np.zeros(len(columns[0]), bool)
    for column in columns:
        try:
            column.validate(full=True)
        except pa.ArrowInvalid:
            wrong |= [value is not None and not _decodes(value) for value in column.view(pa.binary()).to_pylist()]
    return wrong


def _decodes(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def _as_json(columns: dict[str, pa.Array], count: int) -> pa.Array:
    """One JSON object a row without the fields that are null; null where nothing is left."""
    names = list(columns)
    values = zip(*(c.to_pylist() for c in columns.values()), strict=True) if columns else ((),) * count
    found = ({n: v for n, v in zip(names, row, strict=True) if v is not None} for row in values)
    return pa.array([compact(row) if row else None for row in found], pa.string())
