"""Grouping documents by 64-bit keys through open hash tables, and union-find over links between them."""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.peek import copy, inner, kernel


@inner()
def _table(entries: int) -> Any:
    """An empty table for so many entries: a power of two of slots, at most half full."""
    slots = np.int64(16)
    while slots < 2 * entries:
        slots *= 2
    table = np.empty(slots, np.int32)
    table[:] = -1
    return table


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
    table = _table(room)
    out_key, out_document = np.empty(room, np.uint64), np.empty(room, np.int64)
    members = np.empty(room, np.int64)
    members[:] = 0
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
    table = _table(n)
    first, total = np.empty(n, np.int64), np.empty(n, np.int64)
    total[:] = 0
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
    table = _table(wanted.shape[0])
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
                room *= 2
                more_documents, more_places = np.empty(room, np.int64), np.empty(room, np.int64)
                copy(more_documents, 0, document, 0, n)
                copy(more_places, 0, place, 0, n)
                document, place = more_documents, more_places
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
    parent = np.empty(documents, np.int64)
    for i in range(documents):
        parent[i] = i
    for i in range(a.shape[0]):
        x, y = _root(parent, a[i]), _root(parent, b[i])
        if x < y:
            parent[y] = x
        else:
            parent[x] = y
    for i in range(documents):
        parent[i] = _root(parent, i)
    return parent
