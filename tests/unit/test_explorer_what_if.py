"""The explorer's what-if says what `pipelines.what_if` says, whatever the rules, the documents and the moved thresholds."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.service.explorer import columns
from pipelines.service.explorer.arrays import Arrays
from pipelines.service.explorer.building import open_arrays
from pipelines.service.explorer.judging_again import what_if
from pipelines.shards import Shard
from pipelines.what_if import what_if as from_sidecars
from stages.errors import SpecError
from stages.quantiles import Percentiles, merge
from stages.rules import NOT_SELECTED, BoundPolicy, Thresholds, bind, decide, failing, judge, parse_keep

FIELDS = {
    "path": pa.field("path", pa.string()),
    "ordinal": pa.field("ordinal", pa.int64()),
    "stats.words": pa.field("words", pa.int32()),
    "stats.big": pa.field("big", pa.int64()),
    "stats.ratio": pa.field("ratio", pa.float32()),
    "ppl.nats": pa.field("nats", pa.float64()),
    "lang.code": pa.field("code", pa.string()),
    "lang.known": pa.field("known", pa.bool_()),
    "lang.script": pa.field("script", pa.dictionary(pa.int32(), pa.string())),
    "copies.cluster": pa.field("cluster", pa.string()),
    "near.cluster": pa.field("cluster", pa.int32()),
    "near.cluster_size": pa.field("cluster_size", pa.int64()),
    "tokens.count": pa.field("count", pa.int32()),
    "verdict.keep": pa.field("keep", pa.bool_()),
    "verdict.fate": pa.field("fate", pa.string()),
    "verdict.reasons": pa.field("reasons", pa.list_(pa.string())),
    "verdict.text_bytes": pa.field("text_bytes", pa.int64()),
}
LANGS = ["en", "日本語", "עברית", ""]
DOCUMENT = st.fixed_dictionaries(
    {
        "stats.words": st.none() | st.integers(0, 9),
        "stats.big": st.none() | st.sampled_from([-(2**63), 2**63 - 1, 2**53, 2**53 + 1, 0]),
        "stats.ratio": st.none() | st.sampled_from([0.0, -0.0, 0.1, 0.25, -1.5]),
        "ppl.nats": st.none() | st.floats(-3, 3, allow_nan=False),
        "lang.code": st.none() | st.sampled_from(LANGS),
        "lang.known": st.none() | st.booleans(),
        "lang.script": st.none() | st.sampled_from(["Latn", "Jpan"]),
        "copies.cluster": st.none() | st.sampled_from("abc"),
        "near.cluster": st.none() | st.integers(1, 3),
        "tokens.count": st.none() | st.integers(0, 50),
        "verdict.text_bytes": st.none() | st.integers(0, 99),
        "path": st.sampled_from(["a.jsonl", "ａ.jsonl", "𝐚.jsonl"]),
        "poison": st.sampled_from([False] * 9 + [True]),
        "chosen": st.booleans(),
    }
)
NULL = st.sampled_from(["keep", "drop"])
WHERE = st.sampled_from(
    [{}, {}, {"lang.code": ["en", "日本語"]}, {"lang.known": True}, {"stats.words": [1, 2, 3], "lang.script": "Latn"}]
)
TESTS = st.sampled_from(
    [
        ("stats.words", "ge", 3), ("stats.words", "le", "p80"), ("stats.words", "lt", 7.5), ("stats.words", "in", [1, 2, 5]),
        ("stats.big", "ge", 2**53 + 1), ("stats.big", "lt", "p50"), ("stats.ratio", "le", 0.1), ("stats.ratio", "gt", "p20"),
        ("ppl.nats", "le", "p70"), ("ppl.nats", "ge", -1), ("lang.code", "in", ["en", ""]), ("lang.code", "ge", "f"),
        ("lang.known", "eq", True), ("lang.script", "eq", "Latn"),
    ]
)  # fmt: skip
PER = st.sampled_from([None, None, "lang.code", "lang.known", "lang.script", "stats.words"])
CHOICES = [
    {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
    {"one_of": "copies.cluster", "by": "ppl.nats", "order": "lowest", "reason": "likelier"},
    {"one_of": "near.cluster", "by": "longest", "reason": "near"},
    {"one_of": "near.cluster", "by": "lang.code", "reason": "near"},
    {"one_of": "near.cluster", "by": "lang.known", "reason": "same"},
]


@st.composite
def policies(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Rules of every kind, some under one reason, then choices, one of which may share a rule's reason."""
    rules = []
    for number, (column, test, value) in enumerate(draw(st.lists(TESTS, max_size=5))):
        percentile = isinstance(value, str) and value.startswith("p")
        reason = f"r{number}" if percentile else draw(st.sampled_from([f"r{number}", "same"]))
        per = draw(PER) if percentile else None
        rules.append(
            {"column": column, test: value, "on_null": draw(NULL), "reason": reason, "where": draw(WHERE)}
            | ({"per": per} if per else {})
        )
    return rules + draw(st.lists(st.sampled_from(CHOICES), max_size=3))


MOVED = st.lists(
    st.sampled_from(
        [
            "stats.words>=4", "stats.words<=p40", "stats.words < 6", "stats.words in 1, 4", "stats.words>=2.5",
            "stats.big>=9007199254740993", "stats.big<=p60", "stats.big==0", "stats.ratio<=0.1", "stats.ratio>=p30",
            "stats.ratio==0", "ppl.nats<=p10", "ppl.nats>0.5", "ppl.nats<=0", "lang.code in en,עברית", "lang.code>=f",
            "lang.code==''", "lang.known==false", "lang.script==Jpan", "verdict.text_bytes>=30", "tokens.count<=p50",
            "copies.cluster==a", "path>=b",
        ]
    ),
    max_size=3,
    unique_by=lambda rule: rule.split("=")[0].split("<")[0].split(">")[0].split(" ")[0],
)  # fmt: skip


@dataclass(frozen=True)
class Rows:
    """A run whose columns are in memory."""

    rows: Sequence[Mapping[str, Any]]
    keep: Sequence[Mapping[str, Any]]
    cuts: Sequence[int] = (3, 4)
    selects: bool = False
    tokens: str | None = "tokens.count"
    resolved: Thresholds = field(default_factory=dict)
    run: str = "run-1"
    fields: Mapping[str, pa.Field] = field(default_factory=lambda: FIELDS)

    @property
    def thresholds(self) -> Thresholds:
        return self.resolved

    @property
    def policy(self) -> BoundPolicy:
        bound = bind(parse_keep(self.keep), FIELDS, {}, "text", pytest.fail)
        return BoundPolicy(bound.plain, bound.one_of, bound.text, self.selects)

    @property
    def shards(self) -> Sequence[Shard]:
        ends = sorted({min(c, len(self.rows)) for c in self.cuts} | {0, len(self.rows)})
        return [Shard(str(a), "", b - a, 0, "web" if a < 4 else "mail") for a, b in pairwise(ends)]

    def read(self, shard: Shard, names: Sequence[str]) -> pa.Table:
        start = int(shard.digest)
        rows = self.rows[start : start + shard.rows]
        return pa.table({c: pa.array([r[c] for r in rows], FIELDS[c].type) for c in names})


def run_of(documents: Sequence[Mapping[str, Any]], keep: Sequence[Mapping[str, Any]], *, selects: bool = False) -> Rows:
    """The run as judging leaves it: percentiles, plain rules, choices, selection, verdicts."""
    rows: list[dict[str, Any]] = [{**d, "ordinal": i} for i, d in enumerate(documents)]
    for row in rows:
        mine = [r for r in rows if r["near.cluster"] is not None and r["near.cluster"] == row["near.cluster"]]
        row["near.cluster_size"] = len(mine) if row["near.cluster"] is not None else None
    view = Rows(rows, keep, selects=selects)
    policy = view.policy
    state = Percentiles.start(policy.requests, FIELDS)
    while not state.done:
        state = state.refine(merge(state.count(view.read(s, state.columns)) for s in view.shards))
    found = state.thresholds()
    thresholds = {r.reason: found[r.request] for r in policy.plain if r.request is not None}
    table = pa.table(
        {c: pa.array([r[c] for r in rows], FIELDS[c].type) for c in FIELDS if not c.startswith("verdict.")}
    )
    sound = np.array([not r["poison"] for r in rows], bool)
    status = judge(policy.plain, table, thresholds)
    status[:, ~sound] = 0
    kept = ~failing(status).any(axis=0) & sound
    marks = [list(row) for row in decide(status, [r.reason for r in policy.plain])[1].to_pylist()] if rows else []
    for choice in policy.one_of:
        for place in _losers(view, choice, kept):
            kept[place] = False
            marks[place].append(choice.reason)
    for place, row in enumerate(rows):
        if selects and kept[place] and not row["chosen"]:
            kept[place] = False
            marks[place].append(NOT_SELECTED)
        row["verdict.keep"] = bool(kept[place])
        row["verdict.fate"] = "quarantined" if row["poison"] else "kept" if kept[place] else "rejected"
        row["verdict.reasons"] = list(dict.fromkeys(marks[place]))
    return Rows(rows, keep, selects=selects, resolved=thresholds)


def _losers(view: Rows, choice: Any, kept: Any) -> list[int]:
    """Who goes, by looking at each cluster."""
    source = {int(s.digest) + i: s.source for s in view.shards for i in range(s.rows)}
    gone: list[int] = []
    for cluster in {r[choice.cluster] for r in view.rows} - {None}:
        members = [i for i, r in enumerate(view.rows) if kept[i] and r[choice.cluster] == cluster]
        members.sort(key=lambda i: (source[i], view.rows[i]["path"].encode(), i))
        if choice.by != "first":
            value = "verdict.text_bytes" if choice.by == "longest" else choice.by
            known = [i for i in members if view.rows[i][value] is not None]
            known.sort(key=lambda i: view.rows[i][value], reverse=choice.order == "highest")
            members = known + [i for i in members if view.rows[i][value] is None]
        gone += members[1:]
    return gone


@contextmanager
def arrays_of(view: Rows) -> Iterator[Arrays]:
    folder = Path(tempfile.mkdtemp(prefix="explorer-"))
    try:
        yield open_arrays(view, folder / "run-1")
    finally:
        shutil.rmtree(folder)


@settings(max_examples=50, deadline=None)
@given(
    documents=st.lists(DOCUMENT, max_size=25),
    keep=policies(),
    moved=st.lists(MOVED, min_size=1, max_size=3),
    selects=st.booleans(),
    tokens=st.sampled_from(["tokens.count", "tokens.count", None]),
)
def test_any_moved_rules_give_what_the_sidecars_give(documents, keep, moved, selects, tokens) -> None:
    view = run_of(documents, keep, selects=selects)
    view = Rows(view.rows, keep, selects=selects, resolved=view.resolved, tokens=tokens)

    with arrays_of(view) as arrays:
        for rules in moved:
            assert what_if(arrays, rules) == from_sidecars(view, rules)


@settings(max_examples=10, deadline=None)
@given(documents=st.lists(DOCUMENT, min_size=1, max_size=25), keep=policies(), chunk=st.integers(1, 5))
def test_neither_chunks_nor_rounds_of_clusters_change_the_answer(documents, keep, chunk) -> None:
    view = run_of(documents, keep)
    modules = ("parts.CHUNK", "clusters.CHUNK", "finding.CHUNK", "clusters.CHOICE_ROWS")

    with pytest.MonkeyPatch.context() as patch, arrays_of(view) as whole:
        for name in modules:
            patch.setattr(f"pipelines.service.explorer.{name}", chunk)
        with arrays_of(view) as arrays:
            for rules in (["stats.words>=4"], ["ppl.nats<=p50", "lang.code==en"]):
                assert what_if(arrays, rules) == what_if(whole, rules)
                assert what_if(arrays, rules) == from_sidecars(view, rules)


def test_a_column_of_too_many_texts_is_judged_from_its_sidecars(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(columns, "MAX_TEXTS", 2)
    rule = {"column": "lang.code", "in": ["en"], "on_null": "keep", "reason": "language"}
    view = run_of([document(**{"lang.code": c, "stats.words": 5}) for c in LANGS], [rule])

    with arrays_of(view) as arrays:
        assert what_if(arrays, ["lang.code in en,日本語"]) == from_sidecars(view, ["lang.code in en,日本語"])
        assert what_if(arrays, ["stats.words>=6"]) == from_sidecars(view, ["stats.words>=6"])
        with pytest.raises(SpecError, match="holds more than 2 different texts"):
            arrays.column("lang.code")


@pytest.mark.parametrize("documents", [[], [{"stats.big": 3}]])
def test_a_percentile_for_each_language_of_a_run_that_knows_none_is_none(documents: list[dict[str, Any]]) -> None:
    rule = {"column": "stats.big", "ge": "p50", "per": "lang.code", "on_null": "keep", "reason": "least"}
    view = run_of([document(**d) for d in documents], [rule])

    with arrays_of(view) as arrays:
        assert what_if(arrays, ["stats.big>=p60"]) == from_sidecars(view, ["stats.big>=p60"])


def test_more_than_64_reasons_take_more_words() -> None:
    rules = [{"column": "stats.big", "ge": n, "on_null": "keep", "reason": f"least-{n}"} for n in range(150)]
    view = run_of([document(**{"stats.big": n}) for n in (0, 63, 64, 65, 149, None)], rules)

    with arrays_of(view) as arrays:
        assert len(arrays.words) == 3
        assert [len(arrays.reasons_of(row)) for row in range(6)] == [149, 86, 85, 84, 0, 0]
        assert what_if(arrays, ["stats.words>=1"]) == from_sidecars(view, ["stats.words>=1"])


@pytest.mark.parametrize("rules", [["stats.word>=3"], ["stats.words>=many"], ["stats.words>=3", "stats.words>4"]])
def test_a_rule_that_cannot_be_meant_is_refused_in_the_same_words(rules: list[str]) -> None:
    view = run_of([document()], [])

    with pytest.raises(SpecError) as theirs:
        from_sidecars(view, rules)
    with arrays_of(view) as arrays, pytest.raises(SpecError) as ours:
        what_if(arrays, rules)

    assert str(ours.value) == str(theirs.value)


def document(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(FIELDS) | {"path": "a", "verdict.text_bytes": 10, "poison": False, "chosen": True} | values
