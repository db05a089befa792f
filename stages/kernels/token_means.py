"""Mean vectors of the tokens of texts, whose tokens are remembered by chunk: what stands between ASCII white space."""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.peek import inner, kernel, u8
from stages.kernels.utf8 import span_hash


@inner()
def _is_space(b: int) -> bool:
    return b == 32 or b == 10 or b == 13 or b == 9  # noqa: PLR1714 - numba compiles a set of numbers badly


@kernel()
def chunks(data: Any, offsets: Any, most: int) -> tuple[Any, Any, Any, Any, Any]:
    """The first `most` chunks of each document: hash, begin and end; where each document's begin; whether it has more."""
    address = data.ctypes.data
    documents = offsets.shape[0] - 1
    room = min(documents * most, (np.int64(offsets[documents]) - np.int64(offsets[0]) + documents) // 2 + documents + 1)
    hashes, begins, ends = np.empty(room, np.uint64), np.empty(room, np.int64), np.empty(room, np.int64)
    first, more = np.zeros(documents + 1, np.int64), np.empty(documents, np.bool_)
    more[:] = False
    n = 0
    for d in range(documents):
        i, stop, last = np.int64(offsets[d]), np.int64(offsets[d + 1]), n + most
        while True:
            while i < stop and _is_space(u8(address, i)):
                i += 1
            if i == stop:
                break
            if n == last:
                more[d] = True
                break
            begin = i
            while i < stop and not _is_space(u8(address, i)):
                i += 1
            hashes[n], begins[n], ends[n] = span_hash(address, begin, i), begin, i
            n += 1
        first[d + 1] = n
    return hashes[:n], begins[:n], ends[:n], first, more


@kernel()
def find(keys: Any, entries: Any, hashes: Any) -> Any:
    """The entry of each hash in an open-addressing table, -1 where it has none."""
    mask = keys.shape[0] - 1
    found = np.empty(hashes.shape[0], np.int32)
    for k in range(hashes.shape[0]):
        slot = np.int64(hashes[k] & np.uint64(mask))
        while keys[slot] != np.uint64(0) and keys[slot] != hashes[k]:
            slot = (slot + 1) & mask
        found[k] = entries[slot] if keys[slot] != np.uint64(0) else -1
    return found


@kernel()
def insert(keys: Any, entries: Any, hashes: Any, first: int) -> None:
    """Add hashes that the table does not hold, as the entries from `first` on."""
    mask = keys.shape[0] - 1
    for k in range(hashes.shape[0]):
        slot = np.int64(hashes[k] & np.uint64(mask))
        while keys[slot] != np.uint64(0):
            slot = (slot + 1) & mask
        keys[slot], entries[slot] = hashes[k], first + k


@kernel()
def means(found: Any, first: Any, starts: Any, ids: Any, table: Any, most: int, unknown: int) -> tuple[Any, Any, Any]:
    """For each document the mean vector of its first `most` tokens, how many of them are known, and how many it has.

    Vectors are summed in the order of the tokens; unknown tokens are left out. At most one token too many is counted.
    """
    documents, dimensions = first.shape[0] - 1, table.shape[1]
    vectors = np.empty((documents, dimensions), np.float32)
    vectors[:] = 0
    known, tokens = np.zeros(documents, np.int64), np.zeros(documents, np.int64)
    for d in range(documents):
        sums, n, used = vectors[d], 0, 0
        for c in range(first[d], first[d + 1]):
            entry = found[c]
            for i in range(starts[entry], starts[entry + 1]):
                n += 1
                if n > most:
                    break
                token = ids[i]
                if token != unknown:
                    used += 1
                    row = table[token]
                    for k in range(dimensions):
                        sums[k] += row[k]
            if n > most:
                break
        if used:
            count = np.float32(used)
            for k in range(dimensions):
                sums[k] /= count
        known[d], tokens[d] = used, n
    return vectors, known, tokens
