"""The paragraphs or lines of a text, each as a hash of its words."""

import unicodedata
from typing import ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.base import Columns, Example, Kernel, RowStage, column

Unit = Literal["paragraph", "line"]


class Paragraphs(RowStage):
    """A 64-bit hash of the words of each paragraph that has at least `min_words` with a letter, and where it is.

    A paragraph is a run of lines that are not blank, and a line ends with a newline (`normalize` makes newlines of
    other line breaks); with `unit: line` each line that is not blank stands alone. Blank lines, of any white space,
    belong to what comes before them. Words are those of `minhash`, by default as CCNet normalizes them: lower case,
    without accents and punctuation, runs of digits as 0; a character of a script without spaces is a word. Numbers and
    punctuation do not count towards `min_words`, so rows of figures, which would all read 0 0 0, are never compared.
    Among n different paragraphs the chance that a given one is taken for another is n / 2^64: one in 10^7 among 10^12.

    Source of the normalization: Wenzek et al. (2020), CCNet, arXiv:1911.00359, section 3.1, whose paragraphs are lines.
    """

    kind: Literal["paragraphs"] = "paragraphs"
    version: ClassVar = 3
    writes: ClassVar = pa.schema(
        [
            column("hashes", pa.list_(pa.uint64()), "hash", doc="of the words of each paragraph that has enough"),
            column("begins", pa.list_(pa.int32()), "bytes", doc="where each of them begins"),
            column("ends", pa.list_(pa.int32()), "bytes", doc="where each ends, with the blank lines after it"),
            column("paragraphs", pa.int64(), "paragraphs", doc="or lines, those that are not compared too"),
            column("bytes", pa.int64(), "bytes", doc="length of the text in UTF-8"),
        ]
    )
    examples: ClassVar = (
        Example("", {"hashes": [], "begins": [], "ends": [], "paragraphs": 0, "bytes": 0}),
        Example("One, two.\nthree\n \n\nOne two", {"hashes": [], "paragraphs": 2, "bytes": 26}),
        Example(
            "\na b\n\u3000\nc\r\n",
            {"begins": [1], "ends": [9], "paragraphs": 2, "bytes": 12},
            {"unit": "line", "min_words": 2},
        ),
        Example("1,204 98 17.5 2024 Q3 42\n\nQ3 ② Ⅳ x 5", {"hashes": [], "paragraphs": 2}),
        Example("猫が好き", {"begins": [0], "ends": [12]}, {"unit": "line", "min_words": 2}),
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
            hashes, bounds, firsts, counts = units(batch[self.text], self, self.unit, self.min_words)
            places = pa.array(firsts, pa.int32())
            begins, ends = (np.ascontiguousarray(bounds[:, k]) for k in (0, 1))
            return {
                "hashes": pa.ListArray.from_arrays(places, pa.array(hashes, pa.uint64())),
                "begins": pa.ListArray.from_arrays(places, pa.array(begins, pa.int32())),
                "ends": pa.ListArray.from_arrays(places, pa.array(ends, pa.int32())),
                "paragraphs": pa.array(counts, pa.int64()),
                "bytes": pc.binary_length(batch[self.text]).cast(pa.int64()),
            }

        return kernel
