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
class Keyed:
    """Documents of a shard with their keys: `key` is (documents, keys a document); the others one a document."""

    key: Keys
    order: Keys
    row: Ints


def _starts(sorted_keys: NDArray[Any]) -> Ints:
    changes: Ints = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1])) if len(sorted_keys) else _NONE
    return changes


_NONE = np.empty(0, np.int64)


def offered(documents: Keyed, shard: int, partitions: int, most: int) -> pa.Table:
    """What a shard tells of its keys: the first `most` documents of each, and how many it has (on the first's row)."""
    from stages.kernels.linking import first_of_each  # noqa: PLC0415 - numba is slow to import

    in_order = np.lexsort((documents.row, documents.order))
    key, document, members = first_of_each(documents.key, in_order, most)
    return pa.table(
        {
            TO: partition_of(key, partitions),
            "key": key,
            "order": documents.order[document],
            "place": place_of(shard, documents.row[document]),
            "members": members,
        }
    )


def centers(rows: pa.Table, most: int) -> tuple[pa.Table, dict[str, int]]:
    """The first `most` documents of every bucket, for each shard that has others of the bucket; and counts.

    A bucket of more than `most` documents is capped: its members are compared with the first `most` alone.
    """
    from stages.kernels.linking import total_members  # noqa: PLC0415 - numba is slow to import

    key, order, place, members = (rows[c].to_numpy() for c in ("key", "order", "place", "members"))
    total = total_members(key, members)
    some = np.flatnonzero(total > 1)
    some = some[np.lexsort((place[some], order[some], key[some]))]
    key, order, place, members = key[some], order[some], place[some], members[some]
    starts = _starts(key)
    total = total[some][starts]
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


def pairs_of(documents: Keyed, told: pa.Table, shard: int) -> tuple[Ints, Ints]:
    """Distinct pairs (row of this shard, place of a center that comes before it), sorted."""
    from stages.kernels.linking import holders  # noqa: PLC0415 - numba is slow to import

    sort = np.argsort(told["key"].to_numpy(), kind="stable")
    key, order, place = (told[c].to_numpy()[sort] for c in ("key", "order", "place"))
    starts = _starts(key)
    size = np.diff(np.append(starts, len(key)))
    holder, group = holders(documents.key, key[starts])
    document = np.repeat(holder, size[group])
    within = np.arange(len(document)) - np.repeat(np.cumsum(size[group]) - size[group], size[group])
    center = np.repeat(starts[group], size[group]) + within
    row, own, other = documents.row[document], documents.order[document], order[center]
    before = (other < own) | ((other == own) & (place[center] < place_of(shard, row)))
    return distinct_pairs(row[before], place[center][before])


def distinct_pairs(first: Ints, second: Ints) -> tuple[Ints, Ints]:
    """The distinct pairs, sorted."""
    sort = np.lexsort((second, first))
    first, second = first[sort], second[sort]
    new = np.ones(len(first), bool)
    new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
    return first[new], second[new]
