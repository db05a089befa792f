"""One column of all documents as flat files: numbers in their own type, so that every comparison is the run's.

values.npy      numbers and truth values as measured, zero where unknown; of a text its place in the dictionary
valid.npy       one truth value a document; absent where every document has a value
dictionary      the distinct texts (an Arrow file), in the order in which they were met
column.json     written last: what the others are
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.service.explorer.parts import array_at, find_json, new_array, write_json
from stages.errors import SpecError
from stages.rule_binding import Kind, kind_of_column

#: A text column with more distinct values is not held: its dictionary would not be small.
MAX_TEXTS = 1 << 18
READY = "column.json"


class TooManyTextsError(SpecError):
    """A text column has too many distinct values to be held as a dictionary."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"the column {column!r} holds more than {MAX_TEXTS:,} different texts, too many to filter or sort "
            "documents by; use a coarser column",
            column=column,
        )


@dataclass(frozen=True, slots=True)
class Column:
    """A column that is open for reading."""

    name: str
    kind: Kind
    values: NDArray[Any]
    valid: NDArray[np.bool_] | None
    dictionary: pa.Array | None

    @classmethod
    def at(cls, folder: Path, name: str) -> "Column":
        """The column that `ColumnWriter` left in a folder.

        Raises:
            TooManyTextsError: it was not held.
        """
        about = find_json(folder / READY)
        if about["kind"] is None:
            raise TooManyTextsError(name)
        valid = array_at(folder / "valid.npy") if about["nulls"] else None
        texts = _texts_at(folder / "dictionary") if about["kind"] == "text" else None
        return cls(name, about["kind"], array_at(folder / "values.npy"), valid, texts)

    def array(self, start: int, stop: int, *, nulls: bool = True) -> pa.Array:
        """The rows from `start` to `stop` as the run's rules read them; numbers are not copied.

        Without `nulls` anything at all stands where there is no value.
        """
        values = np.asarray(self.values[start:stop])
        validity = self._bitmap(start, stop) if nulls else None
        if self.kind == "truth":
            bits = pa.py_buffer(np.packbits(values, bitorder="little"))
            return pa.Array.from_buffers(pa.bool_(), len(values), [validity, bits])
        kind = pa.from_numpy_dtype(values.dtype)
        array = pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(values)])
        return array if self.dictionary is None else pa.DictionaryArray.from_arrays(array, self.dictionary, safe=False)

    def _bitmap(self, start: int, stop: int) -> pa.Buffer | None:
        if self.valid is None:
            return None
        return pa.py_buffer(np.packbits(self.valid[start:stop], bitorder="little"))

    def present(self, rows: Any) -> NDArray[np.bool_]:
        """Which of these rows (numbers or a slice) have a value."""
        if self.valid is None:
            return np.ones(len(self.values[rows]), bool)
        found: NDArray[np.bool_] = np.asarray(self.valid[rows])
        return found

    def some(self, rows: NDArray[Any]) -> list[Any]:
        """The values of a few rows, None where unknown."""
        known = self.present(rows).tolist()
        values = self.values[rows].tolist()
        if self.dictionary is not None:
            return [self.dictionary[v].as_py() if k else None for v, k in zip(values, known, strict=True)]
        return [v if k else None for v, k in zip(values, known, strict=True)]


class ColumnWriter:
    """Takes a column, shard by shard, in the order of the run."""

    def __init__(self, folder: Path, name: str, field: pa.Field, rows: int) -> None:
        kind = kind_of_column(field)
        if kind is None:
            raise SpecError(f"no rule or filter can test {name!r}, a column of {field.type}", column=name)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._at, self._nulls = folder, 0, 0
        self._kind: Kind | None = kind
        self._codes: dict[str, int] = {}
        own = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        dtype = {"text": np.int32, "truth": np.bool_}.get(kind) or own.to_pandas_dtype()
        self._values = new_array(folder / "values.npy", dtype, rows)
        self._valid = new_array(folder / "valid.npy", np.bool_, rows)

    @staticmethod
    def holds(field: pa.Field) -> bool:
        """Whether a column of this type can be held."""
        return kind_of_column(field) is not None

    def add(self, values: pa.ChunkedArray) -> None:
        """The next documents."""
        for chunk in values.chunks:
            if self._kind is None:
                return
            end = self._at + len(chunk)
            self._nulls += chunk.null_count
            self._valid[self._at : end] = chunk.is_valid().to_numpy(zero_copy_only=False)
            self._values[self._at : end] = self._coded(chunk) if self._kind == "text" else self._numbers(chunk)
            self._at = end

    def close(self) -> None:
        """Everything was added."""
        del self._values, self._valid
        if not self._nulls or self._kind is None:
            (self._folder / "valid.npy").unlink()
        if self._kind is None:
            (self._folder / "values.npy").unlink()
        elif self._kind == "text":
            write_texts(self._folder / "dictionary", iter([pa.array(list(self._codes), pa.string())]))
        write_json(self._folder / READY, {"kind": self._kind, "nulls": self._nulls})

    def _numbers(self, chunk: pa.Array) -> NDArray[Any]:
        decoded = chunk.dictionary_decode() if pa.types.is_dictionary(chunk.type) else chunk
        filled = decoded.fill_null(pa.scalar(0).cast(decoded.type)) if decoded.null_count else decoded
        numbers: NDArray[Any] = filled.to_numpy(zero_copy_only=False)
        return numbers

    def _coded(self, chunk: pa.Array) -> NDArray[Any] | int:
        encoded = chunk if pa.types.is_dictionary(chunk.type) else chunk.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        mine = np.array([0 if t is None else self._codes.setdefault(t, len(self._codes)) for t in texts], np.int32)
        if len(self._codes) > MAX_TEXTS:
            self._kind, self._codes = None, {}
            return 0
        if not len(mine):
            return 0
        codes: NDArray[Any] = mine[encoded.indices.fill_null(0).to_numpy(zero_copy_only=False)]
        return codes


def texts_at(path: Path) -> pa.ChunkedArray:
    """The texts that `write_texts` wrote."""
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()["text"]


def write_texts(path: Path, batches: Iterator[pa.Array]) -> None:
    """Write texts as an Arrow file that is read without being copied."""
    schema = pa.schema([("text", pa.string())])
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for texts in batches:
            writer.write_batch(pa.record_batch([texts], schema))


def _texts_at(path: Path) -> pa.Array:
    found = texts_at(path)
    return pa.concat_arrays(found.chunks) if found.num_chunks else pa.array([], pa.string())
