"""Frequencies of words: counted, joined, and what difficulty makes of them."""

import itertools
import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from learners.frequencies import Counts, counted, coverage, entropy, fitted, joined
from stages.errors import StorageError
from stages.frequencies import load, read, write
from stages.kernels.lexical import measure_words, word_hashes

HASHES = st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), max_size=30).map(lambda v: np.array(v, np.uint64))


def as_counter(counts: Counts) -> Counter[int]:
    return Counter(dict(zip(counts[0].tolist(), counts[1].tolist(), strict=True)))


@given(HASHES, HASHES)
def test_the_counts_of_two_parts_joined_are_those_of_both_together(one, other):
    together = joined(counted(one), counted(other))

    assert as_counter(together) == Counter(one.tolist()) + Counter(other.tolist())
    assert together[0].tolist() == sorted(set(together[0].tolist()))


def test_the_same_word_has_one_hash_in_any_case_and_text_and_each_unspaced_character_is_a_word():
    hashes, begins = word_hashes(pa.array(["The cat", "", "CAT the 猫猫", "naïve Naïve naive"]))

    parts = [hashes[a:b].tolist() for a, b in itertools.pairwise(begins)]
    assert [len(p) for p in parts] == [2, 0, 4, 3]
    assert parts[2][:2] == parts[0][::-1]
    assert parts[2][2] == parts[2][3]
    assert parts[3][0] == parts[3][1] != parts[3][2]


def test_words_are_counted_in_texts_larger_than_every_buffer():
    hashes, begins = word_hashes(pa.array(["x " * 100_000, "y " * 10]))

    assert begins.tolist() == [0, 100_000, 100_010]
    assert len(set(hashes.tolist())) == 2


def test_the_rarity_of_a_text_is_the_mean_of_minus_log_p_with_one_added(tmp_path: Path):
    learned = pa.array(["a a a b b c 猫"])
    write(fitted(counted(word_hashes(learned)[0]), min_count=2), tmp_path / "table")

    _, sums = measure_words(pa.array(["A b", "c zebra 猫", "", "b b a zebra"]), read(tmp_path / "table"))

    words, distinct = 7, 4
    a, b, unseen = (-math.log((count + 1) / (words + distinct + 1)) for count in (3, 2, 0))
    assert sums[:, 2] == pytest.approx([a + b, 3 * unseen, 0.0, 2 * b + a + unseen])


def test_a_table_is_read_as_it_was_written(tmp_path: Path):
    found = fitted(counted(np.array([9, 9, 2**64 - 1, 2**64 - 1, 0, 7], np.uint64)), min_count=2)
    write(found, tmp_path / "table")

    again = load(tmp_path / "table")

    assert (again.hashes.tolist(), again.counts.tolist()) == ([9, 2**64 - 1], [2, 2])
    assert (again.words, again.distinct) == (6, 4)


def test_a_file_that_is_no_table_is_refused_with_what_to_do(tmp_path: Path):
    (tmp_path / "table").write_text("not a table")

    with pytest.raises(StorageError, match="fit it again with: tamis learn frequencies"):
        load(tmp_path / "table")


def test_coverage_and_entropy_are_those_of_the_counted_words():
    found = fitted(counted(np.array([1] * 6 + [2] * 3 + [3], np.uint64)), min_count=2)

    p = [(6 + 1) / 14, (3 + 1) / 14, 1 / 14]
    assert coverage(found, [1, 2, 100]) == pytest.approx([0.6, 0.9, 0.9])
    assert entropy(found) == pytest.approx(-(6 * math.log(p[0]) + 3 * math.log(p[1]) + math.log(p[2])) / 10)
