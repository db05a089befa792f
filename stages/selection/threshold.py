"""Where a budget ends: the first document in order that does not fit, found by weighing ever narrower ranges.

No document travels but those of the range in which the budget ends. In each round all shards weigh the documents of
256 ranges; the range in which the budget ends is cut again while more than `AT_ONCE` documents are in it.
"""

import math
from collections.abc import Sequence
from functools import partial

import numpy as np
import pyarrow as pa

from stages.flow import TO, Exchange, Flow, Site
from stages.selection.keys import Rows, in_order, values_of
from stages.selection.ranking import range_of, sample_of, split

#: Documents that one process takes at once: 48 bytes each, and as much again to sort them.
AT_ONCE = 1 << 20
RANGES = 256
SAMPLE = 64
_COUNTED = 1_000_000


def first_left_out(flow: Flow, rows: Exchange, amount: int, at_once: int = AT_ONCE) -> Exchange:
    """Sent to every shard: key and `doc_id` of the first document in order that `amount` does not cover; no row if all fit.

    `rows` are the documents of each shard (`Rows`), sent to itself.

    Counts `short_of_budget`: how much of the amount is left when all fit; and the document's `threshold_priority_in_millionths`.
    """
    levels: list[Exchange] = []
    weights: list[Exchange] = []
    documents = rows.rows
    while True:
        sample = flow.at("shards", "sample", partial(_sampled, documents), rows, *levels, to="one")
        splitters = flow.at("one", "split", partial(split, RANGES), sample, to="shards")
        weights.append(flow.at("shards", "weigh", _weighed, rows, splitters, *levels, to="one"))
        aim = flow.at("one", "aim", partial(_aimed, amount), *weights, to="shards")
        levels += [splitters, aim]
        near = flow.at("shards", "near", _near, rows, *levels, to="one")
        if near.rows <= at_once or near.rows == documents:
            return flow.at("one", "threshold", partial(_threshold, amount), near, *weights, to="shards")
        documents = near.rows


def _within(table: pa.Table, levels: Sequence[pa.Table]) -> Rows:
    """The rows of the range that was aimed at in every round so far."""
    rows = Rows.of(table)
    for splitters, aim in zip(levels[::2], levels[1::2], strict=True):
        rows = rows.take(range_of(rows, splitters) == aim["range"].to_numpy()[0])
    return rows


def _sampled(documents: int, site: Site, rows: pa.Table, *levels: pa.Table) -> pa.Table:
    del site
    return sample_of(_within(rows, levels), RANGES * SAMPLE, documents)


def _weighed(site: Site, rows: pa.Table, splitters: pa.Table, *levels: pa.Table) -> pa.Table:
    del site
    mine = _within(rows, levels)
    weight = np.zeros(RANGES, np.int64)
    np.add.at(weight, range_of(mine, splitters), mine.amount)
    some = np.flatnonzero(weight)
    return pa.table({TO: np.zeros(len(some), np.int64), "range": some, "amount": weight[some]})


def _aimed(amount: int, site: Site, *weights: pa.Table) -> pa.Table:
    shards = site.sites["shards"]
    return pa.table({TO: np.arange(shards), "range": np.full(shards, _aim(amount, weights)[0])})


def _aim(amount: int, weights: Sequence[pa.Table]) -> tuple[int, int]:
    """The last round's range in which the amount ends (`RANGES` if it covers all), and what is left of it there."""
    found, left = RANGES, amount
    for table in weights:
        total = [0] * RANGES
        for number, weight in zip(table["range"].to_pylist(), table["amount"].to_pylist(), strict=True):
            total[number] += weight
        found = RANGES
        for number, weight in enumerate(total):
            if weight > left:
                found = number
                break
            left -= weight
    return found, left


def _near(site: Site, rows: pa.Table, *levels: pa.Table) -> pa.Table:
    del site
    table = _within(rows, levels).table()
    return table.append_column(TO, pa.array(np.zeros(table.num_rows, np.int64)))


def _threshold(amount: int, site: Site, near: pa.Table, *weights: pa.Table) -> tuple[pa.Table, dict[str, int]]:
    found, left = _aim(amount, weights)
    rows = Rows.of(near)
    order = in_order(rows)
    out = order[np.cumsum(rows.amount[order]) > left][:1]
    counts = {"short_of_budget": left if found == RANGES else 0}
    value = float(values_of(rows.key[out])[0]) if len(out) else math.nan
    if math.isfinite(value * _COUNTED):
        counts["threshold_priority_in_millionths"] = round(value * _COUNTED)
    shards = site.sites["shards"]
    told = {c: np.tile(getattr(rows, c)[out], shards) for c in ("key", "high", "low")}
    return pa.table({TO: np.repeat(np.arange(shards), len(out)), **told}), counts
