"""MinHash sketches of documents: what near duplicates are found by."""

import unicodedata
from typing import Any, ClassVar, Literal, Self

import numpy as np
import pyarrow as pa
from pydantic import Field, model_validator

from stages.base import Columns, Example, Kernel, RowStage, column

#: The most values that a signature may have.
MOST = 16_384


def _columns(permutations: int) -> pa.Schema:
    return pa.schema(
        [
            column("signature", pa.binary(4 * permutations), "hash", doc="32-bit values, little-endian"),
            column("ngrams", pa.int64(), "n-gram", doc="0 where the text is too short for one"),
            column("short", pa.bool_(), "boolean", doc="whether all its tokens are the one n-gram that is signed"),
        ]
    )


class Minhash(RowStage):
    """A MinHash signature of a document's n-grams: `bands * rows` numbers whose share of equal ones estimates Jaccard.

    Bit for bit the `affine32` scheme of datasketch 2.0, its permutations drawn from `seed`, so that signatures can be
    put into its indexes and compared with its own. How the values are divided into bands changes
    no value: only their product is part of the stage's identity.

    Tokens. Every character is read alone, in the text's order:

    - letters, numbers and marks (general categories L, N, M) make words; `lowercase` reads a letter as Unicode's
      simple lower case; without `accents` non-spacing marks (Mn) are absent and a letter that canonically decomposes
      into one character and such marks is that character; without `digits` a run of decimal digits (Nd) is one 0;
    - a letter or letter-number of a script written without spaces (Han, kana, bopomofo, Thai, Lao, Khmer, Myanmar, Tai
      scripts, Yi, Tangut, Nushu, Khitan) is a token of its own, with the marks that follow it;
    - a mark continues the token before it; where none precedes immediately it is absent;
    - punctuation and symbols (P, S) separate, or with `punctuation` are tokens of their own;
    - format characters (Cf: joiners, soft hyphens, direction marks) and variation selectors are absent, except that
      the zero-width space separates; everything else separates.

    With the unit `character` the tokens are the characters that are left of the text, with one space for every run
    of separators between two of them. NFC and NFD of a text differ: normalize first.

    An n-gram is `ngram` tokens in a row. A document with fewer has one, its whole token sequence, and is `short`; one
    with no token has no signature and is neither short nor not. `hash`: `fast` is a 64-bit hash made from the
    tokens' own, of which the lower 32 bits are signed; `sha1` signs the first four bytes, little-endian, of the SHA-1
    of the tokens joined by one space (characters: by nothing) in UTF-8, as datasketch does, in Python and
    hundreds of times slower.

    Sources: Broder (1997); datasketch 2.0.0. Memory: a constant besides the batch's signatures; with `sha1` that of the
    longest document as a string and eight bytes for every n-gram of the batch.
    """

    kind: Literal["minhash"] = "minhash"
    writes: ClassVar = _columns(14 * 8)
    examples: ClassVar = (
        Example("a b c d e f", {"ngrams": 2, "short": False}),
        Example("one two", {"ngrams": 0, "short": True}),
        Example("...", {"signature": None, "ngrams": 0, "short": None}),
        Example("今天天气很好", {"ngrams": 2, "short": False}),
        Example(
            "A b, c d e f!",
            {"signature": np.array([972345546, 1280849458, 707944242, 2027048308], "<u4").tobytes(), "ngrams": 2},
            {"hash": "sha1", "bands": 2, "rows": 2},
        ),
        Example("Ab  c", {"ngrams": 2, "short": False}, {"unit": "character", "ngram": 3}),
    )

    bands: int = Field(default=14, ge=1)
    rows: int = Field(default=8, ge=1)
    ngram: int = Field(default=5, ge=1, le=256)
    unit: Literal["word", "character"] = "word"
    lowercase: bool = True
    punctuation: bool = False
    digits: bool = True
    accents: bool = True
    seed: int = Field(default=1, ge=0, lt=2**32)
    hash: Literal["fast", "sha1"] = "fast"

    @property
    def permutations(self) -> int:
        """Values of a signature."""
        return self.bands * self.rows

    @model_validator(mode="after")
    def _has_room(self) -> Self:
        if self.permutations > MOST:
            message = f"{self.bands} bands of {self.rows} rows are {self.permutations} permutations; at most {MOST} can be signed"
            raise ValueError(message)
        return self

    def parameters(self) -> dict[str, Any]:
        """The fields that change the signature: the number of permutations in place of bands and rows."""
        fields = super().parameters()
        del fields["bands"], fields["rows"]
        return fields | {"permutations": self.permutations}

    def artifacts(self) -> dict[str, str]:
        """Version of the character tables that tokens are made by."""
        return {"unicode": unicodedata.unidata_version}

    def schema(self) -> pa.Schema:  # type: ignore[override]  # what it hides of pydantic is deprecated
        """The columns written; the signature's width follows from the permutations."""
        return _columns(self.permutations)

    def open(self) -> Kernel:
        """Compile or load the kernels."""
        from stages.kernels.minhash import sign  # noqa: PLC0415 - numba is slow to import

        kind = pa.binary(4 * self.permutations)

        def kernel(batch: pa.RecordBatch) -> Columns:
            signatures, ngrams, tokens = sign(batch[self.text], self)
            absent = tokens == 0
            values = pa.py_buffer(np.ascontiguousarray(signatures, "<u4"))
            there = pa.array(~absent).buffers()[1] if absent.any() else None
            return {
                "signature": pa.FixedSizeBinaryArray.from_buffers(kind, len(tokens), [there, values]),
                "ngrams": pa.array(ngrams, pa.int64()),
                "short": pa.array(tokens < self.ngram, pa.bool_(), mask=absent),
            }

        return kernel
