"""Megatron's indexed datasets: what Megatron-Core, Megatron-LM and GPT-NeoX train on."""

from collections.abc import Iterable, Sequence
from typing import BinaryIO, ClassVar, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field

from stages.base import Counts
from stages.sinks.token_ids import TokenSink

_MAGIC = b"MMIDIDX\x00\x00"
_VERSION = 1
#: Numbers of NumPy's types in an index.
_TYPES = {"int32": 4, "uint16": 8}


class Megatron(TokenSink):
    """Token ids as Megatron's pairs of files: `part-00000.bin` has the ids, `part-00000.idx` where documents begin.

    Each document is one sequence. Ids of vocabularies beyond 65,536 entries are int32, as the format knows no uint32.
    Several pairs are given to `--data-path` together, or joined by Megatron's `tools/merge_datasets.py`.

    Source: Megatron-Core 0.16 (`megatron/core/datasets/indexed_dataset.py`), version 1 of the index,
    https://github.com/NVIDIA/Megatron-LM
    """

    kind: Literal["megatron"] = "megatron"
    suffix: ClassVar[str] = ".bin"
    companions: ClassVar[tuple[str, ...]] = (".idx",)

    dtype: Literal["uint16", "int32"] | None = Field(default=None, description="of ids; null: the narrowest that fits")

    def write_all(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema, files: Sequence[BinaryIO]) -> Counts:
        """Write ids to the first file and the index to the second; gives the number of `documents` and `tokens`.

        Raises:
            DataError: a document has no tokens, or one that is not in the vocabulary.
        """
        data, index = files
        found = [np.zeros(0, np.int64)]
        for _, counts, flat in self.coded(batches, schema):
            data.write(flat.tobytes())
            found.append(counts)
        lengths = np.concatenate(found)
        dtype = self.width(schema)
        ends = np.cumsum(lengths)
        index.write(_MAGIC + np.array([_VERSION], "<u8").tobytes() + bytes([_TYPES[dtype.name]]))
        index.write(np.array([len(lengths), len(lengths) + 1], "<u8").tobytes())
        index.write(lengths.astype("<i4").tobytes())
        index.write(((ends - lengths) * dtype.itemsize).astype("<i8").tobytes())
        index.write(np.arange(len(lengths) + 1, dtype="<i8").tobytes())
        return {"documents": len(lengths), "tokens": int(lengths.sum())}
