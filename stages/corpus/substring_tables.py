"""What the rounds of `substring_duplicates` send each other."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.document import packed
from stages.flow import TO, Site, partition_of, place_of, row_of, shard_of

Ints = NDArray[np.int64]
Keys = NDArray[np.uint64]

#: A table for a round that sends nothing but counts.
NOTHING = pa.table({TO: pa.array([], pa.int64())})


@dataclass(frozen=True, slots=True)
class Ids:
    """The documents of a shard: two halves of each `doc_id`, and its rank among the shard's."""

    high: Keys
    low: Keys
    rank: Ints
    by_rank: Ints

    @classmethod
    def of(cls, doc_ids: pa.ChunkedArray) -> "Ids":
        """The ids of a shard's rows, in order."""
        halves = np.ascontiguousarray(packed(doc_ids)).view(">u8").astype(np.uint64)
        by_rank = np.lexsort((halves[:, 1], halves[:, 0]))
        rank = np.empty(len(halves), np.int64)
        rank[by_rank] = np.arange(len(halves))
        return cls(halves[:, 0], halves[:, 1], rank, by_rank)


def joined(values: pa.ChunkedArray) -> pa.Array:
    """The values as one array."""
    if values.num_chunks == 1:
        return values.chunk(0)
    return pa.concat_arrays(values.chunks) if values.num_chunks else pa.array([], values.type)


def flat(lists: pa.ChunkedArray) -> tuple[Keys, Ints]:
    """All values of lists, and how many each row has (none where it is null)."""
    whole = joined(lists)
    values = whole.flatten().to_numpy(zero_copy_only=False)
    return values, whole.value_lengths().fill_null(0).to_numpy().astype(np.int64)


def offered(keys: Keys, count: Ints, site: Site) -> pa.Table:
    """Fingerprints to the partitions where equal ones meet."""
    return pa.table(
        {
            TO: partition_of(keys, site.sites["partitions"]),
            "key": keys,
            "count": count.astype(np.int64),
            "shard": np.full(len(keys), site.number, np.int64),
        }
    )


def repeated(rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    """Of what `offered` sent, the fingerprints that are there more than once; counts their places."""
    keys, count = rows["key"].to_numpy(), rows["count"].to_numpy()
    by_key = np.argsort(keys, kind="stable")
    sorted_keys = keys[by_key]
    first = np.flatnonzero(np.append(True, sorted_keys[1:] != sorted_keys[:-1])) if len(keys) else np.empty(0, np.int64)
    total = np.add.reduceat(count[by_key], first) if len(keys) else count
    often = np.repeat(total > 1, np.diff(np.append(first, len(keys))))
    chosen = np.sort(by_key[often])
    table = pa.table({TO: rows["shard"].to_numpy()[chosen], "key": keys[chosen]})
    return table, {"repeated_fingerprints": int(count[chosen].sum())}


def rows_with(lists: pa.ChunkedArray, keys: Keys) -> Ints:
    """The rows whose lists hold one of the sorted `keys`."""
    values, sizes = flat(lists)
    if not len(keys):
        return np.empty(0, np.int64)
    at = np.minimum(np.searchsorted(keys, values), len(keys) - 1)
    rows: Ints = np.unique(np.repeat(np.arange(len(sizes)), sizes)[keys[at] == values])
    return rows


def sent(passages: Any, ids: Ids, site: Site) -> pa.Table:
    """Passages to the partitions where equal anchors meet, and finished spans, which only pass through one.

    A span has no anchor (`key` 0) and no bytes, and says in `end` where it ends.
    """
    from stages.kernels.byte_spans import merged  # noqa: PLC0415 - numba is slow to import
    from stages.kernels.substrings import AT, BEGIN, COUNT, KEY, RANK  # noqa: PLC0415 - numba is slow to import

    table, spans, partitions = passages.table, merged(passages.spans), site.sites["partitions"]
    keys = np.ascontiguousarray(table[:, KEY]).view(np.uint64)
    to, here = partition_of(keys, partitions), site.number % partitions
    by_site = np.argsort(to, kind="stable")  # in the order in which they leave, so that the bytes are copied once
    cut = int(np.searchsorted(to[by_site], here))
    rows = np.concatenate([by_site[:cut], len(table) + np.arange(len(spans)), by_site[cut:]])
    document = np.concatenate([ids.by_rank[table[:, RANK]], spans[:, 0]])[rows]
    content = passages.bytes.take(pa.array(by_site))
    empty = pa.array([b""] * len(spans), content.type)

    def column(of_passages: Any, of_spans: Any = 0) -> Any:
        both = [np.broadcast_to(of_passages, len(table)), np.broadcast_to(of_spans, len(spans))]
        return np.concatenate(both)[rows]

    return pa.table(
        {
            TO: column(to, here),
            "key": column(keys, np.uint64(0)),
            "place": place_of(site.number, document),
            "high": ids.high[document],
            "low": ids.low[document],
            "begin": column(table[:, BEGIN], spans[:, 1]),
            "end": column(0, spans[:, 2]),
            "at": column(table[:, AT]),
            "count": column(table[:, COUNT]),
            "passage": pa.chunked_array([content.slice(0, cut), empty, content.slice(cut)]),
        }
    )


def struck(rows: pa.Table, min_bytes: int, *, every: bool) -> tuple[pa.Table, dict[str, int]]:
    """Spans to strike, to the shards of their documents."""
    from stages.kernels.substrings import struck as compare  # noqa: PLC0415 - numba is slow to import

    rows = rows.combine_chunks()
    column = {name: rows[name].to_numpy() for name in rows.column_names if name != "passage"}
    whole = column["key"] != 0
    own = {name: values[whole] for name, values in column.items()}
    order = np.stack([own["high"], own["low"], own["begin"].astype(np.uint64)])
    passages = joined(rows["passage"].filter(pa.array(whole)))
    found = compare(passages, own["key"], own["at"], order, own["count"], min_bytes, every=every)
    place = np.concatenate([own["place"][found[:, 0]], column["place"][~whole]])
    begin = own["begin"][found[:, 0]]
    table = pa.table(
        {
            TO: shard_of(place),
            "row": row_of(place),
            "begin": np.concatenate([begin + found[:, 1], column["begin"][~whole]]),
            "end": np.concatenate([begin + found[:, 2], column["end"][~whole]]),
        }
    )
    return table, {"struck_passages": len(found)}
