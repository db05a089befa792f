"""Parquet files: what most tools read."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from stages.base import Sink
from stages.sinks.cutting import groups

#: Columns with few distinct values, where a dictionary pays.
_REPETITIVE = ("source", "path", "snapshot", "domain", "license", "lang")


class Parquet(Sink):
    """Documents as Parquet: row groups of `rows` documents or `group_bytes` of text, zstd, fixed options.

    Equal rows give equal bytes. The file names the version of the Parquet library that wrote it and nothing else
    of its surroundings.
    """

    kind: Literal["parquet"] = "parquet"
    suffix: ClassVar[str] = ".parquet"

    rows: int = Field(default=1000, ge=1, description="documents in a row group")
    group_bytes: int = Field(default=16_000_000, ge=1, description="bytes of text in a row group")
    level: int = Field(default=3, ge=1, le=19, description="zstd level")
    columns: tuple[str, ...] | None = Field(
        default=None, description="full names of what is written, such as tokens.ids; null: the document's columns"
    )

    def wanted(self, documents: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - as named
        """The document's columns, or what was asked for."""
        return tuple(documents if self.columns is None else dict.fromkeys(self.columns))

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: BinaryIO) -> None:
        """Write every batch to `file`."""
        import pyarrow.parquet as pq  # noqa: PLC0415 - the catalogue of stages is read at every start

        plain = schema.remove_metadata()
        dictionary = [name for name in plain.names if name in _REPETITIVE]
        with pq.ParquetWriter(
            file, plain, version="2.6", compression="zstd", compression_level=self.level, use_dictionary=dictionary
        ) as writer:
            for group in groups(batches, plain, self.rows, self.group_bytes):
                writer.write_table(group, row_group_size=group.num_rows)
