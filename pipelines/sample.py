"""Documents to look at: chosen by hash, so the same question about a run shows the same documents.

Choosing reads ids and verdicts only, one shard at a time; text is read for the chosen documents alone.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.shards import Shard, batches
from pipelines.view import RunView
from stages.catalog import did_you_mean
from stages.chance import draw, lowest
from stages.errors import SpecError
from stages.rules import NOT_SELECTED

FATES = ("kept", "rejected", "quarantined")
#: Document columns that tell where a document came from.
ORIGIN = ("id", "source", "path", "ordinal", "url", "lang", "license")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a document is: position of its shard in the run, and its row there."""

    shard: int
    row: int


class Lowest:
    """The `n` documents with the lowest numbers among all that were offered. Bounded by `n`."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._numbers = np.empty(0, np.uint64)
        self._places = np.empty((0, 2), np.int64)

    def offer(self, shard: int, numbers_N: npt.NDArray[np.uint64], rows_N: npt.NDArray[np.int64]) -> None:
        """Consider the rows of a shard, each with its number."""
        best = lowest(numbers_N, self._n)
        numbers = np.concatenate([self._numbers, numbers_N[best]])
        places = np.concatenate([self._places, np.stack([np.full(len(best), shard), rows_N[best]], axis=1)])
        order = np.lexsort((places[:, 1], places[:, 0], numbers))[: self._n]
        self._numbers, self._places = numbers[order], places[order]

    def places(self) -> list[Place]:
        """The chosen documents, lowest number first."""
        return [Place(int(shard), int(row)) for shard, row in self._places]


def sample(view: RunView, fate: str, reason: str | None, n: int, seed: int) -> list[dict[str, Any]]:
    """At most `n` documents of a fate (and a reason), in the order of their hash.

    Each has `doc_id`, its origin, `fate`, `reasons`, the `values` of the columns that rules read, and `text`: the one
    that leaves, else the original. Malformed records have a `message` instead of text.

    Raises:
        SpecError: an unknown fate or reason.
    """
    if fate not in FATES:
        raise SpecError(f"the fate {fate!r} does not exist{did_you_mean(fate, list(FATES))}", fate=fate)
    if fate == "quarantined":
        return _sample_quarantined(view, reason, n, seed)
    if reason is not None:
        _check_reason(view, fate, reason)
    chosen = Lowest(n)
    for index, shard in enumerate(view.shards):
        columns = ["verdict.fate", *(["verdict.reasons"] if reason else [])]
        table = view.read(shard, columns)
        here = pc.equal(table["verdict.fate"], fate).to_numpy()
        if reason is not None:
            here = here & having(table["verdict.reasons"], reason)
        rows = np.flatnonzero(here)
        chosen.offer(index, draw(seed, "sample", table["doc_id"])[rows], rows)
    return list(documents(view, chosen.places()))


def documents(view: RunView, places: Sequence[Place], characters: int | None = None) -> Iterator[dict[str, Any]]:
    """The documents at these places, in this order, their text cut to `characters`.

    Reads each shard that holds one of them once.
    """
    found: dict[Place, dict[str, Any]] = {}
    values = value_columns(view)
    columns = list(dict.fromkeys([*ORIGIN, "verdict.fate", "verdict.reasons", *values, view.text]))
    for index in sorted({p.shard for p in places}):
        shard, rows = view.shards[index], sorted({p.row for p in places if p.shard == index})
        records = dict(rows_of(view, shard, rows, columns))
        textless = [row for row, record in records.items() if record[view.text] is None]
        originals = {row: record["text"] for row, record in rows_of(view, shard, textless, ["text"])}
        for row, record in records.items():
            text = originals.get(row, record[view.text])
            found[Place(index, row)] = _document(record, text, [v for v in values if v != view.text], characters)
    return (found[p] for p in places)


def rows_of(
    view: RunView, shard: Shard, rows: Sequence[int], columns: Sequence[str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Some rows (ascending) of a shard, by row; reads the row groups that hold them, one at a time."""
    starts = _group_starts(view, shard)
    by_group: dict[int, list[int]] = {}
    for row in rows:
        by_group.setdefault(bisect_right(starts, row) - 1, []).append(row)
    wanted = list(dict.fromkeys(["doc_id", *columns]))
    found = batches(view.store, shard, wanted, view.sidecars(shard, wanted), by_group)
    for (group, here), batch in zip(by_group.items(), found, strict=True):
        records = batch.take(pa.array([r - starts[group] for r in here], pa.int64())).to_pylist()
        yield from zip(here, records, strict=True)


def _group_starts(view: RunView, shard: Shard) -> list[int]:
    """The first row of each row group of a shard."""
    shape = pq.read_metadata(view.store.open_input(shard.path))
    sizes = [shape.row_group(i).num_rows for i in range(shape.num_row_groups)]
    return list(accumulate(sizes[:-1], initial=0))


def value_columns(view: RunView) -> list[str]:
    """The columns that plain rules test, each once, in the order of the rules."""
    return list(dict.fromkeys(rule.column for rule in view.policy.plain))


def known_reasons(view: RunView) -> list[str]:
    """Every reason that the run's policy can give, in its order."""
    plain = [rule.reason for rule in view.policy.plain]
    selection = [NOT_SELECTED] if view.policy.selects else []
    return list(dict.fromkeys([*plain, *(rule.reason for rule in view.policy.one_of), *selection]))


def having(reasons: pa.ChunkedArray, reason: str) -> npt.NDArray[np.bool_]:
    """For every row, whether `reason` is one of its reasons."""
    mask = np.zeros(len(reasons), bool)
    start = 0
    for chunk in reasons.chunks:
        rows = pc.list_parent_indices(chunk).filter(pc.equal(chunk.flatten(), reason))
        mask[start + rows.to_numpy()] = True
        start += len(chunk)
    return mask


def _document(record: dict[str, Any], text: str | None, values: list[str], characters: int | None) -> dict[str, Any]:
    return {
        "doc_id": record["doc_id"],
        **{name: record[name] for name in ORIGIN},
        "fate": record["verdict.fate"],
        "reasons": record["verdict.reasons"] or [],
        "values": {name: record[name] for name in values},
        "text": text if characters is None or text is None else text[:characters],
        "text_characters": None if text is None else len(text),
    }


def _sample_quarantined(view: RunView, reason: str | None, n: int, seed: int) -> list[dict[str, Any]]:
    table = view.quarantined()
    if reason is not None:
        known = pc.unique(table["reason"]).to_pylist()
        if reason not in known:
            raise SpecError(f"nothing was quarantined for {reason!r}{did_you_mean(reason, known)}", reason=reason)
        table = table.filter(pc.equal(table["reason"], reason))
    rows = lowest(draw(seed, "sample", table["doc_id"]), n)
    chosen = table.take(pa.array(rows)).to_pylist()
    return [{**record, "fate": "quarantined", "reasons": [record["reason"]], "text": None} for record in chosen]


def _check_reason(view: RunView, fate: str, reason: str) -> None:
    known = known_reasons(view)
    if fate == "kept":
        raise SpecError("kept documents have no reason; leave --reason out or ask for --fate rejected", reason=reason)
    if reason not in known:
        raise SpecError(f"no rule of this run gives the reason {reason!r}{did_you_mean(reason, known)}", reason=reason)
