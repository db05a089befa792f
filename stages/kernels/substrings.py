"""Passages around anchors: gathered from texts, compared byte for byte, and what of them is struck.

A passage is the bytes of all windows of N bytes that chose the same anchor (see `winnowing`). Every window is in one
passage, and equal windows are in passages with equal anchors, at equal distances from them.
"""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors
# ruff: noqa: FBT001, PLR0917 - numba takes flat arguments by position

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers, frozen
from stages.kernels.peek import copy, inner, kernel, u8, u64
from stages.kernels.utf8 import span_hash
from stages.kernels.winnowing import anchor_bytes, choose, chunk_of, power_of

#: Columns of the table of passages. RANK orders documents; AT is the anchor's place in the passage.
KEY, HASH, AT, RANK, ROW, BEGIN, COUNT = range(7)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_32 = np.uint64(32)
ALL = 2**64 - 1


@inner()
def _slot(h: int, slots: int) -> int:
    """Where a hash begins to look in a table of a power of two of places."""
    m = h * _PRIME
    return np.int64((m ^ (m >> _32)) & np.uint64(slots - 1))


@inner()
def _equal(a: int, b: int, size: int) -> bool:
    """Whether `size` bytes at two addresses are equal."""
    i = np.int64(0)
    while i + 8 <= size:
        if u64(a + i, 0) != u64(b + i, 0):
            return False
        i += 8
    while i < size:
        if u8(a, i) != u8(b, i):
            return False
        i += 1
    return True


@kernel()
def _known(keys: Any) -> Any:
    """A hash table of keys, none of which is 0."""
    slots = 16
    while slots < 2 * keys.shape[0]:
        slots *= 2
    table = np.empty(slots, np.uint64)
    table[:] = 0
    for i in range(keys.shape[0]):
        s = _slot(keys[i], slots)
        while table[s] != np.uint64(0) and table[s] != keys[i]:
            s = (s + 1) & (slots - 1)
        table[s] = keys[i]
    return table


@inner()
def _is_known(table: Any, key: int) -> bool:
    s = _slot(key, table.shape[0])
    while table[s] != np.uint64(0):
        if table[s] == key:
            return True
        s = (s + 1) & (table.shape[0] - 1)
    return False


@inner()
def _noted(spans: Any, used: Any, row: int, begin: int, end: int) -> Any:
    """The spans with one more, joined to the last where they touch; larger where there was no room."""
    n = used[1]
    if n and spans[n - 1, 0] == row and spans[n - 1, 1] <= begin <= spans[n - 1, 2]:
        spans[n - 1, 2] = max(end, spans[n - 1, 2])
        return spans
    if n == spans.shape[0]:
        larger = np.empty((2 * n, 3), np.int64)
        copy(larger, 0, spans, 0, 3 * n)
        spans = larger
    spans[n, 0], spans[n, 1], spans[n, 2] = row, begin, end
    used[1] = n + 1
    return spans


@inner()
def _find(slots: Any, table: Any, ends: Any, store: Any, key: int, h: int, at: int, passage: int, size: int) -> int:
    """The slot of a passage, or the empty one where it belongs."""
    s = _slot(np.uint64(h), slots.shape[0])
    while slots[s] >= 0:
        e = slots[s]
        alike = table[e, HASH] == h and table[e, KEY] == key and table[e, AT] == at and ends[e + 1] - ends[e] == size
        if alike and _equal(store.ctypes.data + ends[e], passage, size):
            return s
        s = (s + 1) & (slots.shape[0] - 1)
    return s


@inner()
def _room(table: Any, ends: Any, store: Any, slots: Any, n: int, size: int) -> tuple[Any, Any, Any, Any]:
    """The arrays, larger where the n-th passage has no room."""
    if n == table.shape[0]:
        more = np.empty((2 * n, 7), np.int64)
        copy(more, 0, table, 0, 7 * n)
        table = more
        longer = np.empty(2 * n + 1, np.int64)
        copy(longer, 0, ends, 0, n + 1)
        ends = longer
    if ends[n] + size > store.shape[0]:
        larger = np.empty(np.int64(1.5 * store.shape[0]) + size, np.uint8)
        copy(larger, 0, store, 0, ends[n])
        store = larger
    if 2 * (n + 1) > slots.shape[0]:
        slots = np.empty(2 * slots.shape[0], np.int32)
        slots[:] = -1
        for e in range(n):
            s = _slot(np.uint64(table[e, HASH]), slots.shape[0])
            while slots[s] >= 0:
                s = (s + 1) & (slots.shape[0] - 1)
            slots[s] = e
    return table, ends, store, slots


@kernel()
def _gather(
    data: Any, offsets: Any, rows: Any, ranks: Any, size: int, k: int, mask: int, known: Any, table: Any, ends: Any,
    store: Any, slots: Any, spans: Any, used: Any,
) -> tuple[Any, Any, Any, Any, Any]:  # fmt: skip
    """Add the passages of texts whose anchors are known. `used` counts passages and spans."""
    t, width, power = data.ctypes.data, size - k + 1, power_of(k)
    chunk = chunk_of(width)
    grams, keys = np.empty(chunk + width, np.uint64), np.empty(chunk + 1, np.uint64)
    chosen = np.empty((chunk + 2, 2), np.int64)
    for d in range(offsets.shape[0] - 1):
        lo, windows = np.int64(offsets[d]), np.int64(offsets[d + 1]) - np.int64(offsets[d]) - size + 1
        row, rank, have = rows[d], ranks[d], np.int64(0)
        for first in range(0, windows, chunk):
            count = choose(t, lo, first, min(chunk, windows - first), k, width, power, grams, chosen, keys, have)
            last = first + chunk >= windows
            chosen[count, 1] = windows  # where the last passage's windows end, if this is the end of the text
            for c in range(count if last else count - 1):
                if not _is_known(known, keys[c]):
                    continue
                begin, at = chosen[c, 1], chosen[c, 0] - chosen[c, 1]
                length = chosen[c + 1, 1] - begin + size - 1
                passage = t + lo + begin
                key = np.int64(keys[c])
                h = np.int64((span_hash(passage, np.int64(0), length) + np.uint64(at)) & np.uint64(mask))
                s = _find(slots, table, ends, store, key, h, at, passage, length)
                e = np.int64(slots[s])
                if e < 0:
                    n = used[0]
                    slots[s] = n
                    table, ends, store, slots = _room(table, ends, store, slots, n, length)
                    table[n, KEY], table[n, HASH], table[n, AT], table[n, RANK] = key, h, at, rank
                    table[n, ROW], table[n, BEGIN], table[n, COUNT] = row, begin, 1
                    at_store = ends[n]
                    for i in range(length):
                        store[at_store + i] = data[lo + begin + i]
                    ends[n + 1] = at_store + length
                    used[0] = n + 1
                    continue
                table[e, COUNT] += 1
                if rank < table[e, RANK]:
                    spans = _noted(spans, used, table[e, ROW], table[e, BEGIN], table[e, BEGIN] + length)
                    table[e, RANK], table[e, ROW], table[e, BEGIN] = rank, row, begin
                else:
                    spans = _noted(spans, used, row, begin, begin + length)
            chosen[0, 0], chosen[0, 1], keys[0] = chosen[count - 1, 0], chosen[count - 1, 1], keys[count - 1]
            have = 1
    grams[0] = data[0] if data.shape[0] else 0  # numba frees an array after its last use, whoever holds its address
    return table, ends, store, slots, spans


class Passages:
    """The distinct passages of a shard whose anchors are among `keys`, each with its first place and its count.

    `spans` are (row, begin, end) of every other place of them. `mask` weakens the hash, for tests.
    """

    def __init__(self, keys: NDArray[np.uint64], min_bytes: int, mask: int = ALL) -> None:
        self._known = _known(keys)
        self._size, self._k, self._mask = min_bytes, anchor_bytes(min_bytes), np.uint64(mask)
        self._table, self._ends = np.empty((1024, 7), np.int64), np.zeros(1025, np.int64)
        self._store, self._slots = np.empty(1 << 16, np.uint8), np.full(4096, -1, np.int32)
        self._spans, self._used = np.empty((64, 3), np.int64), np.zeros(2, np.int64)

    def add(self, texts: pa.Array, rows: NDArray[np.int64], ranks: NDArray[np.int64]) -> None:
        """Gather from texts; `ranks` order all documents of the shard."""
        data, offsets = buffers(texts)
        state = (self._table, self._ends, self._store, self._slots, self._spans)
        self._table, self._ends, self._store, self._slots, self._spans = _gather(
            data, offsets, rows, ranks, self._size, self._k, self._mask, self._known, *state, self._used
        )

    @property
    def table(self) -> NDArray[np.int64]:
        """A row for every passage: KEY, HASH, AT, RANK, ROW, BEGIN, COUNT."""
        return self._table[: self._used[0]]

    @property
    def spans(self) -> NDArray[np.int64]:
        """(row, begin, end) of each place where a passage occurs that is not its first."""
        return self._spans[: self._used[1]]

    @property
    def bytes(self) -> pa.Array:
        """The passages themselves."""
        n = int(self._used[0])
        places, content = pa.py_buffer(self._ends[: n + 1]), pa.py_buffer(self._store[: self._ends[n]])
        return pa.LargeBinaryArray.from_buffers(pa.large_binary(), n, [None, places, content])


@inner()
def _before(order: Any, at: Any, e: int, f: int) -> bool:
    """Whether passage `e` comes before `f`, of the same anchor: by document, then by the anchor's place."""
    for i in range(2):
        if order[i, e] != order[i, f]:
            return order[i, e] < order[i, f]
    return order[2, e] + np.uint64(at[e]) < order[2, f] + np.uint64(at[f])


@inner()
def _put(found: Any, n: int, e: int, begin: int, end: int) -> Any:
    if n == found.shape[0]:
        larger = np.empty((2 * n, 3), np.int64)
        copy(larger, 0, found, 0, 3 * n)
        found = larger
    found[n, 0], found[n, 1], found[n, 2] = e, begin, end
    return found


@inner()
def _alike(t: int, offsets: Any, at: Any, members: Any) -> bool:
    """Whether all passages of a group are equal."""
    e = members[0]
    size = offsets[e + 1] - offsets[e]
    for i in range(1, members.shape[0]):
        f = members[i]
        if at[f] != at[e] or offsets[f + 1] - offsets[f] != size or not _equal(t + offsets[e], t + offsets[f], size):
            return False
    return True


@inner()
def _first(order: Any, at: Any, members: Any) -> int:
    best = members[0]
    for i in range(1, members.shape[0]):
        if _before(order, at, members[i], best):
            best = members[i]
    return best


@kernel()
def _struck(
    data: Any, offsets: Any, keys: Any, by_key: Any, at: Any, order: Any, count: Any, size: int, every: bool, mask: int
) -> Any:
    """(passage, begin, end) of what is struck of each passage's first place; `order` is (3, passages)."""
    t, total = data.ctypes.data, by_key.shape[0]
    found, n = np.empty((1024, 3), np.int64), np.int64(0)
    slots, mine = np.empty(16, np.int32), np.empty(16, np.int32)
    best, copies, begun = np.empty(16, np.int64), np.empty(16, np.int64), np.empty(16, np.int64)
    lo = np.int64(0)
    while lo < total:
        hi = lo + 1
        while hi < total and keys[by_key[hi]] == keys[by_key[lo]]:
            hi += 1
        members, c = by_key[lo:hi], hi - lo
        lo = hi
        if c == 1 and (count[members[0]] == 1 or not every):
            continue
        if _alike(t, offsets, at, members):
            kept = np.int64(-1) if every else _first(order, at, members)
            for i in range(c):
                if members[i] != kept:
                    found = _put(found, n, members[i], np.int64(0), offsets[members[i] + 1] - offsets[members[i]])
                    n += 1
            continue
        if 2 * c > slots.shape[0]:
            room = 2 * slots.shape[0]
            while room < 2 * c:
                room *= 2
            slots, mine = np.empty(room, np.int32), np.empty(room, np.int32)
            best, copies, begun = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
        room = 16
        while room < 2 * c:
            room *= 2
        most, least = np.int64(0), np.int64(size)
        for i in range(c):
            e = members[i]
            begun[i] = -1
            most, least = max(most, at[e]), min(least, at[e] - (offsets[e + 1] - offsets[e] - size))
        for left in range(most, least - 1, -1):  # bytes before the anchor in a window: only equal ones can be equal
            slots[:room] = -1
            for i in range(c):
                e, j = members[i], at[members[i]] - left
                mine[i] = -1
                if j < 0 or j > offsets[e + 1] - offsets[e] - size:
                    continue
                window = t + offsets[e] + j
                s = _slot(span_hash(window, np.int64(0), size) & np.uint64(mask), room)
                while slots[s] >= 0:
                    f = members[slots[s]]
                    if _equal(window, t + offsets[f] + at[f] - left, size):
                        break
                    s = (s + 1) & (room - 1)
                if slots[s] < 0:
                    slots[s], best[s], copies[s] = i, e, count[e]
                else:
                    copies[s] += count[e]
                    if _before(order, at, e, best[s]):
                        best[s] = e
                mine[i] = s
            for i in range(c):
                e, j, s = members[i], at[members[i]] - left, mine[i]
                if s >= 0 and (copies[s] > 1 if every else best[s] != e):
                    if begun[i] < 0:
                        begun[i] = j
                elif begun[i] >= 0:
                    found = _put(found, n, e, begun[i], j - 1 + size)
                    n += 1
                    begun[i] = -1
        for i in range(c):
            if begun[i] >= 0:
                found = _put(found, n, members[i], begun[i], offsets[members[i] + 1] - offsets[members[i]])
                n += 1
    begun[0] = data[0] if data.shape[0] else 0  # numba frees an array after its last use, whoever holds its address
    return found[:n].copy()


def struck(
    passages: pa.Array,
    keys: NDArray[np.uint64],
    at: NDArray[np.int64],
    order: NDArray[np.uint64],
    count: NDArray[np.int64],
    min_bytes: int,
    *,
    every: bool,
    mask: int = ALL,
) -> NDArray[np.int64]:
    """(passage, begin, end) of the bytes in windows that occur earlier, or with `every` anywhere else.

    Args:
        passages: all passages with the same keys, as `large_binary`; equal ones of different shards are apart.
        keys: the hash of each one's anchor.
        at: the anchor's place in it.
        order: the document's order (two numbers) and the place of the passage in it: shape (3, passages).
        count: how often it occurs in its shard; it stands for the first of these.
        min_bytes: N.
        every: whether the first of equal windows counts too.
        mask: weakens the hash, for tests.

    """
    _, places, content = passages.buffers()
    offsets = np.frombuffer(places, np.int64, len(passages) + 1, 8 * passages.offset)
    data = np.frombuffer(content, np.uint8) if content is not None and content.size else np.empty(0, np.uint8)
    by_key = np.argsort(keys, kind="stable")
    found: NDArray[np.int64] = _struck(
        frozen(data), frozen(offsets), keys, by_key, at, order, count, min_bytes, every, np.uint64(mask)
    )
    return found
