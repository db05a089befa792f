from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.shards import Shard
from pipelines.what_if import what_if
from stages.errors import SpecError
from stages.rules import BoundPolicy, Thresholds, bind, parse_keep

FIELDS = {
    "path": pa.field("path", pa.string()),
    "ordinal": pa.field("ordinal", pa.int64()),
    "stats.words": pa.field("stats.words", pa.int32()),
    "lang.code": pa.field("lang.code", pa.string()),
    "lang.known": pa.field("lang.known", pa.bool_()),
    "copies.cluster": pa.field("copies.cluster", pa.string()),
    "near.cluster": pa.field("near.cluster", pa.string()),
    "tokens.count": pa.field("tokens.count", pa.int32()),
    "verdict.keep": pa.field("verdict.keep", pa.bool_()),
    "verdict.fate": pa.field("verdict.fate", pa.string()),
    "verdict.reasons": pa.field("verdict.reasons", pa.list_(pa.string())),
    "verdict.text_bytes": pa.field("verdict.text_bytes", pa.int64()),
}
KEEP = [
    {"column": "stats.words", "ge": 3, "on_null": "drop", "reason": "short", "where": {"lang.code": ["en", "日本語"]}},
    {"column": "stats.words", "le": "p90", "on_null": "keep", "reason": "long"},
    {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
    {"one_of": "near.cluster", "by": "longest", "reason": "near"},
]
DOCUMENT = st.fixed_dictionaries(
    {
        "stats.words": st.none() | st.integers(0, 9),
        "lang.code": st.none() | st.sampled_from(["en", "日本語", "עברית"]),
        "lang.known": st.none() | st.booleans(),
        "copies.cluster": st.none() | st.sampled_from("ab"),
        "near.cluster": st.none() | st.sampled_from("xy🫠"),
        "tokens.count": st.none() | st.integers(0, 50),
        "verdict.text_bytes": st.integers(0, 99),
        "poison": st.sampled_from([False] * 9 + [True]),
    }
)


@dataclass(frozen=True)
class Rows:
    """A run whose columns are in memory."""

    rows: Sequence[Mapping[str, Any]]
    cuts: Sequence[int] = (3, 4)
    fields: Mapping[str, pa.Field] = field(default_factory=lambda: FIELDS)
    run: str = "run-1"
    tokens: str | None = "tokens.count"
    keep: Sequence[Mapping[str, Any]] = tuple(KEEP)
    resolved: Thresholds | None = None

    @property
    def thresholds(self) -> Thresholds:
        return self.resolved or {"long": percentile([r["stats.words"] for r in self.rows], 90)}

    @property
    def policy(self) -> BoundPolicy:
        return bind(parse_keep(self.keep), FIELDS, {}, "text", pytest.fail)

    @property
    def shards(self) -> Sequence[Shard]:
        ends = sorted({min(c, len(self.rows)) for c in self.cuts} | {0, len(self.rows)})
        return [Shard(str(a), "", b - a, 0, "web") for a, b in pairwise(ends)]

    def read(self, shard: Shard, columns: Sequence[str]) -> pa.Table:
        start = int(shard.digest)
        rows = self.rows[start : start + shard.rows]
        return pa.table({c: pa.array([r[c] for r in rows], FIELDS[c].type) for c in columns})


def percentile(values: Sequence[int | None], percent: int) -> int | None:
    present = sorted(v for v in values if v is not None)
    return present[max(1, -(-len(present) * percent // 100)) - 1] if present else None


def judged(documents: Sequence[Mapping[str, Any]], least: int, most: int | None) -> list[dict[str, Any]]:
    """The slow way: the policy of KEEP, one document after the other, with these bounds on the words."""
    rows = []
    for ordinal, document in enumerate(documents):
        words, reasons = document["stats.words"], []
        if document["lang.code"] in ("en", "日本語") and (words is None or words < least):
            reasons.append("short")
        if words is not None and most is not None and words > most:
            reasons.append("long")
        rows.append(
            {**document, "path": "a", "ordinal": ordinal, "verdict.reasons": [] if document["poison"] else reasons}
        )
    for cluster, reason, best in (
        ("copies.cluster", "copy", lambda r: -r["ordinal"]),
        ("near.cluster", "near", lambda r: (r["verdict.text_bytes"], -r["ordinal"])),
    ):
        left = [r for r in rows if not r["verdict.reasons"] and not r["poison"] and r[cluster] is not None]
        for row in left:
            if row is not max((r for r in left if r[cluster] == row[cluster]), key=best):
                row["verdict.reasons"] = [reason]
    for row in rows:
        row["verdict.keep"] = not row["verdict.reasons"] and not row["poison"]
        row["verdict.fate"] = "quarantined" if row["poison"] else "kept" if row["verdict.keep"] else "rejected"
    return rows


def totals(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    kept = [r for r in rows if r["verdict.keep"]]
    return {
        "documents": len(kept),
        "bytes": sum(r["verdict.text_bytes"] for r in kept),
        "tokens": sum(r["tokens.count"] or 0 for r in kept),
        "rejected": sum(r["verdict.fate"] == "rejected" for r in rows),
        "reasons": {n: sum(n in r["verdict.reasons"] for r in rows) for n in ("short", "long", "copy", "near")},
    }


@settings(max_examples=60, deadline=None)
@given(documents=st.lists(DOCUMENT, max_size=25), least=st.integers(0, 9), percent=st.sampled_from([10, 50, 90]))
def test_the_answer_is_that_of_a_run_with_the_changed_rules(
    documents: list[dict[str, Any]], least: int, percent: int
) -> None:
    words = [d["stats.words"] for d in documents]
    before = judged(documents, 3, percentile(words, 90))
    after = judged(documents, least, percentile(words, percent))

    found = what_if(Rows(before), [f"stats.words>={least}", f"stats.words <= p{percent}"])

    assert (found["before"], found["after"]) == (totals(before), totals(after))
    pairs = [(a["verdict.keep"], b["verdict.keep"]) for a, b in zip(before, after, strict=True)]
    assert (found["gained"], found["lost"]) == (pairs.count((False, True)), pairs.count((True, False)))


@settings(max_examples=40, deadline=None)
@given(documents=st.lists(DOCUMENT, max_size=25), rows=st.integers(1, 5))
def test_choices_that_are_made_in_rounds_give_the_same_answer(documents: list[dict[str, Any]], rows: int) -> None:
    view = Rows(judged(documents, 3, percentile([d["stats.words"] for d in documents], 90)))

    in_rounds = what_if(view, [], choice_rows=rows)

    assert in_rounds == what_if(view, [])
    assert in_rounds["before"] == in_rounds["after"]


def document(**values: Any) -> dict[str, Any]:
    return dict.fromkeys(("stats.words", "lang.code", "lang.known", "copies.cluster", "near.cluster")) | {
        "tokens.count": 7, "verdict.text_bytes": 10, "poison": False, **values
    }  # fmt: skip


def test_a_rule_on_a_new_column_is_added_and_what_is_unknown_passes_it() -> None:
    view = Rows(judged([document(**{"lang.code": code}) for code in ("fr", "de", None)], 3, None))

    found = what_if(view, ["lang.code in fr, es"])

    assert found["rules"] == [
        {
            "rule": "lang.code in fr, es",
            "column": "lang.code",
            "effect": "adds",
            "reasons": ["lang.code in fr, es"],
            "was": [],
            "thresholds": {},
        }
    ]
    assert (found["before"]["documents"], found["after"]["documents"]) == (3, 2)
    assert found["after"]["reasons"]["lang.code in fr, es"] == 1


def test_a_replaced_rule_keeps_its_condition_and_says_what_it_was() -> None:
    view = Rows(judged([document(**{"stats.words": 5, "lang.code": c}) for c in ("en", "fr")], 3, 5))

    found = what_if(view, ["stats.words > 7"])

    assert found["rules"][0]["was"] == ["stats.words >= 3"]
    assert found["after"]["reasons"] == {"short": 1, "long": 0, "copy": 0, "near": 0}


def test_a_replaced_percentile_keeps_its_groups_and_a_number_needs_none() -> None:
    words = [("en", 1), ("en", 2), ("en", 3), ("fr", 10), ("fr", 20)]
    rule = {"column": "stats.words", "le": "p50", "per": "lang.code", "on_null": "keep", "reason": "tail"}
    rows = judged([document(**{"stats.words": n, "lang.code": c}) for c, n in words], 0, None)
    view = Rows(rows, keep=[rule], resolved={"tail": {"en": 2, "fr": 10}})

    within = what_if(view, ["stats.words<=p60"])
    fixed = what_if(view, ["stats.words<=2"])

    assert within["rules"][0]["thresholds"] == {"tail": {"en": 2, "fr": 20}}
    assert (within["after"]["documents"], fixed["after"]["documents"]) == (4, 2)
    assert fixed["rules"][0]["thresholds"] == {}


def test_tokens_are_unknown_without_a_column_of_tokens() -> None:
    view = Rows(judged([document()], 3, None), tokens=None)

    assert what_if(view, [])["before"] == {
        "documents": 1, "bytes": 10, "tokens": None, "rejected": 0,
        "reasons": {"short": 0, "long": 0, "copy": 0, "near": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("rules", "sentence"),
    [
        (["stats.words"], "the rule 'stats.words' is not COLUMN<=VALUE"),
        (
            ["stats.word>=3"],
            "the rule 'stats.word>=3' reads 'stats.word', which the run has not measured; did you mean",
        ),
        (["stats.words>=many"], "the rule 'stats.words>=many' compares with 'many', which is no number"),
        (["stats.words>=nan"], "the rule 'stats.words>=nan' compares with 'nan', which is no number"),
        (["lang.known==maybe"], "the rule 'lang.known==maybe' compares 'lang.known' with 'maybe'"),
        (["verdict.reasons==a"], "the rule 'verdict.reasons==a' tests 'verdict.reasons', but no rule can test"),
        (["stats.words>=3", "stats.words>4"], "the rules 'stats.words>=3' and 'stats.words>4' set the same bound"),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused(rules: list[str], sentence: str) -> None:
    with pytest.raises(SpecError) as refused:
        what_if(Rows(judged([document()], 3, None)), rules)

    assert refused.value.message.startswith(sentence)
