"""The paragraphs or lines of a text, each as a hash of its words."""

import unicodedata
from typing import ClassVar, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.base import Columns, Example, Kernel, RowStage, column

Unit = Literal["paragraph", "line"]


class Paragraphs(RowStage):
    """A 64-bit hash of the words of each paragraph, and the byte where it begins.

    A paragraph is a run of lines that are not blank, a line ends with a newline; with `unit: line` each line that is
    not blank stands alone. Blank lines belong to what comes before them. Words are those of `minhash`, by default as
    CCNet normalizes them: lower case, without accents and punctuation, digits as 0. The hash is 0, and compared with
    none, where there are fewer than `min_words` words. Among n different paragraphs the chance that one is taken for
    another is n / 2^64: one in 10^7 among 10^12.

    Source of the normalization: Wenzek et al. (2020), CCNet, arXiv:1911.00359, section 3.1.
    """

    kind: Literal["paragraphs"] = "paragraphs"
    writes: ClassVar = pa.schema(
        [
            column("hashes", pa.list_(pa.uint64()), "hash", doc="of each paragraph's words, 0 where they are too few"),
            column("begins", pa.list_(pa.int64()), "bytes", doc="where each paragraph begins"),
            column("bytes", pa.int64(), "bytes", doc="length of the text in UTF-8"),
        ]
    )
    examples: ClassVar = (
        Example("", {"hashes": [], "begins": [], "bytes": 0}),
        Example("One, two.\nthree\n \n\nOne two", {"hashes": [0, 0], "begins": [0, 19], "bytes": 26}),
        Example("\na b\n\nc\r\n", {"hashes": [0, 0], "begins": [1, 6], "bytes": 9}, {"unit": "line", "min_words": 9}),
        Example("猫が好き", {"begins": [0], "bytes": 12}, {"unit": "line", "min_words": 2}),
    )

    unit: Unit = "paragraph"
    min_words: int = Field(default=5, ge=1)
    lowercase: bool = True
    punctuation: bool = False
    digits: bool = False
    accents: bool = False

    def artifacts(self) -> dict[str, str]:
        """Version of the character tables that words are made by."""
        return {"unicode": unicodedata.unidata_version}

    def open(self) -> Kernel:
        """Compile or load the kernel."""
        from stages.kernels.paragraphs import units  # noqa: PLC0415 - numba is slow to import

        def kernel(batch: pa.RecordBatch) -> Columns:
            hashes, begins, firsts = units(batch[self.text], self, self.unit, self.min_words)
            places = pa.array(firsts, pa.int32())
            return {
                "hashes": pa.ListArray.from_arrays(places, pa.array(hashes, pa.uint64())),
                "begins": pa.ListArray.from_arrays(places, pa.array(begins, pa.int64())),
                "bytes": pc.binary_length(batch[self.text]).cast(pa.int64()),
            }

        return kernel
