r"""Hashed n-grams: the tokens of Python's own `\w+|[^\w\s]+` over `str.lower`, and their buckets."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from slow_ngrams import fast_hash, slow, tokens_of

from stages.kernels.hashed_ngrams import CHUNK, hashed_ngrams

TRICKY = (
    *"ΣσςΑαİıIßſŉǰΐᾳǅKÅ½²Ⅷ字々ー한가हिन्दीسلامשָׁ…“”_'.:·-–0٣९\t\n\x1c\x85\u00a0\u3000\u2028 \0",
    *"\u0301\u0307\u0345\u00ad\u200b\u200d\ufeff\ufe0f\u2060\U0001d7d9\U000e0041\U0001e922\U0010ffff\ue000\u0378👩🏽🎉",
)
PIECES = st.one_of(
    st.sampled_from(TRICKY),
    st.characters(exclude_categories=["Cs"]),
    st.text("abXY_1. ", max_size=20),
    st.sampled_from(["ΟΔΟΣ ", "Σ'Σ", "Α\u0301Σ", "İstanbul", "the ", "...", "今天天气"]),
)
TEXTS = st.lists(PIECES, max_size=30).map("".join)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(TEXTS, max_size=4),
    st.integers(1, 3),
    st.sampled_from([2, 97, 10_000]),
    st.sampled_from(["fast", "sha256"]),
)
def test_buckets_and_tokens_are_those_of_the_slow_way(texts, ngrams, buckets, hash_name):
    found = hashed_ngrams(pa.array(texts, pa.string()), ngrams, buckets, hash_name)

    for i, text in enumerate(texts):
        mine = found.buckets[found.begins[i] : found.begins[i + 1]].tolist()
        assert sorted(mine) == sorted(slow(text, ngrams, buckets, hash_name))
        assert found.tokens[i] == len(tokens_of(text))


@pytest.mark.parametrize("between", ["", "a"])
def test_every_character_of_unicode_is_read_as_python_reads_it(between):
    text = between.join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))

    found = hashed_ngrams(pa.array([text]), 1, 10_000, "fast")

    assert found.buckets.tolist() == [(fast_hash(t) >> 32) * 10_000 // 2**32 for t in tokens_of(text)]


@pytest.mark.parametrize("count", [CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_n_grams_across_chunks_are_not_lost(count):
    text = " ".join(f"w{i}" for i in range(count))

    found = hashed_ngrams(pa.array(["first", text, "last"]), 3, 10_000, "fast")

    assert found.tokens.tolist() == [1, count, 1]
    mine = found.buckets[found.begins[1] : found.begins[2]]
    assert sorted(mine.tolist()) == sorted(slow(text, 3, 10_000, "fast"))


def test_buckets_are_filled_evenly():
    words = pa.array([" ".join(f"word{i}" for i in range(200_000))])

    counts = np.bincount(hashed_ngrams(words, 2, 1_000, "fast").buckets, minlength=1_000)

    chi_squared = ((counts - counts.mean()) ** 2 / counts.mean()).sum()
    assert 999 - 5 * (2 * 999) ** 0.5 < chi_squared < 999 + 5 * (2 * 999) ** 0.5


def test_the_order_of_a_pair_counts():
    found = hashed_ngrams(pa.array(["a b", "b a"]), 2, 2**31 - 1, "fast").buckets

    assert sorted(found[[0, 2]].tolist()) == sorted(found[[3, 5]].tolist())
    assert found[1] != found[4]
