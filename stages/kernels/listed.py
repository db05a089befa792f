"""Entries of a list in texts: a tree of their bytes, walked from every place where an entry may begin."""

# ruff: noqa: FBT001 - numba takes positions
# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels import unicode as u
from stages.kernels.arrow import buffers
from stages.kernels.lexicon import lexicon
from stages.kernels.peek import inner, kernel, u8
from stages.kernels.utf8 import flags_at

#: What `find_listed` counts of a text, in the order of its columns.
COUNTS = ("hits", "distinct", "words", "first")
_ALNUM = u.ALNUM
_UNDERSCORE = 95


class Tree:
    """A tree of the bytes of entries: 1,024 bytes for every byte that entries do not share with others before it.

    `sizes` gives the words of each entry, which its hits count as.
    """

    def __init__(self, entries: Sequence[str], sizes: Sequence[int]) -> None:
        nodes: list[dict[int, int]] = [{}]
        ends = {}
        for number, entry in enumerate(entries):
            node = 0
            for byte in entry.encode():
                if byte not in nodes[node]:
                    nodes.append({})
                    nodes[node][byte] = len(nodes) - 1
                node = nodes[node][byte]
            ends.setdefault(node, number)
        self.next = np.zeros((len(nodes), 256), np.int32)
        for node, children in enumerate(nodes):
            for byte, child in children.items():
                self.next[node, byte] = child
        self.entry = np.full(len(nodes), -1, np.int32)
        for node, number in ends.items():
            self.entry[node] = number
        self.sizes = np.array(sizes, np.int64)


@inner()
def _is_word(data: int, i: int, hi: int, t: int) -> tuple[bool, int]:
    """Whether the character at byte `i` is a letter, a digit or an underscore, and its width."""
    flags, width = flags_at(data, i, hi, t)
    return flags & _ALNUM != 0 or u8(data, i) == _UNDERSCORE, width


@inner()
def _longest(data: int, i: int, hi: int, t: int, tree: Any, entry: Any, spaced: bool) -> tuple[int, int]:
    """The longest entry at byte `i` and where it ends; -1 where there is none."""
    node, best, end = np.int64(0), np.int64(-1), i
    while i < hi:
        node = np.int64(tree[node, u8(data, i)])
        if node == 0:
            break
        i += 1
        if entry[node] >= 0:
            inside = False
            if spaced and i < hi:
                inside, _ = _is_word(data, i, hi, t)
            if not inside:
                best, end = np.int64(entry[node]), i
    return best, end


@kernel()
def _find(data: Any, offsets: Any, block: Any, tree: Any, entry: Any, sizes: Any, spaced: bool) -> Any:
    address, t = data.ctypes.data, block.ctypes.data
    out = np.zeros((offsets.shape[0] - 1, 4), np.int64)
    seen = np.full(sizes.shape[0], -1, np.int64)
    for d in range(out.shape[0]):
        i, hi, row = np.int64(offsets[d]), np.int64(offsets[d + 1]), out[d]
        row[3] = -1
        inside = False
        while i < hi:
            here, width = _is_word(address, i, hi, t)
            if not (spaced and inside) and tree[0, u8(address, i)] != 0:
                found, end = _longest(address, i, hi, t, tree, entry, spaced)
                if found >= 0:
                    row[0] += 1
                    row[1] += seen[found] != d
                    row[2] += sizes[found]
                    row[3] = found if row[3] < 0 else row[3]
                    seen[found] = d
                    while i < end:  # the last character of the entry says what stands before the next place
                        inside, width = _is_word(address, i, hi, t)
                        i += width
                    continue
            inside = here
            i += width
    return out


def find_listed(texts: pa.Array, tree: Tree, *, spaced: bool) -> NDArray[np.int64]:
    """Counts of `COUNTS` a text, `first` the number of the first entry found, -1 for none: int64 of shape (texts, counts).

    From the left, the longest entry at each place; with `spaced`, one that has no word's character on either side.
    """
    data, offsets = buffers(texts)
    counts: NDArray[np.int64] = _find(data, offsets, lexicon(), tree.next, tree.entry, tree.sizes, spaced)
    return counts
