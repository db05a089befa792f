"""Anchors and passages, against slow and obvious ways."""

from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.byte_spans import merged, snap
from stages.kernels.substrings import ALL, AT, BEGIN, COUNT, KEY, RANK, ROW, Passages, struck
from stages.kernels.warm import compile_kinds
from stages.kernels.winnowing import anchor_bytes, fingerprints

WORDS = st.sampled_from(
    ["aaaaaaaaaaaaaaaaaaaa", "the quick brown fox", "今天天气很好", "👩‍👩‍👧", "é", "ab", "\0\0\0\0"]
)
TEXTS = st.lists(st.lists(WORDS | st.text(max_size=5), max_size=12).map("".join), max_size=8)
MASK = 2**64 - 1


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kinds(("substring_duplicates",))


def oracle_keys(text: bytes, size: int) -> list[tuple[int, int]]:
    """(key, place) of every window's anchor, one hash at a time."""
    k, base = anchor_bytes(size), 0x9E3779B97F4A7C15
    grams = []
    for i in range(len(text) - k + 1):
        h = 0
        for byte in text[i : i + k]:
            h = (h * base + byte) & MASK
        g = (h ^ h >> 32) * 0xFF51AFD7ED558CCD & MASK
        grams.append(g ^ g >> 29)
    found = []
    for i in range(len(text) - size + 1):
        least, place = min((grams[j], -j) for j in range(i, i + size - k + 1))
        h = (least ^ least >> 33) * 0xC4CEB9FE1A85EC53 & MASK
        h = (h ^ h >> 33) * 0xFF51AFD7ED558CCD & MASK
        found.append((h ^ h >> 33 or 1, -place))
    return found


def oracle_fingerprints(text: bytes, size: int) -> list[int]:
    """Each new anchor's key, of a run of equal keys two."""
    keys = [key for key, _ in dict.fromkeys(oracle_keys(text, size))]
    return [key for i, key in enumerate(keys) if i < 2 or keys[i - 2 : i] != [key, key]]


@settings(max_examples=100, deadline=None)
@given(texts=TEXTS, size=st.integers(16, 70))
def test_fingerprints_are_the_keys_of_the_anchors_of_all_windows(texts: list[str], size: int) -> None:
    values, ends = fingerprints(pa.array(["cut off", *texts], pa.string())[1:], size)
    found = [values[a:b].tolist() for a, b in pairwise(ends)]

    assert found == [oracle_fingerprints(t.encode(), size) for t in texts]


def test_fingerprints_of_a_long_text_are_the_same_across_chunks() -> None:
    text = ("one line repeats itself, " * 40 + "".join(map(str, range(3000)))) * 2
    values, _ = fingerprints(pa.array([text]), 100)

    assert values.tolist() == oracle_fingerprints(text.encode(), 100)


def test_a_long_text_of_one_letter_has_two_fingerprints() -> None:
    assert len(fingerprints(pa.array(["x" * 1_000_000]), 100)[0]) == 2


def passages(texts: list[str], size: int, mask: int) -> Passages:
    keys = np.unique(fingerprints(pa.array(texts, pa.string()), size)[0])
    found = Passages(keys, size, mask)
    rows = np.arange(len(texts))
    for start in range(0, len(texts), 3):
        some = rows[start : start + 3]
        found.add(pa.array(texts[start : start + 3], pa.string()), some, len(texts) - some)
    return found


def facts(texts: list[str], size: int, mask: int) -> Any:
    """What is struck, with hashes cut to `mask`."""
    found = passages(texts, size, mask)
    table = found.table
    order = np.stack([table[:, RANK], table[:, RANK], table[:, BEGIN]]).astype(np.uint64)
    keys = np.ascontiguousarray(table[:, KEY]).view(np.uint64)
    at, count = table[:, AT].copy(), table[:, COUNT].copy()
    spans = [struck(found.bytes, keys, at, order, count, size, every=every, mask=mask).tolist() for every in (0, 1)]
    return table[:, [KEY, AT, RANK, ROW, BEGIN, COUNT]].tolist(), found.spans.tolist(), found.bytes.to_pylist(), spans


@pytest.mark.parametrize("mask", [0, 1, 7])
@settings(max_examples=40, deadline=None)
@given(texts=TEXTS)
def test_hashes_that_collide_change_nothing(mask: int, texts: list[str]) -> None:
    assert facts(texts, 16, mask) == facts(texts, 16, ALL)


@settings(max_examples=60, deadline=None)
@given(texts=TEXTS)
def test_passages_are_cut_where_the_anchor_changes(texts: list[str]) -> None:
    expected: dict[tuple[int, bytes, int], int] = {}
    for text in (t.encode() for t in texts):
        windows = oracle_keys(text, 16)
        for key, place in dict.fromkeys(windows):
            own = [i for i, w in enumerate(windows) if w == (key, place)]
            passage = (key, text[own[0] : own[-1] + 16], place - own[0])
            expected[passage] = expected.get(passage, 0) + 1
    found = passages(texts, 16, ALL)
    keys = np.ascontiguousarray(found.table[:, KEY]).view(np.uint64).tolist()

    rows = zip(keys, found.bytes.to_pylist(), found.table[:, AT].tolist(), strict=True)
    assert dict(zip(rows, found.table[:, COUNT].tolist(), strict=True)) == expected


def test_different_anchors_with_one_key_are_kept_apart() -> None:
    content = pa.array([b"a" * 20, b"b" * 20, b"b" * 20], pa.large_binary())
    zeros = np.zeros(3, np.int64)
    order = np.array([[1, 2, 3], [0, 0, 0], [0, 0, 0]], np.uint64)
    found = struck(content, np.full(3, 9, np.uint64), zeros, order, zeros + 1, 16, every=False)

    assert found.tolist() == [[2, 0, 20]]


def test_spans_that_touch_are_joined() -> None:
    spans = np.array([[1, 5, 9], [0, 4, 8], [1, 0, 5], [0, 9, 10], [2, 0, 3], [2, 1, 2]])

    assert merged(spans).tolist() == [[0, 4, 8], [0, 9, 10], [1, 0, 9], [2, 0, 3]]


@given(texts=st.lists(st.text(min_size=1), min_size=1, max_size=5), data=st.data())
def test_snapped_spans_can_be_cut_out_and_are_the_largest_within(texts: list[str], data: Any) -> None:
    spans = []
    for i, text in enumerate(texts):
        begin = data.draw(st.integers(0, len(text.encode())))
        spans.append([i, begin, data.draw(st.integers(begin, len(text.encode())))])
    found = np.array(spans)
    snap(pa.array(texts), found[:, 0].copy(), found)

    for text, (_, begin, end), (_, b, e) in zip(texts, spans, found.tolist(), strict=True):
        places = [len(text[:n].encode()) for n in range(len(text) + 1)]
        inside = [p for p in places if begin <= p <= end]
        assert (b, e) == (inside[0], inside[-1]) if inside else b >= e
