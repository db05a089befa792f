"""Whether a piece of text is a URL, an address or a bare host name, as spaCy's tokenizer decides it.

An optional scheme, an optional `user@`, then an IPv4 address of the public range or labels and a lower-case top-level
domain, an optional port, an optional path. Linear in the length of the piece: no host holds an `@`.
"""

import numpy as np
from numba import njit

from stages.kernels import unicode as u
from stages.kernels.utf8 import flags_at

_HOST, _LOWER, _DIGIT, _ALNUM = u.W_HOST, u.W_LOWER, u.W_DIGIT, u.ALNUM


@njit(nogil=True, cache=True)
def _is_tail(data, i, hi):
    """An optional port and path up to the end."""
    if i < hi and data[i] == 58:
        j = i + 1
        while j < hi and 48 <= data[j] <= 57:
            j += 1
        if j - i < 3 or j - i > 6:
            return False
        i = j
    return i == hi or data[i] == 47 or data[i] == 63 or data[i] == 35


@njit(nogil=True, cache=True)
def _is_ip(data, i, hi):
    """A public IPv4 address, then port and path."""
    octets = np.zeros(4, np.int64)
    for k in range(4):
        start = i
        while i < hi and i < start + 3 and 48 <= data[i] <= 57:
            octets[k] = octets[k] * 10 + np.int64(data[i]) - 48
            i += 1
        if i == start or (k in (0, 3) and data[start] == 48) or octets[k] > 255:
            return False
        if k < 3:
            if i >= hi or data[i] != 46:
                return False
            i += 1
    a, b, d = octets[0], octets[1], octets[3]
    if a > 223 or d > 254 or a == 10 or a == 127 or (a == 169 and b == 254) or (a == 192 and b == 168):
        return False
    return not (a == 172 and 16 <= b <= 31) and _is_tail(data, i, hi)


@njit(nogil=True, cache=True)
def _is_host(data, i, hi, cls, index):
    """Labels, a top-level domain of at least two lower-case letters, then port and path."""
    labels = 0
    while i < hi:
        j, lower, chars, first, last = i, 0, 0, False, False
        while j < hi:
            flags, width = flags_at(data, j, hi, cls, index)
            inside = width < 4 and flags & _HOST
            if not inside and data[j] != 45 and data[j] != 95 and not flags & _LOWER:
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
        if j >= hi or data[j] != 46 or chars == 0 or chars > 64 or not first or not last:
            return False
        labels += 1
        i = j + 1
    return False


@njit(nogil=True, cache=True)
def is_url(data, lo, hi, cls, index):
    """Whether the whole piece is a URL, an address or a host name."""
    dots = 0
    for i in range(lo, hi):
        dots += data[i] == 46
    if dots == 0:
        return False
    if _is_ip(data, lo, hi) or _is_host(data, lo, hi, cls, index):
        return True
    start = lo
    i = lo
    while i < hi:  # a scheme
        flags, width = flags_at(data, i, hi, cls, index)
        if not (flags & _ALNUM or data[i] == 43 or data[i] == 45 or data[i] == 46 or data[i] == 95):
            break
        i += width
    if i - lo >= 2 and i + 2 < hi and data[i] == 58 and data[i + 1] == 47 and data[i + 2] == 47:
        start = i + 3
        if _is_ip(data, start, hi) or _is_host(data, start, hi, cls, index):
            return True
    for k in range(lo + 1, hi - 1):
        if data[k] == 64 and (_is_ip(data, k + 1, hi) or _is_host(data, k + 1, hi, cls, index)):
            return True
    return False
