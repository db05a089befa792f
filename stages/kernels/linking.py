"""Grouping documents by 64-bit keys through open hash tables, and union-find over links between them."""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.peek import inner, kernel


@inner()
def _slots(entries: int) -> int:
    """Slots of a table for so many entries: a power of two, at most half full."""
    slots = np.int64(16)
    while slots < 2 * entries:
        slots *= 2
    return slots


@inner()
def _slot(table: Any, of: Any, key: int) -> int:
    """The slot that holds an entry with the key, or the empty one where it belongs. Keys are hashes already."""
    mask = table.shape[0] - 1
    i = np.int64(key & np.uint64(mask))
    while table[i] >= 0 and of[table[i]] != key:
        i = (i + 1) & mask
    return i


@kernel()
def first_of_each(keys: Any, documents: Any, most: int) -> tuple[Any, Any, Any]:
    """The first `most` documents of each key: key, document, and how many have it on the first's entry (else 0).

    `keys` is (documents, keys a document); `documents` are taken in the order given.
    """
    room = documents.shape[0] * keys.shape[1]
    table = np.full(_slots(room), np.int32(-1))
    out_key, out_document = np.empty(room, np.uint64), np.empty(room, np.int64)
    members = np.zeros(room, np.int64)
    n = 0
    for place in range(documents.shape[0]):
        d = documents[place]
        for k in range(keys.shape[1]):
            key = keys[d, k]
            i = _slot(table, out_key, key)
            first = np.int64(table[i])
            if first < 0:
                table[i] = n
                first = n
            members[first] += 1
            if members[first] <= most:
                out_key[n], out_document[n] = key, d
                n += 1
    return out_key[:n], out_document[:n], members[:n]


@kernel()
def total_members(keys: Any, members: Any) -> Any:
    """For each entry the sum of `members` over the entries with its key."""
    n = keys.shape[0]
    table = np.full(_slots(n), np.int32(-1))
    first, total = np.empty(n, np.int64), np.zeros(n, np.int64)
    for e in range(n):
        i = _slot(table, keys, keys[e])
        if table[i] < 0:
            table[i] = e
        first[e] = table[i]
        total[first[e]] += members[e]
    for e in range(n):
        total[e] = total[first[e]]
    return total


@kernel()
def holders(keys: Any, wanted: Any) -> tuple[Any, Any]:
    """Every (document, place in `wanted`) where a document has a wanted key, by document; `wanted` are distinct."""
    table = np.full(_slots(wanted.shape[0]), np.int32(-1))
    for w in range(wanted.shape[0]):
        table[_slot(table, wanted, wanted[w])] = w
    room = np.int64(1024)
    document, place = np.empty(room, np.int64), np.empty(room, np.int64)
    n = np.int64(0)
    for d in range(keys.shape[0]):
        for k in range(keys.shape[1]):
            w = np.int64(table[_slot(table, wanted, keys[d, k])])
            if w < 0:
                continue
            if n == room:
                document = np.concatenate((document, np.empty(room, np.int64)))
                place = np.concatenate((place, np.empty(room, np.int64)))
                room *= 2
            document[n], place[n] = d, w
            n += 1
    return document[:n], place[:n]


@inner()
def _root(parent: Any, i: int) -> int:
    """The root of a document's tree; the path to it is halved."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel()
def roots(a: Any, b: Any, documents: int) -> Any:
    """The smallest number of each document's component, int64 of shape (documents,), for links a[i] - b[i]."""
    parent = np.arange(documents)
    for i in range(a.shape[0]):
        x, y = _root(parent, a[i]), _root(parent, b[i])
        if x < y:
            parent[y] = x
        else:
            parent[x] = y
    for i in range(documents):
        parent[i] = _root(parent, i)
    return parent
