"""What other thresholds would keep, from stored columns; no text is read.

A rule `COLUMN<=VALUE` replaces the run's rules on that column with the same direction (`<` and `<=` bound from
above, `>` and `>=` from below, `==` and `in` choose), each with its own `where`, `per` and `on_null`; where the run
has none it is added, and a document without a value passes it. Choices within clusters are made again.

Memory: one shard's narrow columns, and for a choice about `CHOICE_ROWS` rows at a time (or the largest cluster);
one byte a document goes to a temporary file.
"""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from pipelines.sample import having
from pipelines.shards import Shard
from stages.catalog import did_you_mean
from stages.choice import lost
from stages.errors import SpecError
from stages.flow import keys_of, partition_of
from stages.quantiles import Percentiles, merge
from stages.rule_binding import kind_of_column
from stages.rule_models import Test
from stages.rules import (
    FIRST,
    LONGEST,
    NOT_SELECTED,
    SYMBOLS,
    BoundOneOf,
    BoundPolicy,
    BoundRule,
    Percentile,
    Thresholds,
    check_value,
    count,
    failing,
    judge,
)
from stages.verdict import Threshold

CHOICE_ROWS = 1_000_000

KEEP, FATE, REASONS, SIZE = "verdict.keep", "verdict.fate", "verdict.reasons", "verdict.text_bytes"
_RULE = re.compile(r"\s*([\w.-]+?)\s*(<=|>=|==|=|<|>|\sin\s)\s*(.+?)\s*", re.DOTALL)
_TESTS: Mapping[str, Test] = {"<=": "le", ">=": "ge", "==": "eq", "=": "eq", "<": "lt", ">": "gt", "in": "in"}
_DIRECTION: Mapping[Test, str] = {"ge": "low", "gt": "low", "le": "high", "lt": "high", "eq": "choice", "in": "choice"}


class View(Protocol):
    """What of a run is read: `pipelines.view.RunView` is one."""

    @property
    def run(self) -> str:
        """The run's id."""

    @property
    def shards(self) -> Sequence[Shard]:
        """The shards."""

    @property
    def fields(self) -> Mapping[str, pa.Field]:
        """Every column by full name."""

    @property
    def tokens(self) -> str | None:
        """The column that counts the tokens of what leaves, where there is one."""

    @property
    def policy(self) -> BoundPolicy:
        """The run's policy."""

    @property
    def thresholds(self) -> Thresholds:
        """Its resolved percentiles by reason."""

    def read(self, shard: Shard, columns: Sequence[str]) -> pa.Table:
        """Columns of a shard, row-aligned."""


@dataclass(frozen=True, slots=True)
class Change:
    """One `--rule`: what it says, and which of the run's rules it replaces (none: it is added)."""

    rule: str
    column: str
    test: Test
    value: Any
    replaces: tuple[BoundRule, ...]

    def json(self, thresholds: Thresholds) -> dict[str, Any]:
        """The change as data, with resolved percentiles of the replaced rules and of its own."""
        return {
            "rule": self.rule,
            "column": self.column,
            "effect": "replaces" if self.replaces else "adds",
            "reasons": [r.reason for r in self.replaces] or [self.rule],
            "was": [f"{r.column} {SYMBOLS[r.test]} {_written(r.value)}" for r in self.replaces],
            "thresholds": {
                r: thresholds[r] for r in ([x.reason for x in self.replaces] or [self.rule]) if r in thresholds
            },
        }


def what_if(view: View, rules: Sequence[str], *, choice_rows: int = CHOICE_ROWS) -> dict[str, Any]:
    """Documents, bytes and tokens (null without a token column) kept by the run and under the changed rules.

    Args:
        view: the run.
        rules: such as `stats.words>=50`.
        choice_rows: about how many documents a choice holds in memory.

    Where the run selects, the counts are of what its selection chooses from: choosing again would need all of it.

    Returns:
        run, rules (each with its effect), before and after (documents, bytes, tokens, rejected, reasons), and how many
        documents would be gained and lost.

    Raises:
        SpecError: a rule cannot be read, or names an unknown column or a value that does not fit it.
    """
    changes = [parse(rule, view) for rule in rules]
    policy = changed(view.policy, changes)
    thresholds = resolved(view, policy)
    judged = [*dict.fromkeys(policy.plain_columns), FATE, REASONS]
    before, after = Counter[str](), Counter[str]()
    rows = sum(s.rows for s in view.shards)
    with tempfile.TemporaryDirectory(prefix="tamis-what-if-") as folder:
        kept = np.memmap(Path(folder) / "kept", np.bool_, "w+", shape=(max(1, rows),))
        for start, shard in _starts(view):
            table = view.read(shard, judged)
            sound = pc.not_equal(table[FATE], "quarantined").to_numpy()
            status = judge(policy.plain, table, thresholds)[:, sound]
            keep = sound.copy()
            keep[sound] = ~failing(status).any(axis=0)
            kept[start : start + shard.rows] = keep
            after.update({reason: c.failed for reason, c in count(status, [r.reason for r in policy.plain]).items()})
            before.update(_tally(table[REASONS]))
        for choice in policy.one_of:
            after[choice.reason] += _choose(view, choice, kept, choice_rows)
        was, would, moved = _totals(view, kept)
        del kept
    names = [r.reason for r in policy.plain] + [c.reason for c in policy.one_of]
    return {
        "run": view.run,
        "rules": [c.json(thresholds) for c in changes],
        "before_selection": policy.selects,
        "before": {**was, "reasons": {n: before[n] for n in dict.fromkeys(view.policy.reasons)}},
        "after": {**would, "reasons": {n: after[n] for n in dict.fromkeys(names)}},
        **moved,
    }


def parse(rule: str, view: View) -> Change:
    """One `--rule`, such as `stats.words>=50`, `ppl.nats_per_token<=p70` or `lang.code in en,de`.

    Raises:
        SpecError: it cannot be read, or names an unknown column or a value that does not fit it.
    """
    found = _RULE.fullmatch(rule)
    if found is None:
        raise SpecError(
            f"the rule {rule!r} is not COLUMN<=VALUE; write it like stats.words>=50 or ppl.nats_per_token<=p70"
        )
    column, symbol, text = found[1], found[2].strip(), found[3]
    if column not in view.fields:
        message = f"the rule {rule!r} reads {column!r}, which the run has not measured{did_you_mean(column, list(view.fields))}"
        raise SpecError(message, column=column)
    test = _TESTS[symbol]
    texts = [part.strip() for part in text.split(",")] if test == "in" else [text]
    values = [_value(t, view.fields[column], rule) for t in texts]
    place = f"the rule {rule!r}"
    value = check_value(view.fields[column], column, test, values if test == "in" else values[0], place)
    same = [r for r in view.policy.plain if r.column == column and _DIRECTION[r.test] == _DIRECTION[test]]
    return Change(rule.strip(), column, test, value, tuple(same))


def _value(text: str, field: pa.Field, rule: str) -> Any:
    kind = kind_of_column(field)
    if kind == "truth":
        return {"true": True, "false": False}.get(text.lower(), text)
    if kind != "number" or Percentile.parse(text):
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    try:
        return int(text.replace("_", "")) if re.fullmatch(r"[-+]?[\d_]+", text) else _finite(float(text))
    except ValueError as error:
        raise SpecError(
            f"the rule {rule!r} compares with {text!r}, which is no number and no percentile such as p70"
        ) from error


def _finite(number: float) -> float:
    if not np.isfinite(number):
        raise ValueError(number)
    return number


def changed(policy: BoundPolicy, changes: Sequence[Change]) -> BoundPolicy:
    """The policy with every change applied.

    Raises:
        SpecError: two changes are about the same bound of the same column.
    """
    seen: dict[tuple[str, str], str] = {}
    rules = list(policy.plain)
    for change in changes:
        bound = (change.column, _DIRECTION[change.test])
        if bound in seen:
            raise SpecError(
                f"the rules {seen[bound]!r} and {change.rule!r} set the same bound of {change.column!r}; give one"
            )
        seen[bound] = change.rule
        replaced = {r.index for r in change.replaces}
        rules = [_with(rule, change) if rule.index in replaced else rule for rule in rules]
        if not replaced:
            rules.append(BoundRule(-1, change.rule, change.column, change.test, change.value, "keep"))
    plain = tuple(replace(rule, index=i) for i, rule in enumerate(rules))
    chosen = tuple(replace(choice, index=len(plain) + i) for i, choice in enumerate(policy.one_of))
    return replace(policy, plain=plain, one_of=chosen)


def _with(rule: BoundRule, change: Change) -> BoundRule:
    per = rule.per if isinstance(change.value, Percentile) else None
    return replace(rule, test=change.test, value=change.value, per=per)


def resolved(view: View, policy: BoundPolicy) -> dict[str, Threshold]:
    """Percentiles by reason: those of the run where it has them, else found in rounds over its shards."""
    known = {r.request: view.thresholds[r.reason] for r in view.policy.plain if r.request is not None}
    state = Percentiles.start([r for r in policy.requests if r not in known], view.fields)
    while not state.done:
        state = state.refine(merge(state.count(view.read(shard, state.columns)) for shard in view.shards))
    found = {**known, **state.thresholds()}
    return {r.reason: found[r.request] for r in policy.plain if r.request is not None}


def _starts(view: View) -> Iterator[tuple[int, Shard]]:
    """Every shard with the number of its first document."""
    start = 0
    for shard in view.shards:
        yield start, shard
        start += shard.rows


def _tally(reasons: pa.ChunkedArray) -> dict[str, int]:
    tally = pc.value_counts(pc.list_flatten(reasons))
    return dict(zip(tally.field(0).to_pylist(), tally.field(1).to_pylist(), strict=True))


def _choose(view: View, choice: BoundOneOf, kept: NDArray[np.bool_], choice_rows: int) -> int:
    """Take the losers of a choice out of `kept`; gives how many."""
    rounds = max(1, -(-int(np.count_nonzero(kept)) // choice_rows))
    gone = 0
    for number in range(rounds):
        tables = [_candidates(view, shard, start, choice, kept, (number, rounds)) for start, shard in _starts(view)]
        if not tables:
            continue
        rows = pa.concat_tables(tables)
        losers = rows["row"].to_numpy()[lost(rows, choice.order)]
        kept[losers] = False
        gone += len(losers)
    return gone


def _candidates(
    view: View, shard: Shard, start: int, choice: BoundOneOf, kept: NDArray[np.bool_], part: tuple[int, int]
) -> pa.Table:
    """A shard's kept rows whose cluster belongs to this part of the clusters."""
    value = None if choice.by == FIRST else SIZE if choice.by == LONGEST else choice.by
    table = view.read(shard, list(dict.fromkeys([choice.cluster, "path", "ordinal", *([value] if value else [])])))
    chosen = np.array(kept[start : start + shard.rows]) & table[choice.cluster].is_valid().to_numpy()
    columns = {
        "row": pa.array(np.arange(start, start + shard.rows)),
        "cluster": table[choice.cluster],
        "source": pa.repeat(pa.scalar(shard.source), shard.rows),
        "path": table["path"],
        "ordinal": table["ordinal"],
    }
    if value:
        columns["value"] = table[value]
    found = pa.table(columns).filter(pa.array(chosen))
    number, rounds = part
    return found.filter(pa.array(partition_of(keys_of(found["cluster"]), rounds) == number)) if rounds > 1 else found


def _totals(view: View, kept: NDArray[np.bool_]) -> tuple[dict[str, Any], dict[str, Any], dict[str, int]]:
    tokens = view.tokens
    sums = {True: Counter[str](), False: Counter[str]()}
    moved = Counter[str]()
    for start, shard in _starts(view):
        table = view.read(shard, [KEEP, FATE, REASONS, SIZE, *([tokens] if tokens else [])])
        was, would = table[KEEP].to_numpy(), np.array(kept[start : start + shard.rows])
        if view.policy.selects:
            was = was | having(table[REASONS], NOT_SELECTED)
        sound = pc.not_equal(table[FATE], "quarantined").to_numpy()
        moved.update(gained=int((would & ~was).sum()), lost=int((was & ~would).sum()))
        for now, mask in ((False, was), (True, would)):
            sums[now].update(documents=int(mask.sum()), rejected=int((sound & ~mask).sum()))
            sums[now].update(bytes=_sum(table[SIZE], mask), tokens=_sum(table[tokens], mask) if tokens else 0)
    before, after = (
        {
            "documents": sums[now]["documents"],
            "bytes": sums[now]["bytes"],
            "tokens": sums[now]["tokens"] if tokens else None,
            "rejected": sums[now]["rejected"],
        }
        for now in (False, True)
    )
    return before, after, {"gained": moved["gained"], "lost": moved["lost"]}


def _sum(values: pa.ChunkedArray, mask: NDArray[np.bool_]) -> int:
    return int(pc.sum(values.filter(pa.array(mask))).as_py() or 0)


def _written(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
