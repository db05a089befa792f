"""MosaicML's MDS shards: what `streaming.StreamingDataset` and LLM Foundry read."""

import json
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from stages.base import Counts
from stages.sinks.jsonl import line_of
from stages.sinks.token_ids import TOKENS, TokenSink, beyond

MAX_BYTES = 1 << 32
#: Columns that are strings and never unknown; all others are written as JSON, which has a word for the unknown.
_STRINGS = ("doc_id", "text")
#: Ends of the types that the length of an array is written in: below 2^8, 2^16, 2^32.
_LENGTHS = ((1 << 8, "<BB"), (1 << 16, "<BH"), (1 << 32, "<BI"))


class Mds(TokenSink):
    """Documents as MDS shards with `index.json`: a sample has `doc_id`, `tokens` and what `columns` names.

    `tokens` is an array of uint16 or uint32 of the document's length; `doc_id` and `text` are strings; every other column
    is JSON. The index has each shard's SHA-256 (`StreamingDataset(validate_hash="sha256")`). Holds one shard in memory.

    Source: the format of mosaicml-streaming 0.13 (`streaming/base/format/mds`), version 2,
    https://github.com/mosaicml/streaming
    """

    kind: Literal["mds"] = "mds"
    suffix: ClassVar[str] = ".mds"
    wide: ClassVar[str] = "uint32"

    dtype: Literal["uint16", "uint32", "int32", "int64"] | None = Field(
        default=None, description="of ids; null: the narrowest that fits"
    )
    columns: tuple[str, ...] | None = Field(
        default=None, description="columns beside the tokens, such as text; null: doc_id and what selection adds"
    )

    def wanted(self, documents: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:
        """The document's id, the tokens, and what was asked for."""
        own = self.own(ids)
        more = [name for name in documents if "." in name] if self.columns is None else self.columns
        return tuple(dict.fromkeys(["doc_id", own, *more]))

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: BinaryIO) -> Counts:
        """Write every batch to `file`; gives the number of `documents` and `tokens`.

        Raises:
            DataError: a document has no tokens, or one that is not in the vocabulary.
            SpecError: the file would be beyond 4 GiB.
        """
        samples: list[bytes] = []
        tokens = 0
        for batch, lengths, flat in self.coded(batches, schema):
            samples += _samples(batch, lengths, flat)
            tokens += len(flat)
        config = json.dumps(self._config(schema), sort_keys=True).encode()
        sizes = np.fromiter(map(len, samples), np.int64, len(samples))
        begin = 4 + 4 * (len(samples) + 1) + len(config)
        offsets = np.concatenate([[0], np.cumsum(sizes)]) + begin
        if offsets[-1] >= MAX_BYTES:
            raise beyond(self.kind, int(offsets[-1]))
        file.write(np.array([len(samples), *offsets], "<u4").tobytes())
        file.write(config)
        file.writelines(samples)
        return {"documents": len(samples), "tokens": tokens}

    def index(self, files: Sequence[Mapping[str, Any]], schema: pa.Schema) -> dict[str, bytes]:
        """`index.json`: the shards in order, with their columns, sizes and hashes. A shard without samples is left out."""
        config = self._config(schema)
        shards = [
            {
                **config,
                "raw_data": {"basename": f["name"], "bytes": f["bytes"], "hashes": {"sha256": f["sha256"]}},
                "samples": f["documents"],
                "zip_data": None,
            }
            for f in files
            if f["documents"]
        ]
        return {"index.json": json.dumps({"shards": shards, "version": 2}, sort_keys=True).encode()}

    def _config(self, schema: pa.Schema) -> dict[str, Any]:
        names = sorted(schema.names)
        tokens = f"ndarray:{self.width(schema).name}"
        encodings = {TOKENS: tokens} | dict.fromkeys(_STRINGS, "str")
        return {
            "column_encodings": [encodings.get(name, "json") for name in names],
            "column_names": names,
            "column_sizes": [None] * len(names),
            "compression": None,
            "format": "mds",
            "hashes": ["sha256"],
            "size_limit": None,
            "version": 2,
        }


def _samples(batch: pa.RecordBatch, lengths: NDArray[np.int64], flat: NDArray[Any]) -> Iterator[bytes]:
    """Each document's columns in the order of their names: the sizes of all, then their bytes."""
    import orjson  # noqa: PLC0415 - the catalogue of stages is read at every start

    names = sorted(batch.schema.names)
    head = struct.Struct(f"<{len(names)}I")
    ends = np.cumsum(lengths).tolist()
    own = [name for name in names if name != TOKENS]
    begin = 0
    for row, end in zip(batch.select(own).to_pylist(), ends, strict=True):
        line = line_of(row)
        values = []
        for name in names:
            if name == TOKENS:
                values.append(_array(flat[begin:end]))
            elif name in _STRINGS:
                values.append((row[name] or "").encode())
            else:
                values.append(orjson.dumps(line.get(name)))
        yield head.pack(*map(len, values)) + b"".join(values)
        begin = end


def _array(values: NDArray[Any]) -> bytes:
    """An array of one dimension: a byte for that and for the width of the length, the length, the values."""
    width, (_, form) = next((i, item) for i, item in enumerate(_LENGTHS) if len(values) < item[0])
    return struct.pack(form, (1 << 2) | width, len(values)) + values.tobytes()
