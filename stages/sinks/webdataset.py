"""WebDataset: tar files in which a document is a few neighbouring members."""

import struct
import tarfile
from collections.abc import Iterable, Sequence
from typing import BinaryIO, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Counts
from stages.sinks.jsonl import line_of
from stages.sinks.token_ids import TOKENS, TokenSink

_BLOCK = tarfile.BLOCKSIZE
_NPY, _ALIGNED = b"\x93NUMPY\x01\x00", 64
_KEY = "doc_id"


class Webdataset(TokenSink):
    """Documents as tar shards of `DOC_ID.json`, `DOC_ID.txt` and, where the run has tokens, `DOC_ID.tokens.npy`.

    The JSON has the columns that are not null, without the text. With `columns`, a document has those alone; naming `tokens.ids` gives the tokens. Members carry no time and no owner.

    Source: the WebDataset 0.1 convention (Aizman et al. 2019, arXiv:2001.01858) and webdataset 1.0; POSIX ustar.
    """

    kind: Literal["webdataset"] = "webdataset"
    suffix: ClassVar[str] = ".tar"
    wide: ClassVar[str] = "uint32"

    dtype: Literal["uint16", "uint32", "int32", "int64"] | None = Field(
        default=None, description="of ids; null: the narrowest that fits"
    )
    columns: tuple[str, ...] | None = Field(
        default=None, description="full names of what is written; null: the document and its tokens"
    )

    def wanted(self, documents: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
        """The document's columns and its tokens, or what was asked for."""
        if self.columns is not None:
            return tuple(dict.fromkeys([_KEY, *self.columns]))
        own = [self.own(ids)] if ids or self.tokens is not None else []
        return (*documents, *own)

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: BinaryIO) -> Counts:
        """Write every batch to `file`; gives the number of `documents`, and of `tokens` where there are any.

        Raises:
            DataError: a document's tokens are unknown or not in the vocabulary, or its `meta` is not a JSON object.
        """
        import orjson  # noqa: PLC0415 - the catalogue of stages is read at every start

        counts = {"documents": 0} | ({"tokens": 0} if TOKENS in schema.names else {})
        for batch, arrays in self._arrays(batches, schema):
            own = [name for name in batch.schema.names if name != TOKENS]
            for row, array in zip(batch.select(own).to_pylist(), arrays, strict=True):
                text = row.pop("text", None)
                file.write(_member(f"{row[_KEY]}.json", orjson.dumps(line_of(row))))
                if array is not None:
                    file.write(_member(f"{row[_KEY]}.tokens.npy", _npy(array)))
                    counts["tokens"] += len(array)
                if text is not None:
                    file.write(_member(f"{row[_KEY]}.txt", text.encode()))
            counts["documents"] += batch.num_rows
        file.write(bytes(2 * _BLOCK))
        return counts

    def _arrays(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema
    ) -> Iterable[tuple[pa.RecordBatch, Sequence[np.ndarray | None]]]:
        """Each batch with the ids of its documents."""
        if TOKENS not in schema.names:
            for batch in batches:
                yield batch, [None] * batch.num_rows
            return
        for batch, lengths, flat in self.coded(batches, schema):
            yield batch, np.split(flat, np.cumsum(lengths)[:-1]) if batch.num_rows else []


def _header() -> bytes:
    """A member's header without name, size and checksum, which are zeros."""
    info = tarfile.TarInfo("")
    blank = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    blank[_SIZE] = bytes(12)
    blank[_SUM] = b" " * 8
    return bytes(blank)


#: Where a header has the size and the checksum, which is the sum of its bytes with spaces in its own place.
_SIZE, _SUM = slice(124, 136), slice(148, 156)
_HEADER = _header()
_BLANK_SUM = sum(_HEADER)
_MAX_NAME, _MAX_SIZE = 100, 8**11


def _member(name: str, data: bytes) -> bytes:
    """A member of a tar file: header, content, and zeros up to a whole block. Python's own takes ten times as long."""
    title, size = name.encode(), b"%011o\0" % len(data)
    assert len(title) <= _MAX_NAME, "a document's id has 32 digits"
    assert len(data) < _MAX_SIZE, "documents are smaller"
    total = _BLANK_SUM + sum(title) + sum(size)
    head = bytearray(_HEADER)
    head[: len(title)] = title
    head[_SIZE] = size
    head[_SUM] = b"%06o\0 " % total
    return b"".join((head, data, bytes(-len(data) % _BLOCK)))


def _npy(array: np.ndarray) -> bytes:
    """An array of one dimension as `numpy.save` writes it (NPY 1.0)."""
    told = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': ({len(array)},), }}"
    told += " " * (-(len(_NPY) + 2 + len(told) + 1) % _ALIGNED) + "\n"
    return b"".join((_NPY, struct.pack("<H", len(told)), told.encode(), array.tobytes()))
