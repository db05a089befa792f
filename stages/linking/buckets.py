"""Which pairs of documents are compared: those that share a key, all of them in small buckets, stars in large ones.

A document is told by its place (shard and row) and ordered by the first 64 bits of its `doc_id`, then by its place, so
that which pairs are compared does not depend on how documents are cut into shards.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.document import packed
from stages.flow import TO, partition_of, place_of, shard_of

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]


def order_of(doc_ids: pa.ChunkedArray) -> Keys:
    """The first 64 bits of each `doc_id`, in the order of the whole: uint64 of shape (documents,)."""
    return np.ascontiguousarray(packed(doc_ids)[:, :8]).view(">u8").ravel().astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Entries:
    """One row for each document and key of a shard, sorted by key, then by the document's order."""

    key: Keys
    order: Keys
    row: Ints

    @classmethod
    def of(cls, keys: Keys, order: Keys, rows: Ints) -> "Entries":
        """The entries of documents (in any order) with `keys` of shape (documents, keys a document)."""
        by_order = np.lexsort((rows, order))
        flat = keys[by_order].ravel()
        sort = np.argsort(flat, kind="stable")
        document = by_order[sort // keys.shape[1]] if keys.shape[1] else sort
        return cls(flat[sort], order[document], rows[document])

    def starts(self) -> Ints:
        """Where each distinct key begins."""
        return _starts(self.key)


def _starts(sorted_keys: NDArray[Any]) -> Ints:
    changes: Ints = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1])) if len(sorted_keys) else _NONE
    return changes


_NONE = np.empty(0, np.int64)


def offered(entries: Entries, shard: int, partitions: int, most: int) -> pa.Table:
    """What a shard tells of its keys: the first `most` documents of each, and how many it has (on the first's row)."""
    starts = entries.starts()
    size = np.diff(np.append(starts, len(entries.key)))
    rank = np.arange(len(entries.key)) - np.repeat(starts, size)
    chosen = np.flatnonzero(rank < most)
    members = np.zeros(len(entries.key), np.int64)
    members[starts] = size
    key = entries.key[chosen]
    return pa.table(
        {
            TO: partition_of(key, partitions),
            "key": key,
            "order": entries.order[chosen],
            "place": place_of(shard, entries.row[chosen]),
            "members": members[chosen],
        }
    )


def centers(rows: pa.Table, most: int) -> tuple[pa.Table, dict[str, int]]:
    """The first `most` documents of every bucket, for each shard that has others of the bucket; and counts.

    A bucket of more than `most` documents is capped: its members are compared with the first `most` alone.
    """
    key, order, place, members = (rows[c].to_numpy() for c in ("key", "order", "place", "members"))
    by_key = np.argsort(key, kind="stable")
    sorted_key = key[by_key]
    starts = _starts(sorted_key)
    total = np.add.reduceat(members[by_key], starts) if len(starts) else _NONE
    crowded = np.repeat(total > 1, np.diff(np.append(starts, len(key))))
    some = by_key[crowded]
    some = some[np.lexsort((place[some], order[some], key[some]))]
    key, order, place, members = key[some], order[some], place[some], members[some]
    total = total[total > 1]
    starts = _starts(key)
    size = np.diff(np.append(starts, len(key)))
    bucket = np.repeat(np.arange(len(starts)), size)
    asking = _asking(members, starts)
    count = np.minimum(size, most)[bucket[asking]]
    ask = np.repeat(asking, count)
    within = np.arange(len(ask)) - np.repeat(np.cumsum(count) - count, count)
    center = starts[bucket[ask]] + within
    table = pa.table({TO: shard_of(place[ask]), "key": key[center], "order": order[center], "place": place[center]})
    capped = total > most
    compared = np.where(capped, most * (most - 1) // 2 + (total - most) * most, total * (total - 1) // 2)
    counts = {
        "buckets": len(starts),
        "capped_buckets": int(capped.sum()),
        "skipped_pairs": int((total * (total - 1) // 2 - compared).sum()),
    }
    return table, counts


def _asking(members: Ints, starts: Ints) -> Ints:
    """One entry for each bucket and shard, unless the bucket's first document is all that the shard has of it."""
    first = np.flatnonzero(members > 0)
    alone = (members[first] == 1) & np.isin(first, starts)
    asking: Ints = first[~alone]
    return asking


def pairs_of(entries: Entries, told: pa.Table, shard: int) -> tuple[Ints, Ints]:
    """Distinct pairs (row of this shard, place of a center that comes before it), sorted."""
    if not told.num_rows or not len(entries.key):
        return _NONE, _NONE
    sort = np.argsort(told["key"].to_numpy(), kind="stable")
    key, order, place = (told[c].to_numpy()[sort] for c in ("key", "order", "place"))
    starts = _starts(key)
    size = np.diff(np.append(starts, len(key)))
    found = np.searchsorted(key[starts], entries.key)
    found[found == len(starts)] = 0
    mine = np.flatnonzero(key[starts][found] == entries.key)
    group = found[mine]
    entry = np.repeat(mine, size[group])
    within = np.arange(len(entry)) - np.repeat(np.cumsum(size[group]) - size[group], size[group])
    center = np.repeat(starts[group], size[group]) + within
    row, own, other = entries.row[entry], entries.order[entry], order[center]
    own_place = place_of(shard, row)
    before = (other < own) | ((other == own) & (place[center] < own_place))
    return distinct_pairs(row[before], place[center][before])


def distinct_pairs(first: Ints, second: Ints) -> tuple[Ints, Ints]:
    """The distinct pairs, sorted."""
    sort = np.lexsort((second, first))
    first, second = first[sort], second[sort]
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new]
