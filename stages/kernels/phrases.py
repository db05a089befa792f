"""The phrases by which C4 drops lines and pages, found in the bytes in any case of A-Z.

Deviation: `str.lower` also turns the Kelvin sign into k; here only ASCII letters have a lower case.
"""

# ruff: noqa: PLR1714, SIM109 - numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import numpy as np

from stages.kernels.peek import inner, u8, u32
from stages.kernels.unicode import CLASSES, PHRASE

LOREM_IPSUM, JAVASCRIPT, CURLY_BRACKET, POLICY = 1, 2, 4, 8
#: What marks a line, and the flag for it.
PHRASES = {
    "lorem ipsum": LOREM_IPSUM,
    "javascript": JAVASCRIPT,
    "terms of use": POLICY,
    "privacy policy": POLICY,
    "cookie policy": POLICY,
    "uses cookies": POLICY,
    "use of cookies": POLICY,
    "use cookies": POLICY,
}
_BYTES = np.frombuffer("".join(PHRASES).encode(), np.uint8)
_LENGTHS = tuple(len(p) for p in PHRASES)
_FLAGS = tuple(PHRASES.values())
_PHRASE = PHRASE
_LO, _JA, _TE, _PR, _CO, _US = (int.from_bytes(pair, "little") for pair in (b"lo", b"ja", b"te", b"pr", b"co", b"us"))


@inner()
def _lower(b: int) -> int:
    return b + 32 if 65 <= b <= 90 else b


@inner()
def _phrase_at(data: int, i: int, hi: int) -> int:
    """The flag of the phrase that begins at byte `i`, 0 for none."""
    at = 0
    for p in range(len(_LENGTHS)):
        k, length = 0, _LENGTHS[p]
        if i + length <= hi:
            while k < length and _lower(u8(data, i + k)) == _BYTES[at + k]:
                k += 1
            if k == length:
                return _FLAGS[p]
        at += length
    return 0


@inner()
def phrases_in(data: int, lo: int, hi: int, t: int) -> int:
    """The flags of all phrases and curly brackets in a line."""
    found = np.int64(0)
    for i in range(lo, hi):
        b = u8(data, i)
        if not u32(t + CLASSES, b) & _PHRASE:
            continue
        if b == 123:
            found |= CURLY_BRACKET
        elif i + 10 <= hi:
            pair = b | 32 | (u8(data, i + 1) | 32) << 8
            if pair == _LO or pair == _JA or pair == _TE or pair == _PR or pair == _CO or pair == _US:
                found |= _phrase_at(data, i, hi)
    return found
