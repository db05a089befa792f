"""What a source is: a frozen description of files and of how their records become documents.

A source reads one file at a time into `Rows` (stages.sources.rows). It holds no more of a file than one block
and one record, so its memory depends on neither. What cannot become a document is reported to `Rows` as
malformed, with a reason and a position; what was never meant to be one is reported as skipped.
"""

import difflib
from collections.abc import Iterator, Sequence
from io import BytesIO
from typing import Annotated, Any, BinaryIO, NamedTuple, Protocol

from pydantic import Field, field_validator

from stages.base import Stage
from stages.document import MAPPED
from stages.sources.rows import Rows

#: What a record may need beyond its text's share: twice the text (escapes) and this much for its other fields.
RECORD_SLACK_BYTES = 1 << 20
#: Sizes and counts fit the integers of Arrow and NumPy.
MAX_INT64 = 2**63 - 1


class Input(Protocol):
    """One file to read, wherever it is."""

    @property
    def path(self) -> str:
        """Below the root of the source's glob."""

    @property
    def size(self) -> int:
        """Bytes as stored."""

    def blocks(self) -> Iterator[bytes]:
        """The stored bytes from the beginning, in blocks of a fixed size that no storage changes."""

    def open(self) -> BinaryIO:
        """The stored bytes as a file with random access."""


class Small(NamedTuple):
    """A file that is held whole, because there may be a million of them."""

    path: str
    data: bytes

    @property
    def size(self) -> int:
        """Bytes as stored."""
        return len(self.data)

    def blocks(self) -> Iterator[bytes]:
        """The stored bytes, as one block."""
        return iter((self.data,))

    def open(self) -> BinaryIO:
        """The stored bytes as a file with random access."""
        return BytesIO(self.data)


class Source(Stage):
    """Reads records from files; the engine turns them into document shards."""

    #: A glob, local or `s3://`. `*` and `?` stop at `/`, `**` is any number of folders; a folder means all below it.
    path: str = Field(min_length=1)
    #: Document column -> record field, for other schemas. A dot reaches into a nested object.
    fields: dict[str, str] = Field(default_factory=dict)
    #: Target size of a document shard in bytes of UTF-8 text.
    shard_bytes: int = Field(default=32_000_000, ge=1, le=MAX_INT64)
    #: A document with more UTF-8 bytes of text is malformed (`too-large`).
    max_document_bytes: int = Field(default=128_000_000, ge=1, le=1_000_000_000)
    #: Decompressed bytes read of one file; what lies beyond is one malformed record (`bomb`).
    max_file_bytes: Annotated[int, Field(ge=1, le=MAX_INT64)] = 1_000_000_000_000
    #: More malformed records than this stop the run; None: any number is counted and quarantined.
    max_malformed: int | None = Field(default=None, ge=0, le=MAX_INT64)

    @field_validator("fields")
    @classmethod
    def _known_columns(cls, fields: dict[str, str]) -> dict[str, str]:
        for column in fields:
            if column not in MAPPED:
                near = difflib.get_close_matches(column, MAPPED, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(MAPPED)}"
                message = f"`fields` maps {column!r}, which is not a document column; {hint}"
                raise ValueError(message)
        return fields

    @property
    def max_record_bytes(self) -> int:
        """The longest record that is held: a text of `max_document_bytes` written with escapes, and its other fields."""
        return 2 * self.max_document_bytes + RECORD_SLACK_BYTES

    def parameters(self) -> dict[str, Any]:
        """Every field that changes the shards: neither where the files are nor how many bad records are tolerated."""
        fields = super().parameters()
        del fields["path"], fields["max_malformed"]
        return fields

    def read(self, file: Input, rows: Rows) -> None:
        """Add every record of `file` to `rows`: as a document, as malformed or as skipped.

        Raises:
            DataError: the file as a whole cannot be read as this kind; says what to write in the spec.
        """
        raise NotImplementedError

    def read_many(self, files: Sequence[Small], rows: Rows) -> None:
        """Add every record of small files, the same rows as `read` gives; overridden where that is faster."""
        for file in files:
            rows.begin(file.path)
            self.read(file, rows)
