"""A 128-bit digest of a document's text, for finding exact copies."""

import functools
import unicodedata
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from stages.base import Columns, Example, Kernel, RowStage, column
from stages.composition import composed

Form = Literal["exact", "letters"]

#: ASCII bytes that are neither letters nor digits, and how letters are folded.
DROPPED = bytes(b for b in range(128) if not chr(b).isalnum())
LOWER = bytes(range(256)).lower()


class Digest(RowStage):
    """XXH3 of a text's UTF-8 bytes, 128 bits: equal texts have equal digests.

    With `form: letters`, texts are compared by their letters, digits and combining marks alone,
    after NFC and case folding: "Don't panic!" equals "DONT PANIC". A text without any letter or digit has
    nothing to compare: null. The hash is not cryptographic: texts made to collide can.
    """

    kind: Literal["digest"] = "digest"
    writes: ClassVar = pa.schema([column("value", pa.binary(16), "hash", doc="XXH3-128 of the compared form")])
    examples: ClassVar = (
        Example("", {"value": bytes.fromhex("99aa06d3014798d86001c324468d497f")}),
        Example("¡¿…!?", {"value": None}, {"form": "letters"}),
        Example("It's A.", {"value": xxhash.xxh3_128_digest(b"itsa")}, {"form": "letters"}),
        Example("Ça — ÇA", {"value": xxhash.xxh3_128_digest("çaça".encode())}, {"form": "letters"}),
    )

    form: Form = "exact"

    def artifacts(self) -> dict[str, str]:
        """The Unicode version that says what a letter is, where that matters."""
        return {"unicode": unicodedata.unidata_version} if self.form == "letters" else {}

    def open(self) -> Kernel:
        """Return the kernel; there is nothing to load."""
        letters = self.form == "letters"

        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text]
            compared = letters_of(texts) if letters else texts.cast(pa.binary()).to_pylist()
            values = [xxhash.xxh3_128_digest(text) if text or not letters else None for text in compared]
            return {"value": pa.array(values, pa.binary(16))}

        return kernel


def letters_of(texts: pa.StringArray) -> list[bytes]:
    """The letters, digits and combining marks of each text, NFC and case-folded, as UTF-8."""
    ascii_ = pc.string_is_ascii(texts)
    wide = composed(texts.filter(pc.invert(ascii_)))
    folded = composed(pa.array([text.casefold() for text in wide.to_pylist()], pa.string()))
    letters = map(_letters, folded.to_pylist())
    raw = texts.cast(pa.binary())
    return [
        text.as_py().translate(LOWER, DROPPED) if plain else next(letters)
        for text, plain in zip(raw, ascii_.to_pylist(), strict=True)
    ]


def _letters(folded: str) -> bytes:
    codes = np.frombuffer(folded.encode("utf-32-le"), np.uint32)
    return codes[_kept()[codes]].tobytes().decode("utf-32-le").encode()


@functools.cache
def _kept() -> np.ndarray[Any, np.dtype[np.bool_]]:
    """For every code point, whether it is a letter, a digit or a combining mark."""
    kept = np.zeros(0x110000, bool)
    for code in range(0x110000):
        kept[code] = unicodedata.category(chr(code))[0] in "LNM"
    return kept
