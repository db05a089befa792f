"""Winnowed fingerprints of a text, by which texts with a passage in common are told."""

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.base import Columns, Example, Kernel, RowStage, column


class Fingerprints(RowStage):
    """Hashes of a text's anchors, in order: two texts with `min_bytes` bytes in common have a hash in common.

    Of the k-grams that begin in every window of `min_bytes` bytes the one with the smallest hash, the rightmost of
    equals, is the window's anchor; k is half of `min_bytes`, from 8 to 64 bytes. Random text of which every window has
    100 bytes has an anchor every 26 bytes. Of equal anchors that follow each other two are given. None where the text
    is shorter than `min_bytes`.

    Source: Schleimer, Wilkerson and Aiken (2003), Winnowing: local algorithms for document fingerprinting.
    """

    kind: Literal["fingerprints"] = "fingerprints"
    writes: ClassVar = pa.schema(
        [
            column("hashes", pa.list_(pa.uint64()), "hash", doc="of the anchors, in order"),
            column("bytes", pa.int64(), "bytes", doc="length of the text in UTF-8"),
        ]
    )
    examples: ClassVar = (
        Example("the cat", {"hashes": [], "bytes": 7}),
        Example("né 猫", {"hashes": [], "bytes": 7}),
        Example("a" * 16, {"bytes": 16}, {"min_bytes": 16}),
    )

    min_bytes: int = Field(default=100, ge=16, le=65_536)

    def open(self) -> Kernel:
        """Compile or load the kernel."""
        from stages.kernels.winnowing import fingerprints  # noqa: PLC0415 - numba is slow to import

        def kernel(batch: pa.RecordBatch) -> Columns:
            values, ends = fingerprints(batch[self.text], self.min_bytes)
            hashes = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values))
            return {"hashes": hashes, "bytes": pc.binary_length(batch[self.text]).cast(pa.int64())}

        return kernel
