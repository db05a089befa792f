"""Who meets whom: a 64-bit hash of each value, whatever array it comes in."""

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.flow import keys_of

MASK = (1 << 64) - 1
M, N = 0x9E3779B97F4A7C15, 0xD6E8FEB86659FD93


def slowly(value: bytes) -> int:
    """The hash, eight bytes at a time, in whole numbers."""
    h = len(value) * M & MASK
    whole = len(value) // 8 * 8
    words = [int.from_bytes(value[i : i + 8], "little") for i in range(0, whole, 8)]
    for word in [*words, int.from_bytes(value[whole:], "big")]:
        h = (h ^ word) * N & MASK
        h ^= h >> 32
    h = h * M & MASK
    return h ^ (h >> 32)


@settings(deadline=None)  # the kernel compiles within the first example
@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=20), st.integers(0, 5))
def test_texts_are_hashed_eight_bytes_at_a_time_and_nulls_to_one_key(texts, cut):
    array = pa.array(texts, pa.string())[cut:]

    keys = keys_of(pa.chunked_array([array[:2], array[2:]]))

    assert keys.tolist() == [0 if t is None else slowly(t.encode()) for t in texts[cut:]]


@given(st.lists(st.binary(min_size=16, max_size=16), max_size=20))
def test_bytes_of_a_fixed_width_are_hashed_as_they_are(values):
    assert keys_of(pa.array(values, pa.binary(16))).tolist() == [slowly(v) for v in values]


@given(st.lists(st.integers(-(2**63), 2**63 - 1), max_size=20))
def test_numbers_are_hashed_as_they_are_written(values):
    assert keys_of(pa.array(values, pa.int64())).tolist() == [slowly(str(v).encode()) for v in values]


def test_hashes_of_ids_spread_evenly_over_partitions():
    ids = pa.array([f"{i:032x}" for i in range(20_000)])

    counts = np.bincount((keys_of(ids) >> np.uint64(32)) * np.uint64(10) >> np.uint64(32), minlength=10)

    assert counts.sum() == 20_000
    assert 1_800 < counts.min() <= counts.max() < 2_200
