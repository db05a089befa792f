"""What other thresholds would keep, answered from arrays: equal to `pipelines.what_if.what_if`, in the time of a click.

Only the rules that a change is about are judged again, by the run's own judge; what the others say is in the masks of
reasons. Choices go through the members of each cluster, which are kept in the order of the choice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.service.explorer.arrays import QUARANTINED, Arrays
from pipelines.service.explorer.columns import TooManyTextsError
from pipelines.service.explorer.failing import Failing
from pipelines.service.explorer.parts import chunks
from pipelines.what_if import changed, parse, resolved
from pipelines.what_if import what_if as from_sidecars
from stages.quantiles import MAX_GROUPS, nearest_rank
from stages.rules import NOT_SELECTED, BoundPolicy, BoundRule, Request, Thresholds
from stages.verdict import Threshold


def what_if(arrays: Arrays, rules: Sequence[str]) -> dict[str, Any]:
    """What `pipelines.what_if.what_if` says of the run and these rules.

    Raises:
        SpecError: a rule cannot be read, or names an unknown column or a value that does not fit it.
    """
    view = arrays.view
    changes = [parse(rule, view) for rule in rules]
    policy = changed(view.policy, changes)
    again = _to_judge(view.policy, policy)
    try:
        for rule in again:
            for column in rule.columns:
                arrays.column(column)
        thresholds = thresholds_of(arrays, policy)
    except TooManyTextsError:
        return from_sidecars(view, rules)
    kept, failed = _plain(arrays, policy, again, thresholds)
    gone = [arrays.clusters(choice).lose(kept) for choice in policy.one_of]
    counts = arrays.meta["counts"]
    after = {r.reason: failed.get(r.reason, counts.get(r.reason, 0)) for r in policy.plain}
    for choice, lost in zip(policy.one_of, gone, strict=True):
        after[choice.reason] = after.get(choice.reason, 0) + lost
    was, would, moved = _totals(arrays, kept)
    return {
        "run": view.run,
        "rules": [change.json(thresholds) for change in changes],
        "before_selection": policy.selects,
        "before": {**was, "reasons": {n: counts[n] for n in dict.fromkeys(view.policy.reasons)}},
        "after": {**would, "reasons": after},
        **moved,
    }


def _to_judge(was: BoundPolicy, now: BoundPolicy) -> list[BoundRule]:
    """The rules whose reasons' masks do not say what they would say now."""
    old, new = _by_reason(was), _by_reason(now)
    shared = {NOT_SELECTED, *(choice.reason for choice in now.one_of)}  # the mask says more than the rules
    return [r for reason, rules in new.items() if rules != old.get(reason) or reason in shared for r in rules]


def _by_reason(policy: BoundPolicy) -> dict[str, list[BoundRule]]:
    found: dict[str, list[BoundRule]] = {}
    for rule in policy.plain:
        found.setdefault(rule.reason, []).append(replace(rule, index=0))
    return found


def _plain(
    arrays: Arrays, policy: BoundPolicy, again: Sequence[BoundRule], thresholds: Thresholds
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which documents every plain rule keeps, and how many fail each reason that was judged again."""
    judges = [(rule.reason, Failing(arrays, rule, thresholds)) for rule in again]
    reasons = list(dict.fromkeys(rule.reason for rule in again))
    others = [0] * len(arrays.words)
    for reason in {r.reason for r in policy.plain} - set(reasons):
        word, bit = arrays.bit(reason)
        others[word] |= int(bit)
    kept = np.empty(arrays.rows, np.bool_)
    failed = dict.fromkeys(reasons, 0)
    for a, b in chunks(arrays.rows):
        sound = arrays.fate[a:b] != QUARANTINED
        keep = sound.copy()
        for words, mask in zip(arrays.words, others, strict=True):
            if mask:
                keep &= (words[a:b] & np.uint64(mask)) == 0
        for reason in reasons:
            mine = np.logical_or.reduce([fails(a, b) for r, fails in judges if r == reason]) & sound
            failed[reason] += int(np.count_nonzero(mine))
            keep &= ~mine
        kept[a:b] = keep
    return kept, failed


def _totals(arrays: Arrays, kept: NDArray[np.bool_]) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    """The totals before; those after are the same, with what is gained and without what is lost."""
    sums: Mapping[str, int] = arrays.meta["sums"]
    now, moved = dict(sums), {"gained": 0, "lost": 0}
    for a, b in chunks(arrays.rows):
        would = kept[a:b]
        rows = np.flatnonzero(would != arrays.was_kept(a, b))
        gained = would[rows]
        for sign, some in ((1, rows[gained]), (-1, rows[~gained])):
            moved["gained" if sign > 0 else "lost"] += len(some)
            now["documents"] += sign * len(some)
            now["bytes"] += sign * int(arrays.bytes[a:b][some].sum(dtype=np.int64))
            if arrays.tokens is not None:
                now["tokens"] += sign * int(arrays.tokens[a:b][some].sum(dtype=np.int64))
    before, after = (
        {
            "documents": found["documents"],
            "bytes": found["bytes"],
            "tokens": found["tokens"] if arrays.tokens is not None else None,
            "rejected": found["sound"] - found["documents"],
        }
        for found in (sums, now)
    )
    return before, after, moved


def thresholds_of(arrays: Arrays, policy: BoundPolicy) -> dict[str, Threshold]:
    """Percentiles by reason: those of the run where it has them, else of the documents in the order of their values."""
    view = arrays.view
    known: dict[Request, Threshold] = {
        r.request: view.thresholds[r.reason] for r in view.policy.plain if r.request is not None
    }
    for request in policy.requests:
        if request not in known:
            known[request] = percentile_of(arrays, request)
    return {r.reason: known[r.request] for r in policy.plain if r.request is not None}


def percentile_of(arrays: Arrays, request: Request) -> Threshold:
    """The nearest-rank percentile of a column, or one for each value of `per`; the very value that sorting gives."""
    column = arrays.column(request.column)
    if request.per is None:
        order = arrays.order(request.column)
        if not len(order):
            return None
        return _number(column.values[order[nearest_rank(request.percentile.fraction, len(order)) - 1]])
    per = arrays.column(request.per)
    if per.dictionary is None or len(per.dictionary) > MAX_GROUPS:
        return _in_rounds(arrays, request)
    rows = np.flatnonzero(column.present(slice(None)) & per.present(slice(None)))
    codes, values = per.values[rows], column.values[rows]
    narrow = codes.astype(np.uint16) if len(per.dictionary) <= MAX_GROUPS else codes  # sorted by radix
    in_groups = values[np.argsort(narrow, kind="stable")]
    counts = np.bincount(codes, minlength=len(per.dictionary))
    ends = np.cumsum(counts)
    found = {}
    for name, begin, end in zip(per.dictionary.to_pylist(), (ends - counts).tolist(), ends.tolist(), strict=True):
        if end > begin:
            rank = nearest_rank(request.percentile.fraction, end - begin) - 1
            found[name] = _number(np.partition(in_groups[begin:end], rank)[rank])
    return dict(sorted(found.items()))


def _number(value: Any) -> int | float:
    """A number as the run's own search gives it: -0.0 is 0.0."""
    return float(value) + 0.0 if np.issubdtype(value.dtype, np.floating) else int(value)


def _in_rounds(arrays: Arrays, request: Request) -> Threshold:
    """The same by the run's own search, for groups that are no texts."""
    rule = BoundRule(0, "", request.column, "le", request.percentile, "keep", per=request.per)
    return resolved(_Held(arrays), BoundPolicy((rule,)))[""]


class _Held:
    """A run whose columns are read from arrays, as one that was given another policy before it knew any percentile."""

    def __init__(self, arrays: Arrays) -> None:
        self._arrays = arrays
        self.run, self.shards, self.fields = arrays.view.run, arrays.view.shards, arrays.view.fields
        self.tokens, self.thresholds = arrays.view.tokens, dict[str, Threshold]()
        self.policy = BoundPolicy()
        self._starts = dict(zip((s.digest for s in self.shards), arrays.starts.tolist(), strict=False))

    def read(self, shard: Any, columns: Sequence[str]) -> pa.Table:
        """Columns of a shard."""
        start = self._starts[shard.digest]
        return self._arrays.table(start, start + shard.rows, [self._arrays.column(c) for c in columns])
