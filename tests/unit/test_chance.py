"""Draws are uniform and belong to documents alone; logarithms are those of the library, on every processor."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.chance import draw, gumbel, halves, log, lowest, uniform


def ids_of(n: int) -> pa.Array:
    return pa.array([hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(n)])


def splitmix(x: int) -> int:
    """SplitMix64 as its authors print it."""
    mask = 2**64 - 1
    z = (x + 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_a_draw_is_the_hash_of_seed_kind_and_id() -> None:
    ids = ids_of(20)
    key = int.from_bytes(hashlib.blake2b(b"17\0budget", digest_size=8).digest(), "big")
    expected = [splitmix(splitmix(int(i[:16], 16) ^ key) ^ int(i[16:], 16)) for i in ids.to_pylist()]

    assert draw(17, "budget", ids).tolist() == expected


def test_a_draw_does_not_depend_on_chunks() -> None:
    ids = ids_of(30)
    chunks = pa.chunked_array([ids.slice(0, 7), ids.slice(7, 0), ids.slice(7)])

    assert draw(1, "x", chunks).tolist() == draw(1, "x", ids).tolist()
    assert len(draw(1, "x", ids.slice(0, 0))) == 0


def test_halves_have_the_order_of_the_ids() -> None:
    ids = ids_of(50)
    high, low = halves(ids)

    assert np.lexsort((low, high)).tolist() == np.argsort(ids.to_pylist()).tolist()


@settings(deadline=None)
@given(st.lists(st.floats(min_value=5e-300, max_value=1e300), min_size=1))
def test_the_logarithm_is_that_of_the_library(values: list[float]) -> None:
    x = np.array(values)

    assert log(x) == pytest.approx(np.log(x), rel=5e-16, abs=2e-16)


def test_uniform_numbers_stay_within_the_open_interval() -> None:
    ends = uniform(np.array([0, 1, 2**63, 2**64 - 1], np.uint64))

    assert (ends > 0).all()
    assert (ends < 1).all()
    assert ends[2] == 0.5


def test_gumbel_variates_are_finite_at_the_ends_and_distributed_as_gumbel() -> None:
    ends = gumbel(np.array([0, 2**64 - 1], np.uint64))
    variates = np.sort(gumbel(draw(3, "x", ids_of(20_000))))
    distance = np.abs(np.exp(-np.exp(-variates)) - (np.arange(20_000) + 0.5) / 20_000).max()

    assert ends == pytest.approx([65 * np.log(2), -np.log(53 * np.log(2))])
    assert distance * np.sqrt(20_000) < 1.63  # Kolmogorov and Smirnov's bound at 1 %


def test_the_lowest_are_the_first_of_the_sorted() -> None:
    numbers = np.array([5, 3, 9, 1, 3], np.uint64)

    assert lowest(numbers, 3).tolist() == [3, 1, 4]
    assert lowest(numbers, 0).tolist() == []
    assert lowest(numbers, 9).tolist() == [3, 1, 4, 0, 2]
