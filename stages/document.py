"""The document contract: what every shard's columns are called and what they hold."""

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

#: Columns of a document shard, in order. Rows are sorted by `path`, then `ordinal`.
DOCUMENT = pa.schema(
    [
        pa.field("doc_id", pa.string(), nullable=False),  # 32 hex digits, see doc_id()
        pa.field("id", pa.string()),  # the user's own id, verbatim; need not be unique
        pa.field("text", pa.string()),
        pa.field("source", pa.string(), nullable=False),  # the record's own, else the name of the spec's source
        pa.field("path", pa.string(), nullable=False),  # below the root of the source's glob
        pa.field("ordinal", pa.int64(), nullable=False),  # of the record in its file, blank lines not counted
        pa.field("url", pa.string()),
        pa.field("snapshot", pa.string()),
        pa.field("domain", pa.string()),
        pa.field("license", pa.string()),
        pa.field("lang", pa.string()),  # as declared by the publisher, not as measured
        pa.field("meta", pa.string()),  # JSON object of every other field of the record
    ]
)

#: The document columns that a source can map a record's fields onto.
MAPPED = ("id", "text", "source", "url", "snapshot", "domain", "license", "lang")

#: Every sidecar begins with these two.
KEYS = pa.schema([DOCUMENT.field("doc_id"), DOCUMENT.field("id")])


def doc_id(source: str, path: str, ordinal: int) -> str:
    """128-bit BLAKE2b of (source name, path below the glob's root, record ordinal), as 32 hex digits.

    The path is relative, so moving a corpus changes no id.
    """
    name = f"{source}\0{path}\0{ordinal}".encode("utf-8", "surrogateescape")
    return hashlib.blake2b(name, digest_size=16).hexdigest()


def packed(doc_ids: pa.ChunkedArray) -> NDArray[np.uint8]:
    """The 16 bytes of each `doc_id`: uint8 of shape (documents, 16)."""
    whole = pa.concat_arrays(doc_ids.chunks) if doc_ids.num_chunks else pa.array([], pa.string())
    _, places, data = whole.buffers()
    if not len(whole):
        return np.empty((0, 16), np.uint8)
    first = int(np.frombuffer(places, np.int32, 1, 4 * whole.offset)[0])
    digits = np.frombuffer(data, np.uint8, 32 * len(whole), first)
    nibbles = (digits & 15) + 9 * (digits >> 6)  # '0'..'9' and 'a'..'f'
    return (nibbles[::2] << 4 | nibbles[1::2]).astype(np.uint8).reshape(-1, 16)


def unpacked(ids: NDArray[np.uint8]) -> pa.Array:
    """The `doc_id` of each row of 16 bytes."""
    nibbles = np.stack([ids >> 4, ids & 15], axis=-1).reshape(-1)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)[nibbles]
    places = pa.py_buffer(np.arange(len(ids) + 1, dtype=np.int32) * 32)
    return pa.StringArray.from_buffers(len(ids), places, pa.py_buffer(digits))
