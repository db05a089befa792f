"""Texts without their spans against a slow removal that works on pieces of text."""

import re
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.paragraph_duplicates import ParagraphDuplicates
from stages.corpus.substring_duplicates import SPANS, SubstringDuplicates
from stages.errors import SpecError
from stages.text.normalize import Normalize
from stages.text.span_removal import SpanRemoval

Spans = list[tuple[int, int]]
BLANK = " \t\n\r\v\f"
UNSPACED = "[\u0e00-\u0eff\u1000-\u10bf\u1780-\u17ff\u3000-\ua4ff\uf900-\ufaff\uff00-\uffbf\U00020000-\U0003ffff]"


def removed(texts: list[str], spans: list[Spans | None]) -> list[dict[str, Any]]:
    stage = SpanRemoval(of="found")
    lists = [None if some is None else [{"begin": b, "end": e} for b, e in some] for some in spans]
    batch = pa.record_batch({"text": pa.array(texts, pa.string()), "found.spans": pa.array(lists, SPANS)})
    answer: list[dict[str, Any]] = measure(stage, stage.open(), batch).to_pylist()
    return answer


def left(text: str, spans: Spans) -> str:
    return str(removed([text], [spans])[0]["text"])


def pieces(text: str, spans: Spans) -> list[tuple[str, bool]]:
    """What stands between the holes, and whether it begins after a newline that was cut."""
    starts = [0]
    for char in text:
        starts.append(starts[-1] + len(char.encode()))
    found, at, cut = [], 0, False
    for begin, end in spans:
        a = min((i for i, s in enumerate(starts) if s >= begin), default=len(text))
        b = max(i for i, s in enumerate(starts) if s <= end)
        a = max(a, at)
        if a < b:
            found.append((text[at:a], cut))
            at, cut = b, text[b - 1] == "\n"
    return [*found, (text[at:], cut)]


def joined(above: str, below: str, *, line: bool) -> str:
    """Two pieces with the white space between them made one."""
    one, other = above.rstrip(BLANK), below.lstrip(BLANK)
    over, under = above[len(one) :], below[: len(below) - len(other)]
    if not (over + under).count("\n"):
        gap = over or under or ("" if re.match(UNSPACED, one[-1]) or re.match(UNSPACED, other[0]) else " ")
    elif over.count("\n") < under.count("\n"):
        gap = under
    elif line or "\n" in under:
        gap = over[: over.rindex("\n") + 1] + under[under.rfind("\n") + 1 :]
    else:
        gap = over
    return one + gap + other


def slowly(text: str, spans: Spans) -> str:
    first, *others = pieces(text, spans)
    if not others:
        return text
    whole = first[0]
    for n, (piece, line) in enumerate(others):
        if not piece.strip(BLANK) and n < len(others) - 1:
            continue  # a hole with white space in it
        if not whole.strip(BLANK):
            whole = piece.lstrip(BLANK)
        elif not piece.strip(BLANK):
            whole = whole.rstrip(BLANK)
        else:
            whole = joined(whole, piece, line=line)
    return whole


@st.composite
def cut_texts(draw: st.DrawFn) -> tuple[str, Spans]:
    parts = st.sampled_from(
        ["a", "bc", " ", "  ", "\n", "\n\n", "\t", "\r\n", "猫", "ไทย", "ى", "é", "e\u0301", "👩‍🌾", "。"]
    )
    text = "".join(draw(st.lists(parts, max_size=14)))
    edges = sorted(draw(st.sets(st.integers(0, len(text.encode())), max_size=8)))
    return text, list(zip(edges[::2], edges[1::2], strict=False))


@settings(max_examples=600, deadline=None)
@given(st.lists(cut_texts(), max_size=6))
def test_what_is_left_equals_what_a_slow_removal_leaves(cut):
    answer = removed([text for text, _ in cut], [spans for _, spans in cut])

    assert [row["text"] for row in answer] == [slowly(text, spans) for text, spans in cut]


@settings(max_examples=300, deadline=None)
@given(cut_texts())
def test_no_character_but_white_space_is_lost_or_made_outside_the_spans(cut):
    text, spans = cut
    kept = "".join(piece for piece, _ in pieces(text, spans))

    assert left(text, spans).translate({ord(c): None for c in BLANK}) == kept.translate({ord(c): None for c in BLANK})


@settings(max_examples=200, deadline=None)
@given(st.lists(cut_texts(), max_size=6))
def test_removed_bytes_are_the_difference_and_their_fraction(cut):
    texts = [text for text, _ in cut]
    sizes = [len(t.encode()) for t in texts]
    for size, row in zip(sizes, removed(texts, [spans for _, spans in cut]), strict=True):
        assert row["removed_bytes"] == size - len(row["text"].encode()) >= 0
        assert row["removed_fraction"] == (row["removed_bytes"] / size if size else None)


@pytest.mark.parametrize(
    ("text", "spans", "expected"),
    [
        ("one two three", [(4, 8)], "one three"),
        ("one two three", [(3, 8)], "one three"),
        ("one two three", [(3, 7)], "one three"),
        ("onetwothree", [(3, 6)], "one three"),
        ("one two three", [(0, 4)], "two three"),
        ("one two three", [(7, 13)], "one two"),
        ("one\n\ntwo\n\nthree\n", [(5, 10)], "one\n\nthree\n"),
        ("one\n\ntwo\n\nthree\n", [(5, 8)], "one\n\nthree\n"),
        ("one\n\ntwo\n\nthree\n", [(10, 16)], "one\n\ntwo"),
        ("one\n\ntwo\n\n", [(0, 5)], "two\n\n"),
        ("one\ntwo\nthree", [(4, 7)], "one\nthree"),
        ("one\r\n\r\ntwo\r\n\r\nthree", [(7, 14)], "one\r\n\r\nthree"),
        ("a:\n    b\n    c\n", [(3, 9)], "a:\n    c\n"),
        ("a:\n    b c\n", [(7, 8)], "a:\n    c\n"),
        ("gone", [(0, 4)], ""),
        ("", [], ""),
        ("a b c d e", [(2, 4), (6, 8)], "a c e"),
        ("a b c d e", [(2, 3), (4, 5)], "a d e"),
        (" as it was \n\n\n\n", [], " as it was \n\n\n\n"),
    ],
)
def test_a_span_is_cut_exactly_and_its_hole_is_closed(text, spans, expected):
    assert [row["text"] for row in removed([text, "kept"], [spans, []])] == [expected, "kept"]


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("猫が好き", "が", "猫好き"),
        ("吾輩は猫である。名前はまだ無い。", "名前は", "吾輩は猫である。まだ無い。"),
        ("ภาษาไทยง่าย", "ไทย", "ภาษาง่าย"),
        ("나는고양이", "는", "나 고양이"),
        ("قطةكلب", "كلب", "قطة"),
        ("дваслова", "а", "дв слова"),
    ],
)
def test_a_space_closes_a_hole_only_in_scripts_that_have_spaces(text, cut, expected):
    begin = len(text[: text.index(cut)].encode())

    assert left(text, [(begin, begin + len(cut.encode()))]) == expected


def test_a_span_within_a_character_is_shrunk_to_whole_ones():
    text = "a猫b👩‍🌾c"

    assert [left(text, [span]) for span in ((1, 3), (2, 4), (2, 5), (0, 2), (6, 8))] == [
        text,
        text,
        "a猫👩‍🌾c",
        "猫b👩‍🌾c",
        text,
    ]


def test_spans_of_more_than_the_text_and_empty_ones_do_no_harm():
    assert [left("one two", spans) for spans in ([(4, 99)], [(50, 99)], [(3, 3)], [(0, 0), (7, 7)])] == [
        "one",
        "one two",
        "one two",
        "one two",
    ]


def test_a_document_whose_spans_are_unknown_is_not_measured():
    assert removed(["one two"], [None]) == [{"text": None, "removed_bytes": None, "removed_fraction": None}]


def test_slices_and_batches_make_no_difference():
    stage = SpanRemoval(of="found")
    texts = pa.array(["skipped", "one two", "猫が好き", "three"])
    spans = pa.array([[{"begin": 0, "end": 3}], [{"begin": 0, "end": 4}], [{"begin": 3, "end": 6}], []], SPANS)
    batch = pa.record_batch({"text": texts, "found.spans": spans})
    kernel = stage.open()

    assert [measure(stage, kernel, batch.slice(i, n))["text"].to_pylist() for i, n in ((1, 3), (2, 1), (3, 0))] == [
        ["two", "猫好き", "three"],
        ["猫好き"],
        [],
    ]


def test_many_holes_in_white_space_take_linear_time():
    text = " " * 200_000 + "x " * 200_000 + "end"
    spans = [(200_000 + 2 * i, 200_001 + 2 * i) for i in range(200_000)]

    assert left(text, spans) == "end"
    assert left("a" + text, [(b + 1, e + 1) for b, e in spans]) == "a" + " " * 200_000 + "end"


@pytest.mark.parametrize(
    ("step", "begins"),
    [
        (
            Normalize(),
            "span_removal is of 'found', a step of kind 'normalize' that gives no spans; name a step such as",
        ),
        (
            ParagraphDuplicates(text="clean.text"),
            "span_removal of 'found' cuts 'text', but that step found its spans in",
        ),
        (
            SubstringDuplicates(text="a.text"),
            "span_removal of 'found' cuts 'text', but that step found its spans in 'a.t",
        ),
    ],
)
def test_steps_without_spans_of_this_text_are_refused(step, begins):
    with pytest.raises(SpecError) as error:
        SpanRemoval(of="found", text="text").resolve({"found": step})

    assert error.value.message.startswith(begins)


@pytest.mark.parametrize("kind", [ParagraphDuplicates, SubstringDuplicates])
def test_steps_with_spans_of_this_text_are_taken(kind):
    stage = SpanRemoval(of="found", text="clean.text")

    assert stage.resolve({"found": kind(text="clean.text")}) == stage
    assert stage.reads() == ("clean.text", "found.spans")
