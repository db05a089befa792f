"""Repeated passages, against the set of all windows."""

import random
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.substring_duplicates import SubstringDuplicates
from stages.flow import MemoryFlow

Spans = list[tuple[int, int]]
N = 16
PIECES = (
    "the quick brown fox jumps over",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "abcabcabcabcabcabcabcabcabc",
    "今天天气很好我们去公园散步",
    "👩‍👩‍👧‍👦👍🏽🇫🇷🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "e\u0301a\u0308o\u0302u\u0301\u0308\u20ddi\u0301",
    "السماء زرقاء والشمس",
    "\x00" * 20,
    " the quick brown cat",
    "é",
    "x",
)
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map("".join)
TEXTS = st.lists(st.none() | TEXT, max_size=12)


def ids_of(count: int) -> list[str]:
    """Ids whose order is not that of the rows."""
    return [f"{(i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 7) % 2**128:032x}" for i in range(count)]


def table(stage: SubstringDuplicates, texts: Sequence[str | None]) -> pa.Table:
    """What the planner would give: ids, texts and the companion's columns."""
    column = pa.array(texts, pa.string())
    companion = stage.companions()["fingerprints"]
    found = measure(companion, companion.open(), pa.RecordBatch.from_pydict({"text": column}))
    own = {f"fingerprints.{f.name}": found[f.name] for f in found.schema}
    return pa.table({"doc_id": pa.array(ids_of(len(texts)), pa.string()), "text": column, **own})


def run(stage: SubstringDuplicates, texts: Sequence[str | None], shards: int = 1, partitions: int = 1) -> pa.Table:
    """The stage's columns, in the order of the texts."""
    rows = table(stage, texts)
    bounds = [round(i * len(texts) / shards) for i in range(shards + 1)]
    flow = MemoryFlow([rows.slice(a, b - a) for a, b in pairwise(bounds)], partitions=partitions)
    stage.program(flow)
    return flow.answer()


def spans_of(answer: pa.Table) -> list[Spans | None]:
    return [None if s is None else [(x["begin"], x["end"]) for x in s] for s in answer["spans"].to_pylist()]


def oracle(texts: Sequence[str | None], keep: str, size: int) -> list[Spans | None]:
    """Look at every window of the corpus, in the order of ids, then of places."""
    ids = ids_of(len(texts))
    data = [None if t is None else t.encode() for t in texts]
    places: dict[bytes, list[tuple[int, int]]] = {}
    for d in sorted(range(len(texts)), key=lambda i: ids[i]):
        text = data[d] or b""
        for i in range(len(text) - size + 1):
            places.setdefault(text[i : i + size], []).append((d, i))
    struck = [bytearray(len(t or b"")) for t in data]
    for found in places.values():
        for d, i in (found[1:] if keep == "first" else found) if len(found) > 1 else []:
            struck[d][i : i + size] = b"\1" * size
    return [None if t is None else runs(t, mask) for t, mask in zip(data, struck, strict=True)]


def runs(text: bytes, mask: bytearray) -> Spans:
    """The runs of struck bytes, shrunk until text can be cut there."""
    found, i = [], 0
    while (begin := mask.find(1, i)) >= 0:
        i = end = mask.find(0, begin) if mask.find(0, begin) >= 0 else len(mask)
        while 0x80 <= text[begin] < 0xC0:
            begin += 1
        while end < len(text) and 0x80 <= text[end] < 0xC0:
            end -= 1
        found.append((begin, end))
    return found


@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("keep", ["first", "none"])
@given(texts=TEXTS, shards=st.integers(1, 4), partitions=st.integers(1, 3))
def test_spans_are_those_of_all_windows(texts: list[str | None], keep: Any, shards: int, partitions: int) -> None:
    stage = SubstringDuplicates(min_bytes=N, keep=keep)
    answer = run(stage, texts, shards, partitions)

    assert spans_of(answer) == oracle(texts, keep, N)


@settings(max_examples=30, deadline=None)
@given(texts=TEXTS, size=st.integers(16, 90))
def test_any_length_of_window_is_exact(texts: list[str | None], size: int) -> None:
    doubled = [*texts, *(t and "x" + t + t for t in texts)]

    assert spans_of(run(SubstringDuplicates(min_bytes=size), doubled, 2, 2)) == oracle(doubled, "first", size)


def corpus(documents: int, seed: int) -> list[str | None]:
    """Documents of shared and own sentences, some without a text, some empty."""
    draw = random.Random(seed)
    alphabet = "abcdefgh 今天é🌾"
    shared = ["".join(draw.choices(alphabet, k=draw.randrange(20, 400))) for _ in range(40)]
    texts: list[str | None] = []
    for _ in range(documents):
        own = ["".join(draw.choices(alphabet, k=draw.randrange(300))) for _ in range(3)]
        cuts = [p[draw.randrange(10) :] for p in draw.sample(shared, 2)]
        texts.append(draw.choice([None, "", "".join([own[0], cuts[0], own[1], cuts[1], own[2]])]) or "".join(cuts))
    return texts


@pytest.mark.parametrize("keep", ["first", "none"])
def test_shards_and_partitions_change_nothing(keep: Any) -> None:
    texts, stage = corpus(200, 1), SubstringDuplicates(keep=keep)
    whole = run(stage, texts)

    assert spans_of(whole) == oracle(texts, keep, 100)
    assert all(run(stage, texts, s, p).equals(whole) for s, p in ((2, 1), (7, 3), (31, 5), (200, 2)))


def test_the_order_of_documents_in_shards_changes_nothing() -> None:
    texts, stage = corpus(60, 2), SubstringDuplicates()
    rows = table(stage, texts)
    flow = MemoryFlow([rows.take(list(range(0, 60, 2))), rows.take(list(range(59, 0, -2)))])
    stage.program(flow)
    expected = oracle(texts, "first", 100)

    assert spans_of(flow.answer()) == expected[::2] + expected[::-2]


def test_bytes_and_fractions_are_those_of_the_spans() -> None:
    copy = "né " * 40
    answer = run(SubstringDuplicates(), [copy, "own", "", None, copy])
    first, last = (0, 4) if ids_of(5)[0] < ids_of(5)[4] else (4, 0)

    expected = {"spans": [{"begin": 0, "end": 160}], "duplicate_bytes": 160, "duplicate_fraction": 1.0}
    rows = answer.to_pylist()
    assert rows[last] == expected | {"duplicate_spans": 1}
    assert rows[first]["spans"] == [{"begin": 4, "end": 160}]  # the text repeats itself every four bytes
    assert rows[1] == {"spans": [], "duplicate_bytes": 0, "duplicate_fraction": 0.0, "duplicate_spans": 0}
    assert rows[2] == {"spans": [], "duplicate_bytes": 0, "duplicate_fraction": None, "duplicate_spans": 0}
    assert set(rows[3].values()) == {None}


def test_without_the_spans_nothing_is_left_that_was_repeated_whole() -> None:
    texts = corpus(80, 3)
    spans = spans_of(run(SubstringDuplicates(), [*texts, *texts]))
    left = 0
    for text, found in zip([*texts, *texts], spans, strict=True):
        left += len((text or "").encode()) - sum(end - begin for begin, end in found or [])

    assert left <= sum(len((t or "").encode()) for t in texts)


def test_three_million_equal_letters_are_one_span() -> None:
    answer = run(SubstringDuplicates(), ["a" * 3_000_000])

    assert spans_of(answer) == [[(1, 3_000_000)]]


def test_ten_thousand_equal_documents_keep_the_first() -> None:
    text = "".join(random.Random(4).choices("abcdefghij ", k=1000))
    answer = run(SubstringDuplicates(), [text] * 10_000, 4, 3)
    ids = ids_of(10_000)

    assert [i for i, n in enumerate(answer["duplicate_bytes"].to_pylist()) if n != 1000] == [ids.index(min(ids))]


def test_twenty_thousand_contexts_of_one_phrase_are_kept_apart() -> None:
    draw = random.Random(5)
    phrase = "this phrase of some sixty bytes stands in every document, once "
    texts = ["".join(draw.choices("abcdefgh", k=60)) + phrase + str(draw.random()) * 3 for _ in range(20_000)]

    assert not any(run(SubstringDuplicates(), texts, 2, 2)["duplicate_spans"].to_pylist())


def test_a_document_with_a_long_copy_of_another_has_one_span_a_copy() -> None:
    book = "".join(random.Random(6).choices("abcdefghij kl", k=300_000))
    texts = [book, "begin " + book[1000:200_000] + " end"]
    first, second = sorted(range(2), key=lambda i: ids_of(2)[i])
    found = spans_of(run(SubstringDuplicates(), texts, 2, 3))

    assert found[first] == []
    assert found[second] == ([(6, 199_006)] if second == 1 else [(1000, 200_000)])


def test_the_length_is_part_of_the_identity_and_of_the_companion() -> None:
    short, long = SubstringDuplicates(min_bytes=50), SubstringDuplicates(text="clean.text")

    assert short.identity() != long.identity()
    assert long.companions()["fingerprints"].model_dump() == {
        "kind": "fingerprints",
        "text": "clean.text",
        "min_bytes": 100,
    }
