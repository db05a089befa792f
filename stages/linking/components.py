"""Connected components of links between documents: at once where they fit in memory, else in rounds of stars.

The rounds are Kiveris et al. (2014), Connected Components in MapReduce and Beyond: large-star and small-star in turn
until nothing changes; each is a shuffle by document, so no process holds more than one partition of the links.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.flow import TO, Exchange, Flow, Site, partition_of, partitions_for, row_of, shard_of

#: Links (two places and two `doc_id`s, 48 bytes) that one process takes at once: about 1 GB with what it makes of them.
AT_ONCE = 4_000_000
#: Links of one partition in a round.
PARTITION_LINKS = 1_000_000
_ODD = np.uint64(0x9E3779B97F4A7C15)
ID = pa.binary(16)
#: A link: two places (shard and row) and their `doc_id`s as 16 bytes.
LINKS = pa.schema([("a", pa.int64()), ("b", pa.int64()), ("a_id", ID), ("b_id", ID)])
#: What a shard learns: for each of its linked documents the smallest `doc_id` of its cluster, and the cluster's size.
LABELS = pa.schema([("row", pa.int64()), ("cluster", ID), ("cluster_size", pa.int64())])

Links = Callable[..., pa.Table]


def clusters(flow: Flow, links: Links, edges: Exchange, at_once: int = AT_ONCE) -> Exchange:
    """The cluster of every linked document, sent to its shard as `LABELS`.

    `links(site, table)` gives the links (`LINKS`) among the rows that `edges` sent to a shard.
    """
    if edges.rows <= at_once:
        gathered = flow.at("shards", "links", partial(_all_to_one, links), edges, to="one")
        return flow.at("one", "components", components, gathered, to="shards")
    flow.split(partitions_for(edges.rows, PARTITION_LINKS))
    stars = flow.at("shards", "links", partial(_both_ways, links), edges, to="partitions")
    changed = True
    while changed:
        large = flow.at("partitions", "large-star", large_star, stars, to="partitions")
        small = flow.at("partitions", "small-star", small_star, large, to="partitions")
        changed = bool(large.counts.get("relinked", 0) or small.counts.get("relinked", 0))
        stars = flow.at("partitions", "turn", _turned, small, to="partitions") if changed else small
    return flow.at("partitions", "components", star_labels, stars, to="shards")


def _all_to_one(links: Links, site: Site, table: pa.Table) -> pa.Table:
    found = links(site, table)
    return found.append_column(TO, pa.array(np.zeros(found.num_rows, np.int64)))


def _both_ways(links: Links, site: Site, table: pa.Table) -> pa.Table:
    return _to_first(_doubled(links(site, table)), site)


def _turned(site: Site, links: pa.Table) -> pa.Table:
    return _to_first(_doubled(links), site)


def _doubled(links: pa.Table) -> pa.Table:
    """Every link from both of its ends."""
    back = links.select(["b", "a", "b_id", "a_id"]).rename_columns(["a", "b", "a_id", "b_id"])
    return pa.concat_tables([links.select(LINKS.names), back])


def _to_first(links: pa.Table, site: Site) -> pa.Table:
    keys = links["a"].to_numpy().astype(np.uint64) * _ODD
    return links.append_column(TO, pa.array(partition_of(keys, site.sites["partitions"])))


# -- at once --------------------------------------------------------------------------------------------------------------


def components(site: Site, links: pa.Table) -> pa.Table:
    """The cluster and its size for every place in the links, to its shard."""
    from stages.kernels.linking import roots  # noqa: PLC0415 - numba is slow to import

    del site
    a, b = links["a"].to_numpy(), links["b"].to_numpy()
    places, first, inverse = np.unique(np.concatenate([a, b]), return_index=True, return_inverse=True)
    ids = np.concatenate([_bytes(links["a_id"]), _bytes(links["b_id"])])[first]
    label = roots(inverse[: len(a)], inverse[len(a) :], len(places))
    return _labelled(places, ids, label)


def _labelled(places: NDArray[np.int64], ids: NDArray[np.uint8], label: NDArray[np.int64]) -> pa.Table:
    """Rows of `LABELS` for places with their ids and any label that is equal within a cluster."""
    halves = np.ascontiguousarray(ids).view(">u8").reshape(-1, 2)
    sort = np.lexsort((halves[:, 1], halves[:, 0], label))
    new = np.ones(len(sort), bool)
    new[1:] = label[sort][1:] != label[sort][:-1]
    starts = np.flatnonzero(new)
    size = np.diff(np.append(starts, len(sort)))
    cluster = np.repeat(ids[sort][starts], size, axis=0)
    return pa.table(
        {
            TO: shard_of(places[sort]),
            "row": row_of(places[sort]),
            "cluster": _fixed(cluster),
            "cluster_size": np.repeat(size, size),
        }
    )


# -- in rounds ------------------------------------------------------------------------------------------------------------


def large_star(site: Site, links: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Link every later neighbour of a document to the earliest of the document and its neighbours."""
    links = _by_first(links)
    a, b = links["a"].to_numpy(), links["b"].to_numpy()
    least = _least(links)
    later = np.flatnonzero(b > a)
    relinked = int(np.count_nonzero(least.place[later] != a[later]))
    found = pa.table(
        {
            "a": b[later],
            "b": least.place[later],
            "a_id": links["b_id"].take(pa.array(later)),
            "b_id": _fixed(least.ids[later]),
        }
    )
    return _to_first(_distinct(found), site), {"relinked": relinked}


def small_star(site: Site, links: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Link the earlier neighbours of a document, and itself, to the earliest of them. Links come as (later, earlier)."""
    links = _by_first(links)
    a, b = links["a"].to_numpy(), links["b"].to_numpy()
    least = _least(links)
    moved = np.flatnonzero(b != least.place)
    own = np.flatnonzero(_new(a))
    found = pa.table(
        {
            "a": np.concatenate([b[moved], a[own]]),
            "b": np.concatenate([least.place[moved], least.place[own]]),
            "a_id": _fixed(np.concatenate([_bytes(links["b_id"])[moved], _bytes(links["a_id"])[own]])),
            "b_id": _fixed(np.concatenate([least.ids[moved], least.ids[own]])),
        }
    )
    # The star's links go to the partition of the center, where the next round, or the labels, need them together.
    turned = found.select(["b", "a", "b_id", "a_id"]).rename_columns(LINKS.names)
    return _to_first(_distinct(turned), site), {"relinked": len(moved)}


def star_labels(site: Site, links: pa.Table) -> pa.Table:
    """`LABELS` from stars that came as (center, leaf)."""
    del site
    links = _by_first(links)
    a = links["a"].to_numpy()
    own = np.flatnonzero(_new(a))
    places = np.concatenate([links["b"].to_numpy(), a[own]])
    ids = np.concatenate([_bytes(links["b_id"]), _bytes(links["a_id"])[own]])
    return _labelled(places, ids, np.concatenate([a, a[own]]))


class _Least:
    """For each link the earliest of its first document and all that document's neighbours."""

    def __init__(self, place: NDArray[np.int64], ids: NDArray[np.uint8]) -> None:
        self.place, self.ids = place, ids


def _least(links: pa.Table) -> _Least:
    """Of links sorted by (a, b)."""
    a, b = links["a"].to_numpy(), links["b"].to_numpy()
    starts = np.flatnonzero(_new(a))
    size = np.diff(np.append(starts, len(a)))
    head = np.repeat(starts, size)
    own = a < b[head]
    ids = np.where(own[:, None], _bytes(links["a_id"]), _bytes(links["b_id"])[head])
    return _Least(np.where(own, a, b[head]), ids)


def _by_first(links: pa.Table) -> pa.Table:
    sort = np.lexsort((links["b"].to_numpy(), links["a"].to_numpy()))
    return links.combine_chunks().take(pa.array(sort))


def _distinct(links: pa.Table) -> pa.Table:
    links = _by_first(links)
    a, b = links["a"].to_numpy(), links["b"].to_numpy()
    return links.filter(pa.array(_new(a) | _new(b)))


def _new(values: NDArray[np.int64]) -> NDArray[np.bool_]:
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    return new


def _bytes(ids: pa.ChunkedArray) -> NDArray[np.uint8]:
    """Fixed 16-byte values as uint8 of shape (rows, 16)."""
    whole = pa.concat_arrays(ids.chunks) if ids.num_chunks else pa.array([], ID)
    data = whole.buffers()[1]
    if not len(whole) or data is None:
        return np.empty((0, 16), np.uint8)
    return np.frombuffer(data, np.uint8, 16 * len(whole), 16 * whole.offset).reshape(-1, 16)


def _fixed(ids: NDArray[np.uint8]) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])
