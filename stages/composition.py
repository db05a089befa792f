"""Unicode's canonical composition (NFC) of Arrow strings, in time linear in the text."""

import functools
import re
import sys
import unicodedata

import pyarrow as pa
import pyarrow.compute as pc

#: Putting combining marks in canonical order takes time quadratic in the length of their run. No language
#: needs more than a handful (Unicode's stream-safe format allows 30): a text with such a run is left as it is.
TOO_MANY_MARKS = 200


def composed(texts: pa.StringArray) -> pa.StringArray:
    """Every text in NFC, but for texts with 200 combining marks in a row out of order, which are left as they are."""
    wide = pc.invert(pc.string_is_ascii(texts))
    if not wide.true_count:
        return texts
    given = texts.filter(wide).to_pylist()
    fixed = [_nfc(text) for text in given]
    if fixed == given:
        return texts
    return pc.replace_with_mask(texts, wide, pa.array(fixed, pa.string()))


def _nfc(text: str) -> str:
    # The check is linear: it ends at the first mark that is out of order.
    if unicodedata.is_normalized("NFC", text) or _long_run().search(text):
        return text
    return unicodedata.normalize("NFC", text)


@functools.cache
def _long_run() -> re.Pattern[str]:
    marks = "".join(chr(c) for c in range(sys.maxunicode + 1) if unicodedata.combining(chr(c)))
    return re.compile(f"[{marks}]{{{TOO_MANY_MARKS}}}")
