"""The size of a text, so that later steps can plan by it without reading it."""

from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc

from stages.base import Columns, Example, Kernel, RowStage, column


class TextBytes(RowStage):
    """Length of the text in bytes of UTF-8."""

    kind: Literal["text_bytes"] = "text_bytes"
    writes: ClassVar = pa.schema([column("bytes", pa.int64(), "bytes", doc="length of the text in UTF-8")])
    examples: ClassVar = (
        Example("the cat", {"bytes": 7}),
        Example("né 猫", {"bytes": 7}),
        Example("", {"bytes": 0}),
    )

    def open(self) -> Kernel:
        """A kernel that reads string offsets only."""

        def kernel(batch: pa.RecordBatch) -> Columns:
            return {"bytes": pc.binary_length(batch[self.text]).cast(pa.int64())}

        return kernel
