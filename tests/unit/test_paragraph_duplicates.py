"""Repeated paragraphs and lines against a slow count of the whole corpus, and what removing them leaves."""

import itertools
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.paragraph_duplicates import ParagraphDuplicates
from stages.corpus.substring_duplicates import SPANS
from stages.flow import MemoryFlow, MemorySite
from stages.kernels.sketch_sha1 import words as folded_words
from stages.text.paragraphs import Paragraphs
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
    "1,204 98 2024",
    "7.5 ٣٤ 42",
    "② Ⅳ ½ 2nd 9",
    "Q3 12 猫 3",
]


def doc_id(i: int) -> str:
    return f"{(i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 3) % 2**128:032x}"


def words(unit: str) -> tuple[str, ...]:
    """As CCNet: lower case, no accents, digits as 0, no punctuation; an ideograph is a word."""
    plain = unit.lower().replace("é", "e")
    plain = re.sub(r"\d+", "0", plain)
    plain = re.sub("([猫犬])", r" \1 ", plain)
    return tuple(re.findall(r"\w+", plain))


def lettered(words: Iterable[str]) -> int:
    """How many words have a letter."""
    return sum(any(char.isalpha() for char in word) for word in words)


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
    compared = [
        (w, i, n) for i in sorted(every) for n, (_, _, w) in enumerate(every[i]) if lettered(w) >= stage.min_words
    ]
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
            and lettered(w) >= stage.min_words
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
            if lettered(w) >= stage.min_words
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


def left_of(table: pa.Table, answer: dict[str, Any]) -> dict[str, str | None]:
    """The texts without the spans, by document."""
    stage = SpanRemoval(of="found")
    spans = pa.array([answer[i]["spans"] for i in table["doc_id"].to_pylist()], SPANS)
    batch = pa.record_batch({"text": table["text"].combine_chunks(), "found.spans": spans})
    texts = measure(stage, stage.open(), batch)["text"].to_pylist()
    return dict(zip(table["doc_id"].to_pylist(), texts, strict=True))


@settings(max_examples=100, deadline=None)
@given(texts)
def test_what_is_left_after_removal_has_every_paragraph_once(given_texts):
    stage = ParagraphDuplicates(min_words=1)
    table = sketched(stage, given_texts)

    left = left_of(table, run(stage, table))

    before = {w for t in given_texts if t is not None for _, _, w in units(t, "paragraph") if lettered(w)}
    after = [w for t in left.values() if t is not None for _, _, w in units(t, "paragraph") if lettered(w)]
    assert sorted(after) == sorted(before)


@settings(max_examples=60, deadline=None)
@given(texts, st.sampled_from(["paragraph", "line"]), st.sampled_from(["first", "none"]))
def test_nothing_is_repeated_in_what_is_left(given_texts, unit, keep):
    stage = ParagraphDuplicates(unit=unit, keep=keep, min_words=1)
    table = sketched(stage, given_texts)
    left = left_of(table, run(stage, table))

    again = run(stage, sketched(stage, [left[i] for i in table["doc_id"].to_pylist()]))

    assert all(row["duplicate_bytes"] in (0, None) and row["max_occurrences"] in (1, None) for row in again.values())


@settings(max_examples=60, deadline=None)
@given(texts)
def test_the_bytes_of_spans_add_up(given_texts):
    stage = ParagraphDuplicates(min_words=1, keep="none")
    table = sketched(stage, given_texts)
    for text, row in zip(given_texts, run(stage, table).values(), strict=True):
        if text is None:
            assert row == dict.fromkeys(stage.schema().names)
            continue
        edges = [edge for span in row["spans"] for edge in (span["begin"], span["end"])]
        assert edges == sorted(set(edges))
        assert sum(edges[1::2]) - sum(edges[::2]) == row["duplicate_bytes"]
        assert row["duplicate_fraction"] == (row["duplicate_bytes"] / len(text.encode()) if text else None)


def spans_in(texts: list[str], **fields: Any) -> list[list[str]]:
    """What is struck of each text."""
    table = sketched(ParagraphDuplicates(**fields), list(texts))
    answer = run(ParagraphDuplicates(**fields), table)
    found = [answer[i]["spans"] for i in table["doc_id"].to_pylist()]
    return [[t.encode()[s["begin"] : s["end"]].decode() for s in spans] for t, spans in zip(texts, found, strict=True)]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Page 12 of 340: see also Section 7.", "page 3 of 9 see also section 1"),
        ("Déjà vu à l’île, où l’été naît.", "deja vu a l'ile ou l'ete nait"),
        ("Cafe\u0301 au lait pour le garçon", "Café au lait pour le garçon"),
        ("一二三四五六", "一二、三四。五六"),
        ("هذا نص عربي قصير جدا", "هذا، نص: عربي قصير جدا!"),
        ("line one has\r\nfive words", "line one has\nfive words"),
        ("five words in\u2028one line", "five words in one line"),
        ("\u200bfive words in\u00a0one line", "  FIVE words\tin one line…"),
    ],
)
def test_case_accents_digits_punctuation_and_white_space_make_no_difference(one, other):
    assert sorted(map(len, spans_in([one, other]))) == [0, 1]


def test_what_a_switch_keeps_tells_paragraphs_apart():
    pair = ["One, two three four five 6!", "one two thrée four five 7"]

    assert spans_in(pair, keep="none") == [[pair[0]], [pair[1]]]
    for switch in ({"lowercase": False}, {"punctuation": True}, {"digits": True}, {"accents": True}):
        assert spans_in(pair, keep="none", **switch) == [[], []]


@pytest.mark.parametrize(
    "figures",
    [
        "1 204 98 17 2024",
        "1,204.50 | 98 % | ½ | -17 | 2024-25",
        "٣ ٤ ٥ ٦ ٧",
        "① ② ③ ④ ⑤",
        "Ⅰ Ⅱ Ⅲ Ⅳ Ⅴ",
        "Q1 12 Q2 15 Q3 9 Q4",
    ],
)
def test_rows_of_figures_are_never_compared_however_many(figures):
    other = re.sub("[0-9]", "7", figures)

    assert spans_in([figures, figures, other], unit="line", keep="none") == [[], [], []]
    assert spans_in([figures, figures], digits=True, punctuation=True, keep="none") == [[], []]


def test_figures_still_tell_paragraphs_apart_that_have_enough_words():
    pair = ["the price of flour rose by 12", "the price of flour rose by 9 10"]

    assert spans_in([pair[0], pair[0].replace("12", "7")], keep="none") == [[pair[0]], [pair[0].replace("12", "7")]]
    assert spans_in(pair, keep="none") == [[], []], "0 is not 0 0"


PIECES = st.one_of(
    st.sampled_from([*"aZ09_'-. \t٣९๓½②Ⅷ〇字々ひไกำ\u0301\u200b\u200d\ufe0f\u0e31\u3000é한हि👩🏽", "Q3", "2024", ", "]),
    st.characters(exclude_categories=["Cs"], exclude_characters="\n"),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=30).map("".join), st.integers(1, 4), st.lists(st.booleans(), min_size=4, max_size=4))
def test_a_line_is_compared_where_enough_of_its_words_have_a_letter(line, least, switches):
    named = dict(zip(("lowercase", "punctuation", "digits", "accents"), switches, strict=True))
    stage = Paragraphs(unit="line", min_words=least, **named)

    answer = measure(stage, stage.open(), pa.record_batch({"text": pa.array([line])}))

    assert len(answer["hashes"][0]) == (lettered(folded_words(line, stage)) >= least)


@pytest.mark.parametrize("blank", ["", " \t", "\r", "\u00a0", "\u3000", "\u2003\u200b", "\ufeff", "\u2029", "\u0085"])
def test_a_line_of_any_white_space_parts_paragraphs_and_goes_with_the_one_before(blank):
    said = "the same five words here"

    assert spans_in([f"first\n{blank}\n{said}\n{blank}\nlast", said], keep="none") == [[f"{said}\n{blank}\n"], [said]]


def test_the_first_is_in_the_smallest_doc_id_wherever_its_shard_is():
    stage = ParagraphDuplicates(min_words=1)
    table = sketched(stage, ["same words"] * 9)
    smallest = min(table["doc_id"].to_pylist())
    for cuts in ((), (1,), (8,), (2, 4, 6), tuple(range(1, 9))):
        found = run(stage, table, cuts)
        assert [i for i, row in found.items() if not row["spans"]] == [smallest]


def test_a_line_that_is_everywhere_costs_one_entry_a_shard():
    stage = ParagraphDuplicates(unit="line", min_words=1)
    table = sketched(stage, ["again\n" * 1000] * 10)
    sent = [
        stage.offer(MemorySite("shards", n, {"shards": 2, "partitions": 3, "one": 1}, table.slice(5 * n, 5)))
        for n in (0, 1)
    ]

    assert [s.select(["count", "at"]).to_pylist() for s in sent] == [[{"count": 5000, "at": 0}]] * 2


def test_partitions_are_as_many_as_the_paragraphs_need():
    class Splits(MemoryFlow):
        def split(self, partitions: int) -> None:
            asked.append(partitions)

    asked: list[int] = []
    stage = ParagraphDuplicates(unit="line", min_words=1)
    stage.program(Splits([sketched(stage, ["a\n" * 1_500_000])]))

    assert asked == [2]
