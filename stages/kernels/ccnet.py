"""CCNet's normalization of a text, character by character, from a table made of Python's own Unicode data.

What a character becomes depends on it alone, but for the capital sigma (lower case at a word's end is another letter) and
for marks that Unicode puts in an order of their own: texts with these are left to `slow`, which says in plain Python what all
texts become.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import functools
import re
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.kernels import cache
from stages.kernels.arrow import buffers, frozen
from stages.kernels.peek import kernel, u8

#: CCNet's map of punctuation; its full-width digit one never gets here, because digits become 0 before.
PUNCTUATION = {
    "，": ",", "。": ".", "、": ",", "„": '"', "”": '"', "“": '"', "«": '"', "»": '"', "１": '"', "」": '"', "「": '"',
    "《": '"', "》": '"', "´": "'", "∶": ":", "：": ":", "？": "?", "！": "!", "（": "(", "）": ")", "；": ";",
    "–": "-", "—": " - ", "．": ". ", "～": "~", "’": "'", "…": "...", "━": "-", "〈": "<", "〉": ">", "【": "[",
    "】": "]", "％": "%", "►": "-",
}  # fmt: skip
_CONTROL = dict.fromkeys((*range(32), *range(127, 160)))
_DIGIT = re.compile(r"\d")
_SIGMA = "Σ"
#: Characters that are themselves, and those that `slow` is for, among the entries of the table.
_ITSELF, _SLOW = 0xFFFFFFFF, 0xFFFFFFFE
#: No character beyond becomes another one, but for a few that are in the table's blocks of their own.
_LAST = 0x30000
_GROWS = 3
_WHITE = "".join(c for c in map(chr, range(_LAST)) if c.isspace())


def slow(text: str) -> str:
    """What CCNet makes of a text, in plain Python."""
    return _mapped(text.strip())


def _mapped(text: str) -> str:
    text = "".join(c for c in unicodedata.normalize("NFD", text.lower()) if unicodedata.category(c) != "Mn")
    text = "".join(PUNCTUATION.get(c, c) for c in _DIGIT.sub("0", text))
    return text.translate(_CONTROL)


@functools.cache
def tables() -> tuple[NDArray[np.uint32], NDArray[np.uint8]]:
    """For each code point where its bytes are in the second array (`start << 8 | length`), or that it is itself."""
    kept = cache.folder() / f"ccnet-{unicodedata.unidata_version}.npy"
    if kept.exists():
        whole = np.load(kept, allow_pickle=False)
        return whole[:0x110000], whole[0x110000:].astype(np.uint8)
    entries = np.full(0x110000, _ITSELF, np.uint32)
    content = bytearray()
    for code in (*range(0xD800), *range(0xE000, _LAST), *range(0xE0100, 0xE01F0)):
        c = chr(code)
        out = _mapped(c)
        if c == _SIGMA or any(unicodedata.combining(o) for o in out):
            entries[code] = _SLOW
        elif out != c:
            data = out.encode()
            assert len(data) <= _GROWS * len(c.encode()), "a character grows more than the kernel has room for"
            entries[code] = len(content) << 8 | len(data)
            content += data
    blob = np.frombuffer(bytes(content), np.uint8)
    cache.keep(kept, np.concatenate([entries, blob.astype(np.uint32)]))
    return entries, blob


@kernel()
def _normalize(data: Any, offsets: Any, entries: Any, blob: Any) -> Any:
    address = data.ctypes.data
    texts = offsets.shape[0] - 1
    out = np.empty(_GROWS * (np.int64(offsets[-1]) - np.int64(offsets[0])) + 1, np.uint8)
    ends = np.zeros(texts + 1, np.int64)
    left = np.zeros(texts, np.bool_)
    n = 0
    for d in range(texts):
        i, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        while i < hi:
            b = u8(address, i)
            if b < 0x80:
                c, width = b, 1
            elif b < 0xE0:
                c, width = ((b & 0x1F) << 6) | (u8(address, i + 1) & 0x3F), 2
            elif b < 0xF0:
                c, width = ((b & 0x0F) << 12) | ((u8(address, i + 1) & 0x3F) << 6) | (u8(address, i + 2) & 0x3F), 3
            else:
                c = ((b & 0x07) << 18) | ((u8(address, i + 1) & 0x3F) << 12)
                c, width = c | ((u8(address, i + 2) & 0x3F) << 6) | (u8(address, i + 3) & 0x3F), 4
            e = np.int64(entries[c])
            if e == _ITSELF:
                for j in range(width):
                    out[n + j] = u8(address, i + j)
                n += width
            elif e == _SLOW:
                left[d] = True
            else:
                start, length = e >> 8, e & 255
                for j in range(length):
                    out[n + j] = blob[start + j]
                n += length
            i += width
        ends[d + 1] = n
    return out[:n].copy(), ends, left


def normalized(texts: pa.StringArray) -> pa.StringArray:
    """The texts as CCNet normalizes them, white space at their ends removed first.

    Source: Wenzek et al. 2020, arXiv:1911.00359, `text_normalizer.normalize` with its defaults.
    """
    texts = pc.utf8_trim(texts, _WHITE)
    data, offsets = buffers(texts)
    content, ends, left = _normalize(data, offsets, *map(frozen, tables()))
    found = pa.Array.from_buffers(
        pa.string(), len(texts), [None, pa.py_buffer(ends.astype(np.int32)), pa.py_buffer(content)]
    )
    if not left.any():
        return found
    rest = pa.array([slow(text) for text in texts.filter(pa.array(left)).to_pylist()], pa.string())
    return pc.replace_with_mask(found, pa.array(left), rest)
