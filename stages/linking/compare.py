"""Comparing pairs of documents that may lie in different shards: who is asked for, what is lent, how alike they are.

A pair is a row of the asking shard and the place of a document that comes before it. Each shard asks for every such
document once, whatever the number of pairs, and is lent its signature or its set of n-gram hashes.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.document import packed, unpacked
from stages.flow import TO, Site, place_of, row_of, shard_of

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
ID = pa.binary(16)
_HASH, _VALUE, _BYTE = np.dtype("<u8"), np.dtype("<u4"), np.dtype(np.uint8)


@dataclass(frozen=True, slots=True)
class Pairs:
    """Rows of this shard and the places of what they are compared with; sorted by row."""

    row: Ints
    place: Ints


def valid(values: pa.ChunkedArray) -> Ints:
    """The rows that are not null."""
    return np.flatnonzero(pc.is_valid(values).to_numpy())


def signatures(values: pa.ChunkedArray, rows: Ints) -> NDArray[np.uint32]:
    """Signatures of the rows: uint32 of shape (rows, values)."""
    width = values.type.byte_width // 4
    whole = values.combine_chunks() if len(rows) == len(values) else values.take(pa.array(rows)).combine_chunks()
    return _words(whole, _VALUE).reshape(-1, width)


def _words(whole: Any, kind: np.dtype[Any]) -> NDArray[Any]:
    whole = pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) and whole.num_chunks else whole
    if not len(whole):
        return np.empty(0, kind)
    width = whole.type.byte_width
    return np.frombuffer(whole.buffers()[1], kind, len(whole) * width // kind.itemsize, whole.offset * width)


def wanted(row: Ints, place: Ints, shard: int) -> pa.Table:
    """The pairs, sent to the own shard, and the distinct places, sent to theirs: (asker, row, place)."""
    distinct = np.unique(place)
    none = np.full(len(distinct), -1, np.int64)
    return pa.table(
        {
            TO: np.concatenate([np.full(len(row), shard, np.int64), shard_of(distinct)]),
            "asker": np.full(len(row) + len(distinct), shard, np.int64),
            "row": np.concatenate([row, none]),
            "place": np.concatenate([place, distinct]),
        }
    )


def own_pairs(table: pa.Table, shard: int) -> Pairs:
    """The shard's own pairs out of what `wanted` sent."""
    row, asker = table["row"].to_numpy(), table["asker"].to_numpy()
    mine = (row >= 0) & (asker == shard)
    return Pairs(row[mine], table["place"].to_numpy()[mine])


def _asked(table: pa.Table) -> tuple[Ints, Ints]:
    """Askers and the rows that they ask for."""
    asks = table["row"].to_numpy() < 0
    return table["asker"].to_numpy()[asks], row_of(table["place"].to_numpy()[asks])


def asked_rows(table: pa.Table) -> Ints:
    """The distinct rows that any shard asks for, sorted."""
    return np.unique(_asked(table)[1])


def lent(site: Site, table: pa.Table, rows: Ints, content: pa.Array) -> pa.Table:
    """What goes to each asker: (place, doc_id, content); `content` is that of `rows`."""
    asker, row = _asked(table)
    at = pa.array(np.searchsorted(rows, row))
    ids = site.columns()["doc_id"].take(pa.array(row))
    return pa.table(
        {
            TO: asker,
            "place": place_of(site.number, row),
            "doc_id": ids,
            "content": content.take(at),
        }
    )


def sets_of(texts: Iterable[pa.RecordBatch], sketch: Any) -> pa.Array:
    """The sorted distinct 64-bit hashes of each text's n-grams, as bytes."""
    from stages.kernels.shingles import shingle_hashes  # noqa: PLC0415 - numba is slow to import

    parts = []
    for batch in texts:
        values, offsets = shingle_hashes(batch["text"], sketch)
        places = pa.py_buffer(np.ascontiguousarray(offsets, np.int64) * 8)
        parts.append(
            pa.Array.from_buffers(
                pa.large_binary(), len(offsets) - 1, [None, places, pa.py_buffer(values.view(np.uint8))]
            )
        )
    return pa.concat_arrays(parts) if parts else pa.array([], pa.large_binary())


def signature_similarity(pairs: Pairs, rows: Ints, own: pa.Array, lent: pa.Table) -> Floats:
    """The share of equal values of each pair's signatures; `own` is the content of `rows`."""
    from stages.kernels.minhash import signature_jaccard  # noqa: PLC0415 - numba is slow to import

    if not len(pairs.row):
        return np.empty(0)
    mine = _matrix(own)[np.searchsorted(rows, pairs.row)]
    return signature_jaccard(mine, _matrix(_one(lent["content"]))[_found(lent, pairs)])


def set_similarity(pairs: Pairs, rows: Ints, own: pa.Array, lent: pa.Table) -> Floats:
    """The true Jaccard index of each pair's n-gram sets."""
    from stages.kernels.minhash import set_jaccard  # noqa: PLC0415 - numba is slow to import

    if not len(pairs.row):
        return np.empty(0)
    mine, theirs = _lists(own), _lists(_one(lent["content"]))
    jaccard: Floats = set_jaccard(*mine, *theirs, np.searchsorted(rows, pairs.row), _found(lent, pairs))
    return jaccard


def _one(values: pa.ChunkedArray) -> pa.Array:
    return values.chunk(0) if values.num_chunks == 1 else pa.concat_arrays(values.chunks)


def _matrix(content: pa.Array) -> NDArray[np.uint32]:
    """Signatures kept as bytes, all of one length."""
    values, offsets = _lists(content, _VALUE)
    return values[offsets[0] : offsets[-1]].reshape(len(content), -1)


def _lists(content: pa.Array, kind: np.dtype[Any] = _HASH) -> tuple[NDArray[Any], Ints]:
    """Values and offsets (in values) of numbers that are kept as bytes."""
    _, places, data = content.buffers()
    offsets = np.frombuffer(places, np.int64, len(content) + 1, 8 * content.offset) // kind.itemsize
    return np.frombuffer(data, kind) if data is not None and data.size else np.empty(0, kind), offsets


def _found(lent: pa.Table, pairs: Pairs) -> Ints:
    """For each pair the row of `lent` that holds what it is compared with."""
    place = lent["place"].to_numpy()
    sort = np.argsort(place, kind="stable")
    found: Ints = sort[np.searchsorted(place[sort], pairs.place)]
    return found


def edges(
    pairs: Pairs, shard: int, ids: NDArray[np.uint8], lent: pa.Table, jaccard: Floats, linked: NDArray[np.bool_]
) -> pa.Table:
    """Each pair as each of its documents sees it: (row, own id, other place, other id, jaccard, linked, later).

    `later` is true on the row of the document that comes later, so that a pair can be taken once.
    """
    theirs = packed(lent["doc_id"])[_found(lent, pairs)] if len(pairs.row) else np.empty((0, 16), np.uint8)
    mine = ids[pairs.row]
    own_place = place_of(shard, pairs.row)
    later = np.ones(len(pairs.row), bool)
    return pa.table(
        {
            TO: np.concatenate([np.full(len(pairs.row), shard, np.int64), shard_of(pairs.place)]),
            "row": np.concatenate([pairs.row, row_of(pairs.place)]),
            "place": np.concatenate([own_place, pairs.place]),
            "id": fixed(np.concatenate([mine, theirs])),
            "other": np.concatenate([pairs.place, own_place]),
            "other_id": fixed(np.concatenate([theirs, mine])),
            "jaccard": np.concatenate([jaccard, jaccard]),
            "linked": np.concatenate([linked, linked]),
            "later": np.concatenate([later, ~later]),
        }
    )


def links(site: Site, table: pa.Table) -> pa.Table:
    """The links among what `edges` sent, each once, as `components.LINKS`."""
    del site
    once = table.filter(pc.and_(table["linked"], table["later"]))
    return pa.table({"a": once["place"], "b": once["other"], "a_id": once["id"], "b_id": once["other_id"]})


def fixed(ids: NDArray[np.uint8]) -> pa.Array:
    """16-byte values from uint8 of shape (rows, 16)."""
    return pa.FixedSizeBinaryArray.from_buffers(ID, len(ids), [None, pa.py_buffer(np.ascontiguousarray(ids))])


class Found:
    """The columns of near duplicates, row by row of a shard."""

    def __init__(self, rows: int) -> None:
        self._cluster = np.zeros((rows, 16), np.uint8)
        self._size = np.ones(rows, np.int64)
        self._nearest = np.zeros((rows, 16), np.uint8)
        self._jaccard = np.full(rows, -1.0)

    def own(self, ids: NDArray[np.uint8]) -> None:
        """Every document begins as its own cluster."""
        self._cluster[:] = ids

    def label(self, labels: pa.Table) -> None:
        """Clusters of linked documents."""
        row = labels["row"].to_numpy()
        self._cluster[row] = _words(labels["cluster"].combine_chunks(), _BYTE).reshape(-1, 16)
        self._size[row] = labels["cluster_size"].to_numpy()

    def near(self, edges: pa.Table) -> None:
        """The most similar of the documents compared with each; ties: the smallest `doc_id`."""
        row, jaccard = edges["row"].to_numpy(), edges["jaccard"].to_numpy()
        other = _words(edges["other_id"].combine_chunks(), _BYTE).reshape(-1, 16)
        halves = other.view(">u8").reshape(-1, 2)
        sort = np.lexsort((halves[:, 1], halves[:, 0], -jaccard, row))
        first = np.ones(len(sort), bool)
        first[1:] = row[sort][1:] != row[sort][:-1]
        best = sort[first]
        self._nearest[row[best]] = other[best]
        self._jaccard[row[best]] = jaccard[best]

    def columns(self) -> dict[str, pa.Array]:
        """The columns by name."""
        alone = self._jaccard < 0
        nearest = pc.if_else(pa.array(alone), pa.scalar(None, pa.string()), unpacked(self._nearest))
        return {
            "cluster": unpacked(self._cluster),
            "cluster_size": pa.array(self._size),
            "nearest": nearest,
            "jaccard": pa.array(self._jaccard, mask=alone),
        }
