"""Open-addressing sets of 64-bit hashes, sized to the document and used again for the next one."""

import numpy as np
from numba import njit


@njit(nogil=True, cache=True)
def slots_for(items):
    """A power of two that keeps the table at most half full."""
    n = 16
    while n < 2 * items:
        n *= 2
    return n


@njit(nogil=True, cache=True)
def seen_before(table, mask, key):
    """Whether a hash is in the table; it is afterwards. 0 marks an empty slot, so a hash is never 0."""
    slot = np.int64(key & np.uint64(mask))
    while table[slot] != np.uint64(0):
        if table[slot] == key:
            return True
        slot = (slot + 1) & mask
    table[slot] = key
    return False
