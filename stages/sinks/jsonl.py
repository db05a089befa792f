"""JSON lines, compressed: one document a line, readable everywhere."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from stages.base import Sink
from stages.errors import DataError
from stages.sinks.cutting import groups


class Jsonl(Sink):
    """Documents as JSON lines in zstd: a frame for each `rows` documents or `group_bytes` of text.

    A line has the columns that are not null, in order, with `meta` as an object; text is UTF-8, not escaped.
    Frames decompress on their own, so a reader can work on them in parallel. Equal rows give equal bytes.
    """

    kind: Literal["jsonl"] = "jsonl"
    suffix: ClassVar[str] = ".jsonl.zst"

    rows: int = Field(default=1000, ge=1, description="documents in a frame")
    group_bytes: int = Field(default=16_000_000, ge=1, description="bytes of text in a frame")
    level: int = Field(default=3, ge=1, le=19, description="zstd level")
    columns: tuple[str, ...] | None = Field(
        default=None, description="full names of what is written, such as tokens.ids; null: the document's columns"
    )

    def wanted(self, documents: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - as named
        """The document's columns, or what was asked for."""
        return tuple(documents if self.columns is None else dict.fromkeys(self.columns))

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: BinaryIO) -> None:
        """Write every batch to `file`.

        Raises:
            DataError: a document's `meta` is not a JSON object.
        """
        import zstandard  # noqa: PLC0415 - the catalogue of stages is read at every start

        compressor = zstandard.ZstdCompressor(level=self.level, write_checksum=True)
        empty = True
        for group in groups(batches, schema.remove_metadata(), self.rows, self.group_bytes):
            file.write(compressor.compress(_lines(group)))
            empty = False
        if empty:
            file.write(compressor.compress(b""))


def _lines(group: pa.Table) -> bytes:
    import orjson  # noqa: PLC0415 - the catalogue of stages is read at every start

    options = orjson.OPT_APPEND_NEWLINE
    return b"".join(orjson.dumps(line_of(row), option=options) for row in group.to_pylist())


def line_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """What is not null in a document, with `meta` as an object.

    Raises:
        DataError: the document's `meta` is not a JSON object.
    """
    line = {name: value for name, value in row.items() if value is not None}
    if "meta" in line:
        line["meta"] = _embedded(line["meta"], row)
    return line


def _embedded(meta: str, row: Mapping[str, Any]) -> Any:
    """The object that `meta` holds, with every number as it was written."""
    import orjson  # noqa: PLC0415 - the catalogue of stages is read at every start

    try:
        value = orjson.loads(meta)
    except orjson.JSONDecodeError as error:
        value, reason = None, str(error)
    else:
        reason = f"it is a {type(value).__name__}"
    if not isinstance(value, dict):
        name = row.get("doc_id")
        raise DataError(f"the meta of document {name} is not a JSON object ({reason}); mend its source", doc_id=name)
    return orjson.Fragment(meta) if "\n" not in meta and "\r" not in meta else value
