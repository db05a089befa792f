"""LitData's optimized chunks: what `litdata.StreamingDataset` reads with `TokensLoader`."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, BinaryIO, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Counts
from stages.sinks.token_ids import TokenSink, beyond

#: Numbers of torch's types in LitData.
_TYPES = {"uint16": 20, "int32": 16}
MAX_BYTES = 1 << 32


class Litdata(TokenSink):
    """Token ids as LitData chunks, one a file, with `index.json`.

    A chunk is the number of its documents N, N + 1 offsets (all uint32, little-endian) and the ids of all documents in a
    row. `TokensLoader(block_size)` cuts each chunk into blocks of that many tokens; the rest of a chunk, shorter than a
    block, is not read. litdata 0.2.40 and older know no uint16 here: write `dtype: int32` for them. Holds one chunk of ids in
    memory.

    Source: the format of litdata 0.2 (`litdata/streaming/writer.py`), https://github.com/Lightning-AI/litData
    """

    kind: Literal["litdata"] = "litdata"
    suffix: ClassVar[str] = ".bin"

    dtype: Literal["uint16", "int32"] | None = Field(default=None, description="of ids; null: the narrowest that fits")

    def write(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, file: BinaryIO) -> Counts:
        """Write every batch to `file`; gives the number of `documents` and `tokens`.

        Raises:
            DataError: a document has no tokens, or one that is not in the vocabulary.
            SpecError: the file would be beyond 4 GiB.
        """
        lengths, ids = [np.zeros(0, np.int64)], []
        for _, counts, flat in self.coded(batches, schema):
            lengths.append(counts)
            ids.append(flat)
        sizes = np.concatenate(lengths) * self.width(schema).itemsize
        header = 4 * (len(sizes) + 2)
        offsets = np.concatenate([[0], np.cumsum(sizes)]) + header
        if offsets[-1] >= MAX_BYTES:
            raise beyond(self.kind, int(offsets[-1]))
        file.write(np.array([len(sizes), *offsets], "<u4").tobytes())
        for flat in ids:
            file.write(flat.tobytes())
        return {"documents": len(sizes), "tokens": sum(map(len, ids))}

    def index(self, files: Sequence[Mapping[str, Any]], schema: pa.Schema) -> dict[str, bytes]:
        """`index.json`: the chunks in order, and how their items are read."""
        dtype = self.width(schema).name
        chunks = [
            {"chunk_bytes": f["bytes"], "chunk_size": f["documents"], "dim": f["tokens"], "filename": f["name"]}
            for f in files
        ]
        config = {
            "chunk_bytes": max((f["bytes"] for f in files), default=1),
            "chunk_size": None,
            "compression": None,
            "data_format": [f"no_header_tensor:{_TYPES[dtype]}"],
            "data_spec": json.dumps([1, {"type": None, "context": None, "children_spec": []}]),
            "encryption": None,
            "item_loader": "TokensLoader",
        }
        return {"index.json": json.dumps({"chunks": chunks, "config": config}, sort_keys=True).encode()}
