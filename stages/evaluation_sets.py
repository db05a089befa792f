"""Texts of evaluation sets, which training text must not hold: from files, or written into the spec."""

from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePath
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, model_validator

from stages.catalog import did_you_mean
from stages.errors import DataError, SpecError
from stages.fingerprint import digest
from stages.sources.decompress import Flaw, plain

COMPRESSED = (".gz", ".zst")
PLAIN = (".txt", ".text", ".md")
#: Decompressed bytes that a set may have.
MOST_BYTES = 1 << 32


class EvaluationSet(BaseModel):
    """A file of items, or the items themselves (`texts`; canaries, say).

    JSON lines and Parquet: an item is a record, its text all strings within the chosen `fields`, in the fields' order, one a
    line. Plain text: an item is what stands between blank lines. Compressed with gzip or zstd or not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: str | None = None
    texts: tuple[str, ...] = ()
    fields: tuple[str, ...] = Field(default=("text",), min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _from_path(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _has_one_origin(self) -> Self:
        if (self.path is None) == (not self.texts):
            message = "an evaluation set is a file (`path`) or its items (`texts`), one of the two"
            raise ValueError(message)
        return self

    def content(self, name: str) -> bytes:
        """The bytes of its file.

        Raises:
            SpecError: there is no such file.
        """
        assert self.path is not None, "its items are in the spec"
        try:
            return Path(self.path).read_bytes()
        except OSError as error:
            raise SpecError(
                f"the evaluation set {name!r} cannot be read from {self.path!r} ({error.strerror}); correct its path, "
                "which must be a local file on every machine that works",
                set=name,
                path=self.path,
            ) from error

    def items(self, name: str, expected: str | None = None) -> list[str]:
        """The text of every item that has any; the file must have the SHA-256 that is `expected`.

        Raises:
            SpecError: there is no such file, it has changed, or it has no text in these fields.
            DataError: it is not what its name says.
        """
        if self.path is None:
            found = list(self.texts)
        else:
            content = self.content(name)
            if expected not in {None, digest(content)}:
                raise SpecError(
                    f"the evaluation set {name!r} at {self.path!r} has changed since the run was planned, or is another "
                    "one on this machine; restore it or run again",
                    set=name,
                    path=self.path,
                )
            found = list(self._read(name, content))
        found = [text for text in found if text.strip()]
        if not found:
            raise SpecError(
                f"the evaluation set {name!r} at {self.path!r} holds no text, so nothing could be found; "
                "name another file, or its fields of text",
                set=name,
            )
        return found

    def _read(self, name: str, content: bytes) -> Iterator[str]:
        assert self.path is not None, "its items are in the spec"
        suffixes = [s.lower() for s in PurePath(self.path).suffixes]
        while suffixes and suffixes[-1] in COMPRESSED:
            suffixes.pop()
        suffix = suffixes[-1] if suffixes else ""
        try:
            if suffix == ".parquet":
                return self._records(name, _rows(content))
            data = b"".join(plain(iter((content,)), MOST_BYTES))
            return _paragraphs(data.decode()) if suffix in PLAIN else self._records(name, _lines(data))
        except (Flaw, ValueError, pa.ArrowException) as error:
            raise DataError(
                f"the evaluation set {name!r} at {self.path!r} cannot be read: {error}; mend the file",
                set=name,
                path=self.path,
            ) from error

    def _records(self, name: str, records: list[Any]) -> Iterator[str]:
        known: dict[str, None] = {}
        for record in records:
            if not isinstance(record, dict):
                message = f"a record is {type(record).__name__} and not an object with fields"
                raise ValueError(message)  # noqa: TRY004 - the file's fault, said as its other faults are
            known |= dict.fromkeys(record)
        for field in self.fields:
            if field not in known:
                raise SpecError(
                    f"the evaluation set {name!r} at {self.path!r} has no field {field!r}"
                    f"{did_you_mean(field, list(known))}",
                    set=name,
                    field=field,
                )
        return ("\n".join(part for f in self.fields for part in _strings(record.get(f))) for record in records)


def _rows(content: bytes) -> list[Any]:
    rows: list[Any] = pq.read_table(BytesIO(content), use_threads=False).to_pylist()
    return rows


def _lines(data: bytes) -> list[Any]:
    """The records of JSON lines, or of one JSON array."""
    if data.lstrip()[:1] == b"[":
        found: list[Any] = orjson.loads(data)
        return found
    records = []
    for number, line in enumerate(data.splitlines(), 1):
        if line.strip():
            try:
                records.append(orjson.loads(line))
            except orjson.JSONDecodeError as error:
                message = f"line {number} is not JSON ({error})"
                raise ValueError(message) from error
    return records


def _paragraphs(text: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*text.splitlines(), ""]:
        if line.strip():
            lines.append(line)
        elif lines:
            yield "\n".join(lines)
            lines = []


def _strings(value: Any) -> Iterator[str]:
    """Every string within a value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from _strings(part)
    elif isinstance(value, list):
        for part in value:
            yield from _strings(part)
