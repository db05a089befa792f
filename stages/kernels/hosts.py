"""Whether a piece of text is a URL, an address or a bare host name, as spaCy's tokenizer decides it.

An optional scheme, an optional `user@`, then an IPv4 address of the public range or labels and a lower-case top-level
domain, an optional port, an optional path. Linear in the length of the piece: no host holds an `@`.
"""

# ruff: noqa: PLR1714 - numba compares faster than it searches
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import numpy as np

from stages.kernels import unicode as u
from stages.kernels.peek import inner, u8
from stages.kernels.utf8 import flags_at

_HOST, _LOWER, _ALNUM = u.W_HOST, u.W_LOWER, u.ALNUM


@inner()
def _is_tail(data: int, i: int, hi: int) -> bool:
    """An optional port and path up to the end."""
    if i < hi and u8(data, i) == 58:
        j = i + 1
        while j < hi and 48 <= u8(data, j) <= 57:
            j += 1
        if j - i < 3 or j - i > 6:
            return False
        i = j
    return i == hi or u8(data, i) == 47 or u8(data, i) == 63 or u8(data, i) == 35


@inner()
def _is_ip(data: int, i: int, hi: int) -> bool:
    """A public IPv4 address, then port and path."""
    octets = np.int64(0)  # the four, a byte each
    for k in range(4):
        start, octet = i, np.int64(0)
        while i < hi and i < start + 3 and 48 <= u8(data, i) <= 57:
            octet = octet * 10 + u8(data, i) - 48
            i += 1
        if i == start or (k in (0, 3) and u8(data, start) == 48) or octet > 255:
            return False
        octets = octets << 8 | octet
        if k < 3:
            if i >= hi or u8(data, i) != 46:
                return False
            i += 1
    a, b, d = octets >> 24, (octets >> 16) & 255, octets & 255
    if a > 223 or d > 254 or a == 10 or a == 127 or (a == 169 and b == 254) or (a == 192 and b == 168):
        return False
    return not (a == 172 and 16 <= b <= 31) and _is_tail(data, i, hi)


@inner()
def _is_host(data: int, i: int, hi: int, t: int) -> bool:
    """Labels, a top-level domain of at least two lower-case letters, then port and path."""
    labels = 0
    while i < hi:
        j, lower, chars, first, last = i, 0, 0, False, False
        while j < hi:
            flags, width = flags_at(data, j, hi, t)
            inside = width < 4 and flags & _HOST
            if not inside and u8(data, j) != 45 and u8(data, j) != 95 and not flags & _LOWER:
                break
            if flags & _LOWER and lower == chars:
                lower += 1
            if chars == 0:
                first = inside != 0
            last = inside != 0
            chars += 1
            j += width
        if labels and lower == chars and 2 <= lower <= 63 and _is_tail(data, j, hi):
            return True
        if j >= hi or u8(data, j) != 46 or chars == 0 or chars > 64 or not first or not last:
            return False
        labels += 1
        i = j + 1
    return False


@inner()
def is_url(data: int, lo: int, hi: int, t: int) -> bool:
    """Whether the whole piece is a URL, an address or a host name."""
    dot = lo
    while dot < hi and u8(data, dot) != 46:
        dot += 1
    if dot == hi:
        return False
    after_scheme, i = lo, lo
    while i < hi:  # a scheme
        flags, width = flags_at(data, i, hi, t)
        if not flags & _ALNUM:
            b = u8(data, i)
            if b == 58:
                if i - lo >= 2 and i + 2 < hi and u8(data, i + 1) == 47 and u8(data, i + 2) == 47:
                    after_scheme = i + 3
                break
            if b != 43 and b != 45 and b != 46 and b != 95:
                break
        i += width
    start = lo
    while start < hi:  # a host may begin the piece, follow the scheme, or follow an @
        if 48 <= u8(data, start) <= 57 and _is_ip(data, start, hi):
            return True
        if _is_host(data, start, hi, t):
            return True
        k = start + 1
        while k < hi and k != after_scheme and (u8(data, k - 1) != 64 or k == lo + 1):
            k += 1
        start = k
    return False
