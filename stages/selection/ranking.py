"""The rank of every document in its group, and what stands before it: a distributed sort by sampling.

    offered = flow.at("shards", "rows", offer, to="shards")             # each shard's rows, to itself
    rows = scattered(flow, offered)                                     # sample, splitters, range partitions
    sums = flow.at("partitions", "sum", summed, rows, to="one")         # prefix sums
    starts = flow.at("one", "starts", started, sums, to="partitions")
    flow.at("partitions", "decide", decide, rows, starts, to="shards")  # decide() calls ranked(rows, starts)

The splitters are quantiles of a sample that the documents' ids choose (Frazer and McKellar 1970, Samplesort), so a
partition holds its share of the documents within a few percent; what is ranked depends on the documents alone.
Bound: a partition's rows (48 bytes each, and as much again to sort them), the sample, and a row for every partition
and group in one process.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pyarrow as pa

from stages.chance import mixed
from stages.flow import TO, Exchange, Flow, Site, partitions_for, place_of
from stages.selection.keys import Ints, Keys, Rows, in_order

#: Documents of the sample for each range.
SAMPLE = 256


@dataclass(frozen=True, slots=True)
class Ranked:
    """Rows of a partition in order, and where they stand in their group, which may reach over many partitions."""

    rows: Rows
    rank: Ints  # documents of the group that stand before
    members: Ints  # documents of the group
    before: Ints  # amount of those that stand before


def scattered(flow: Flow, offered: Exchange) -> Exchange:
    """All rows that shards sent to themselves, in range partitions by group, key and `doc_id`."""
    flow.split(partitions_for(offered.rows))
    partitions = flow.sites["partitions"]
    if partitions == 1:
        return flow.at("shards", "scatter", scatter, offered, to="partitions")
    sample = flow.at("shards", "sample", partial(sampled, partitions * SAMPLE, offered.rows), offered, to="one")
    splitters = flow.at("one", "split", partial(split, partitions), sample, to="shards")
    return flow.at("shards", "scatter", scatter, offered, splitters, to="partitions")


def sampled(wanted: int, documents: int, site: Site, offered: pa.Table) -> pa.Table:
    """About `wanted` of all rows, chosen by their ids."""
    del site
    return sample_of(Rows.of(offered), wanted, documents)


def sample_of(rows: Rows, wanted: int, documents: int) -> pa.Table:
    """About `wanted` of so many rows, for `one`."""
    if wanted < documents:
        chance = mixed(0, "sample", rows.high, rows.low)
        rows = rows.take(chance < np.uint64((wanted << 64) // documents))
    return pa.table(
        {
            TO: np.zeros(len(rows.key), np.int64),
            "group": rows.group,
            "key": rows.key,
            "high": rows.high,
            "low": rows.low,
        }
    )


def split(ranges: int, site: Site, sample: pa.Table) -> pa.Table:
    """Documents that cut the sample into equal ranges, for every shard."""
    nothing = np.zeros(sample.num_rows, np.int64)
    group, key, high, low = (sample[c].to_numpy() for c in ("group", "key", "high", "low"))
    rows = Rows(nothing, group, key, high, low, nothing)
    cuts = np.arange(1, ranges) * sample.num_rows // ranges if sample.num_rows else nothing
    chosen = rows.take(in_order(rows)[cuts])
    shards = site.sites["shards"]
    told = {c: np.tile(getattr(chosen, c), shards) for c in ("group", "key", "high")}
    return pa.table({TO: np.repeat(np.arange(shards), len(cuts)), **told})


def range_of(rows: Rows, splitters: pa.Table) -> Ints:
    """The range of each row: how many splitters do not stand after it."""
    group, key, high = (splitters[c].to_numpy() for c in ("group", "key", "high"))
    low, up = np.zeros(len(rows.key), np.int64), np.full(len(rows.key), len(key))
    if len(key) and group[0] == group[-1] and (rows.group == group[0]).all():
        low, up = np.searchsorted(key, rows.key, side="left"), np.searchsorted(key, rows.key, side="right")
    searching = np.flatnonzero(low < up)
    while len(searching):
        middle = (low[searching] + up[searching]) // 2
        g, k, h = group[middle], key[middle], high[middle]
        own_g, own_k, own_h = rows.group[searching], rows.key[searching], rows.high[searching]
        passed = (g < own_g) | ((g == own_g) & ((k < own_k) | ((k == own_k) & (h <= own_h))))
        low[searching[passed]] = middle[passed] + 1
        up[searching[~passed]] = middle[~passed]
        searching = searching[low[searching] < up[searching]]
    return low


def scatter(site: Site, offered: pa.Table, splitters: pa.Table | None = None) -> pa.Table:
    """The shard's rows to their range partitions, with their places in the corpus."""
    rows = Rows.of(offered)
    to = np.zeros(len(rows.key), np.int64) if splitters is None else range_of(rows, splitters)
    table = rows.table().set_column(0, "place", pa.array(place_of(site.number, rows.place)))
    return table.append_column(TO, pa.array(to))


def summed(site: Site, rows: pa.Table) -> pa.Table:
    """How many documents, and what amount, of each group a partition holds."""
    groups, code = np.unique(rows["group"].to_numpy(), return_inverse=True)
    amount = np.zeros(len(groups), np.int64)
    np.add.at(amount, code, rows["amount"].to_numpy())
    return pa.table(
        {
            TO: np.zeros(len(groups), np.int64),
            "partition": np.full(len(groups), site.number),
            "group": groups,
            "documents": np.bincount(code, minlength=len(groups)).astype(np.int64),
            "amount": amount,
        }
    )


def started(site: Site, sums: pa.Table) -> pa.Table:
    """For each partition and group what stands before it in the group, and how large the group is; to the partition."""
    del site
    partition, group, documents, amount = (sums[c].to_numpy() for c in ("partition", "group", "documents", "amount"))
    sort = np.lexsort((partition, group))
    partition, group, documents, amount = partition[sort], group[sort], documents[sort], amount[sort]
    first, size = runs(group)
    documents_before, amount_before = np.cumsum(documents) - documents, np.cumsum(amount) - amount
    members = np.add.reduceat(documents, first) if len(first) else documents
    return pa.table(
        {
            TO: partition,
            "group": group,
            "rank": documents_before - np.repeat(documents_before[first], size),
            "before": amount_before - np.repeat(amount_before[first], size),
            "members": np.repeat(members, size),
        }
    )


def runs(values: Keys | Ints) -> tuple[Ints, Ints]:
    """Where runs of equal values begin, and how long they are."""
    new = np.ones(len(values), bool)
    new[1:] = values[1:] != values[:-1]
    first = np.flatnonzero(new)
    return first, np.diff(np.append(first, len(values)))


def ranked(table: pa.Table, starts: pa.Table) -> Ranked:
    """A partition's rows in order, with their ranks."""
    rows = Rows.of(table)
    rows = rows.take(in_order(rows))
    first, size = runs(rows.group)
    sort = np.argsort(starts["group"].to_numpy())  # one row a group, and the groups are those of the rows
    rank, before, members = (starts[c].to_numpy()[sort] for c in ("rank", "before", "members"))
    sums = np.cumsum(rows.amount) - rows.amount
    return Ranked(
        rows,
        np.arange(len(rows.key)) - np.repeat(first - rank, size),
        np.repeat(members, size),
        sums - np.repeat(sums[first] - before, size),
    )
