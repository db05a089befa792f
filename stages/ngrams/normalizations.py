"""Named ways of making lines of words out of a text, for n-gram models: what a model learned is what it must be asked.

plain      the text as it is; every line is a sentence, a blank one too (what lmplz reads of the same file)
document   the text as it is in one line: line breaks are spaces
ccnet      stripped, lower case, no accents, digits 0, punctuation mapped, no control characters, line breaks among
           them: the whole document is one line (Wenzek et al. 2020, arXiv:1911.00359)
"""

import unicodedata
from collections.abc import Callable
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Normalization = Literal["plain", "document", "ccnet"]
Normalize = Callable[[pa.StringArray], pa.StringArray]

#: Raised when the same text gives another result.
VERSIONS: dict[str, int] = {"plain": 1, "document": 1, "ccnet": 1}


def identity(name: str) -> str:
    """Name and version, with that of Unicode where its tables are read: `ccnet@1+unicode-14.0.0`."""
    unicode = f"+unicode-{unicodedata.unidata_version}" if name == "ccnet" else ""
    return f"{name}@{VERSIONS[name]}{unicode}"


def normalizer(name: str) -> Normalize:
    """The function from texts to lines."""
    if name == "ccnet":
        from stages.kernels.ccnet import normalized  # noqa: PLC0415 - loads numba

        return normalized
    if name == "document":
        return _in_one_line
    return _as_they_are


def _in_one_line(texts: pa.StringArray) -> pa.StringArray:
    return pc.replace_substring(texts, "\n", " ")


def _as_they_are(texts: pa.StringArray) -> pa.StringArray:
    return texts
