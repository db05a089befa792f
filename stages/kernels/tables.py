"""Open-addressing sets of 64-bit hashes, sized to the document and used again for the next one."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.kernels.peek import inner


@inner()
def slots_for(items: int) -> int:
    """A power of two that keeps the table at most half full."""
    n = 16
    while n < 2 * items:
        n *= 2
    return n


@inner()
def seen_before(table: NDArray[Any], mask: int, key: int) -> bool:
    """Whether a hash is in the table; it is afterwards. 0 marks an empty slot, so a hash is never 0."""
    slot = np.int64(key & np.uint64(mask))
    while table[slot] != np.uint64(0):
        if table[slot] == key:
            return True
        slot = (slot + 1) & mask
    table[slot] = key
    return False
