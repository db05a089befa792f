"""Clusters as arrays: their members best first, so that a choice among any part of them is one look at who is left.

    members.npy  rows, cluster by cluster, who stays before who goes; clusters of one are not there
    groups.npy   the number of each member's cluster
    starts.npy   where each cluster begins among the members, and one more at the end
    by_size.npy  the clusters' numbers, the largest first
    names        each cluster's value in the run, as text

Memory: about `CHOICE_ROWS` documents with a cluster at a time, or the largest cluster; clusters are numbered as found.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.service.explorer.columns import texts_at, write_texts
from pipelines.service.explorer.parts import CHUNK, array_at, find_json, part_name, row_type, write_json
from pipelines.shards import Shard
from pipelines.what_if import CHOICE_ROWS, SIZE, View
from stages.choice import best_first
from stages.flow import keys_of, partition_of
from stages.rule_binding import FIRST, LONGEST, BoundOneOf

READY = "clusters.json"


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters of one column, with the members of each in the order of one choice."""

    members: NDArray[Any]
    groups: NDArray[Any]
    starts: NDArray[np.int64]
    by_size: NDArray[Any]
    names: pa.ChunkedArray

    @classmethod
    def at(cls, folder: Path) -> "Clusters":
        """The clusters that `build_clusters` left in a folder."""
        members, groups, starts, by_size = (
            array_at(folder / f"{n}.npy") for n in ("members", "groups", "starts", "by_size")
        )
        return cls(members, groups, starts, by_size, texts_at(folder / "names"))

    def lose(self, kept: NDArray[np.bool_]) -> int:
        """Take every kept document out of `kept` before which another kept one of its cluster stays; gives how many."""
        gone, last = 0, -1
        for start in range(0, len(self.members), CHUNK):
            members = self.members[start : start + CHUNK]
            here = np.flatnonzero(np.take(kept, members))  # places cost less than masks
            if not len(here):
                continue
            groups = np.take(self.groups[start : start + CHUNK], here)
            later = 1 + np.flatnonzero(groups[1:] == groups[:-1])
            losers = members[here[np.append(0, later) if groups[0] == last else later]]
            kept[losers] = False
            gone, last = gone + len(losers), int(groups[-1])
        return gone


def ready(folder: Path) -> bool:
    """Whether a folder holds clusters."""
    return find_json(folder / READY) is not None


def name_of(choice: BoundOneOf) -> str:
    """A folder's name for what the order of the members depends on."""
    return part_name(choice.cluster, choice.by, choice.order)


def build_clusters(view: View, choice: BoundOneOf, folder: Path, tell: Callable[[int], None]) -> None:
    """Write the clusters of a choice's column; `tell` hears of documents, about as many as the run has."""
    rows = sum(s.rows for s in view.shards)
    size = _size(view, choice)
    rounds = max(1, -(-_crowded(view, choice, size) // CHOICE_ROWS)) if rows > CHOICE_ROWS else 1
    members: list[NDArray[Any]] = []
    sizes: list[NDArray[Any]] = []

    def found() -> Iterator[pa.Array]:
        for number in range(rounds):
            tables = [_candidates(view, s, start, choice, (number, rounds)) for start, s in _told(view, tell, rounds)]
            if not tables:
                return
            table = pa.concat_tables(tables)
            places, cluster = best_first(table, choice.order)
            members.append(table["row"].to_numpy()[places].astype(row_type(rows)))
            first = np.flatnonzero(np.concatenate([np.ones(min(1, len(cluster)), bool), cluster[1:] != cluster[:-1]]))
            sizes.append(np.diff(np.append(first, len(cluster))))
            names = table["cluster"].take(pa.array(places[first])).cast(pa.string())
            yield from (c for c in names.chunks if len(c))

    write_texts(folder / "names", found())
    every = np.concatenate([*sizes, np.empty(0, np.int64)])
    kind = row_type(rows)
    np.save(folder / "members.npy", np.concatenate([*members, np.empty(0, kind)]))
    np.save(folder / "groups.npy", np.repeat(np.arange(len(every), dtype=kind), every))
    np.save(folder / "starts.npy", np.concatenate([[0], np.cumsum(every)]).astype(np.int64))
    np.save(folder / "by_size.npy", np.argsort(-every, kind="stable").astype(kind))
    write_json(folder / READY, {"clusters": len(every), "largest": int(every.max(initial=0))})


def _told(view: View, tell: Callable[[int], None], rounds: int) -> Iterator[tuple[int, Shard]]:
    start = 0
    for shard in view.shards:
        yield start, shard
        tell(shard.rows // rounds)
        start += shard.rows


def _size(view: View, choice: BoundOneOf) -> str | None:
    """The column with the cluster's size, where its step has one: who is alone is not read further."""
    step, dot, leaf = choice.cluster.rpartition(".")
    size = f"{step}.cluster_size"
    return size if dot and leaf == "cluster" and size in view.fields else None


def _crowded(view: View, choice: BoundOneOf, size: str | None) -> int:
    """How many documents may share a cluster."""
    column = size or choice.cluster
    return sum(int(np.count_nonzero(_shared(view.read(s, [column]), choice.cluster, size))) for s in view.shards)


def _shared(table: pa.Table, cluster: str, size: str | None) -> NDArray[np.bool_]:
    if size is None:
        valid: NDArray[np.bool_] = table[cluster].is_valid().to_numpy()
        return valid
    shared: NDArray[np.bool_] = pc.greater(table[size], 1).fill_null(False).to_numpy()  # noqa: FBT003  # Arrow's argument
    return shared


def _candidates(view: View, shard: Shard, start: int, choice: BoundOneOf, part: tuple[int, int]) -> pa.Table:
    """A shard's rows whose cluster belongs to this part of the clusters, with what `best_first` reads."""
    value = None if choice.by == FIRST else SIZE if choice.by == LONGEST else choice.by
    size = _size(view, choice)
    wanted = [choice.cluster, "path", "ordinal", *([value] if value else []), *([size] if size else [])]
    table = view.read(shard, list(dict.fromkeys(wanted)))
    columns = {
        "row": pa.array(np.arange(start, start + shard.rows)),
        "cluster": table[choice.cluster],
        "source": pa.repeat(pa.scalar(shard.source), shard.rows),
        "path": table["path"],
        "ordinal": table["ordinal"],
    }
    if value:
        columns["value"] = table[value]
    mask = _shared(table, choice.cluster, size) & table[choice.cluster].is_valid().to_numpy()
    found = pa.table(columns).filter(pa.array(mask))
    number, rounds = part
    return found.filter(pa.array(partition_of(keys_of(found["cluster"]), rounds) == number)) if rounds > 1 else found
