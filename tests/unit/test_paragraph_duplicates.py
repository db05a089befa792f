"""Repeated paragraphs and lines against a slow count of the whole corpus, and the text that is left."""

import itertools
import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.paragraph_duplicates import ParagraphDuplicates
from stages.errors import SpecError
from stages.flow import MemoryFlow
from stages.text.normalize import Normalize
from stages.text.span_removal import SpanRemoval

LINES = [
    "One, two.",
    "ONE two",
    "three 3 four",
    "three 7 four",
    "  ",
    "",
    "\t",
    "猫 犬",
    "猫、犬。",
    "été ete",
    "…",
    "قطة كلب",
    "x\r",
    "👩‍🌾 a",
]


def doc_id(i: int) -> str:
    return f"{(i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 3) % 2**128:032x}"


def words(unit: str) -> tuple[str, ...]:
    """As CCNet: lower case, no accents, digits as 0, no punctuation; an ideograph is a word."""
    plain = unit.lower().replace("é", "e")
    plain = re.sub(r"[0-9]+", "0", plain)
    plain = re.sub("([猫犬])", r" \1 ", plain)
    return tuple(re.findall(r"\w+", plain))


def units(text: str, unit: str) -> list[tuple[int, int, tuple[str, ...]]]:
    """Begin and end (of what a span takes) in bytes, and the words."""
    data = text.encode()
    found: list[list[Any]] = []
    start, inside = 0, False
    for line in data.splitlines(keepends=True) if b"\r" not in data else re.findall(rb"[^\n]*\n|[^\n]+", data):
        if not line.strip():
            inside = False
        elif unit == "paragraph" and inside:
            found[-1][1] += line
        else:
            found.append([start, line])
            inside = True
        start += len(line)
    begins = [b for b, _ in found]
    ends = [*begins[1:], len(data)] if begins else []
    return [(b, e, words(content.decode())) for (b, content), e in zip(found, ends, strict=True)]


def sketched(stage: ParagraphDuplicates, texts: list[str | None]) -> pa.Table:
    companion = stage.companions()["words"]
    answer = measure(companion, companion.open(), pa.record_batch({"text": pa.array(texts, pa.string())}))
    ids = pa.array([doc_id(i) for i in range(len(texts))], pa.string())
    return pa.table(
        {"doc_id": ids, "text": pa.array(texts, pa.string()), **{f"words.{n}": answer[n] for n in answer.schema.names}}
    )


def run(stage: ParagraphDuplicates, table: pa.Table, cuts: tuple[int, ...] = (), partitions: int = 3) -> dict[str, Any]:
    bounds = [0, *sorted(cuts), table.num_rows]
    shards = [table.slice(a, b - a) for a, b in itertools.pairwise(bounds)]
    flow = MemoryFlow(shards, partitions)
    stage.program(flow)
    return dict(zip(table["doc_id"].to_pylist(), flow.answer().to_pylist(), strict=True))


def oracle(stage: ParagraphDuplicates, table: pa.Table) -> dict[str, Any]:
    texts = {r["doc_id"]: r["text"] for r in table.to_pylist()}
    every = {i: units(t, stage.unit) for i, t in texts.items() if t is not None}
    compared = [(w, i, n) for i in sorted(every) for n, (_, _, w) in enumerate(every[i]) if len(w) >= stage.min_words]
    counts = Counter(w for w, _, _ in compared)
    first: dict[Any, tuple[str, int]] = {}
    for w, i, n in compared:
        first.setdefault(w, (i, n))
    answer: dict[str, Any] = dict.fromkeys(texts, dict.fromkeys(stage.schema().names))
    for i, found in every.items():
        struck = [
            (b, e)
            for n, (b, e, w) in enumerate(found)
            if counts[w] >= stage.min_occurrences
            and len(w) >= stage.min_words
            and (stage.keep == "none" or first[w] != (i, n))
        ]
        spans: list[dict[str, int]] = []
        for b, e in struck:
            if spans and spans[-1]["end"] == b:
                spans[-1]["end"] = e
            else:
                spans.append({"begin": b, "end": e})
        size, cut = len(texts[i].encode()), sum(e - b for b, e in struck)
        most = [
            max(1, counts[w] if counts[w] >= stage.min_occurrences else 1)
            for _, _, w in found
            if len(w) >= stage.min_words
        ]
        answer[i] = {
            "spans": spans,
            "paragraphs": len(found),
            "duplicate_paragraphs": len(struck),
            "duplicate_bytes": cut,
            "duplicate_fraction": cut / size if size else None,
            "max_occurrences": max(most, default=None),
        }
    return answer


texts = st.lists(st.none() | st.lists(st.sampled_from(LINES), max_size=7).map("\n".join), max_size=12)


@settings(max_examples=150, deadline=None)
@given(texts, st.data())
def test_repeated_units_equal_those_counted_one_by_one_however_the_corpus_is_cut(given_texts, data):
    stage = ParagraphDuplicates(
        unit=data.draw(st.sampled_from(["paragraph", "line"])),
        keep=data.draw(st.sampled_from(["first", "none"])),
        min_words=data.draw(st.integers(1, 3)),
        min_occurrences=data.draw(st.integers(2, 3)),
    )
    table = sketched(stage, given_texts)
    table = table.take(data.draw(st.permutations(range(table.num_rows)))) if table.num_rows else table
    cuts = tuple(data.draw(st.lists(st.integers(0, table.num_rows), max_size=4)))

    assert run(stage, table, cuts, data.draw(st.integers(1, 5))) == oracle(stage, table)


def removed(texts: list[str], spans: list[list[dict[str, int]]]) -> list[str]:
    stage = SpanRemoval(of="paragraphs")
    kind = pa.list_(pa.struct([("begin", pa.int64()), ("end", pa.int64())]))
    batch = pa.record_batch({"text": pa.array(texts, pa.string()), "paragraphs.spans": pa.array(spans, kind)})
    answer = measure(stage, stage.open(), batch)
    sizes = [len(t.encode()) for t in texts]
    assert answer["removed_bytes"].to_pylist() == [
        n - len(t.encode()) for n, t in zip(sizes, answer["text"].to_pylist(), strict=True)
    ]
    assert [f is None for f in answer["removed_fraction"].to_pylist()] == [n == 0 for n in sizes]
    return answer["text"].to_pylist()


@settings(max_examples=100, deadline=None)
@given(texts)
def test_what_is_left_after_removal_has_every_paragraph_once(given_texts):
    stage = ParagraphDuplicates(min_words=1)
    table = sketched(stage, given_texts)
    answer = run(stage, table)
    present = [
        (i, t) for i, t in zip(table["doc_id"].to_pylist(), table["text"].to_pylist(), strict=True) if t is not None
    ]

    left = removed([t for _, t in present], [answer[i]["spans"] for i, _ in present])

    before = {w for _, t in present for _, _, w in units(t, "paragraph") if w}
    after = [w for t in left for _, _, w in units(t, "paragraph") if w]
    assert sorted(after) == sorted(before)


@pytest.mark.parametrize(
    ("text", "spans", "left"),
    [
        ("one two three", [(4, 8)], "one three"),
        ("one two three", [(3, 8)], "one three"),
        ("one two three", [(3, 7)], "one three"),
        ("onetwothree", [(3, 6)], "one three"),
        ("one two three", [(0, 4)], "two three"),
        ("one two three", [(7, 13)], "one two"),
        ("one\n\ntwo\n\nthree\n", [(5, 10)], "one\n\nthree\n"),
        ("one\n\ntwo\n\nthree\n", [(10, 16)], "one\n\ntwo"),
        ("one\n\ntwo\n\n", [(0, 5)], "two\n\n"),
        ("猫が好き", [(3, 6)], "猫 好き"),
        ("gone", [(0, 4)], ""),
        ("", [], ""),
        ("a b c d e", [(2, 4), (6, 8)], "a c e"),
    ],
)
def test_a_span_is_cut_exactly_and_its_hole_is_closed(text, spans, left):
    assert removed([text, "kept"], [[{"begin": b, "end": e} for b, e in spans], []]) == [left, "kept"]


def test_a_step_without_spans_is_refused():
    with pytest.raises(SpecError) as error:
        SpanRemoval(of="clean").resolve({"clean": Normalize()})
    assert error.value.message.startswith("span_removal is of 'clean', a step of kind 'normalize' that gives no spans")


def test_spans_of_another_text_are_refused():
    with pytest.raises(SpecError) as error:
        SpanRemoval(of="found", text="text").resolve({"found": ParagraphDuplicates(text="clean.text")})
    assert error.value.message == (
        "span_removal of 'found' cuts 'text', but that step found its spans in 'clean.text'; give both the same `text:`"
    )
