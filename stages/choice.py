"""Which document of each cluster stays: the rule `one_of`, for the rows of whole clusters.

Deterministic whatever the order of the rows: the better value first (no value last), then the document's
place in the corpus (source, path, ordinal).
"""

from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

#: The columns that `lost` reads besides `cluster` and, unless the first is to stay, `value`.
PLACE = ("source", "path", "ordinal")


def lost(rows: pa.Table, order: Literal["highest", "lowest"] = "highest") -> NDArray[np.bool_]:
    """True for every row that goes because another member of its cluster stays.

    A row with a null cluster is alone and never goes. Memory: a few arrays of 8 bytes a row.

    Args:
        rows: the rows that are still kept, complete clusters in any order, with `cluster` (any type),
            `source` (the spec's name of it), `path`, `ordinal`, and `value` (number, text, truth value; nullable)
            unless the first in the corpus is to stay. For `longest` the value is the number of UTF-8 bytes.
        order: whether the highest or the lowest value stays.
    """
    gone = np.zeros(rows.num_rows, bool)
    members, cluster = best_first(rows, order)
    gone[members[1:][cluster[1:] == cluster[:-1]]] = True
    return gone


def best_first(
    rows: pa.Table, order: Literal["highest", "lowest"] = "highest"
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every row that shares its cluster, cluster by cluster, who is to stay first; and a number of each row's cluster.

    Among any part of the rows the first of a cluster is the one that `lost` leaves. Arguments as for `lost`.
    """
    cluster = _codes(rows["cluster"])
    sizes = np.bincount(cluster[cluster >= 0], minlength=1)
    crowded = np.flatnonzero((cluster >= 0) & (sizes[cluster] > 1))
    if not len(crowded):
        return crowded, cluster[crowded]
    members = rows.take(crowded)
    keys: list[NDArray[Any]] = [members["ordinal"].to_numpy()]
    keys += [_rank(members["path"], "ascending"), _rank(members["source"], "ascending")]
    if "value" in rows.column_names:
        keys.append(_rank(members["value"], "descending" if order == "highest" else "ascending"))
    keys.append(cluster[crowded])
    found = crowded[np.lexsort(keys)]  # the last key counts most
    return found, cluster[found]


def _codes(values: pa.ChunkedArray) -> NDArray[np.int64]:
    """A small number for each distinct value, -1 for null."""
    encoded = _whole(values).dictionary_encode() if not pa.types.is_dictionary(values.type) else _whole(values)
    codes: NDArray[np.int64] = encoded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    return codes


def _rank(values: pa.ChunkedArray, order: str) -> NDArray[Any]:
    """The place of each value among the distinct ones, nulls last (as Arrow has it); text by code points."""
    array = _whole(values)
    array = array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
    if pa.types.is_boolean(array.type):
        array = array.cast(pa.int8())
    rank: NDArray[Any] = pc.rank(array, sort_keys=order, tiebreaker="dense").to_numpy()
    return rank


def _whole(values: pa.ChunkedArray) -> pa.Array:
    if isinstance(values, pa.ChunkedArray):
        whole = values.unify_dictionaries().combine_chunks()
        return pa.concat_arrays(whole.chunks) if isinstance(whole, pa.ChunkedArray) else whole
    return values
