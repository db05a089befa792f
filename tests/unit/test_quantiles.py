from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import quantiles
from stages.errors import SpecError
from stages.quantiles import Percentiles, images, merge, nearest_rank
from stages.rules import Percentile, Request

TYPES = {
    "int8": st.integers(-128, 127),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "uint32": st.integers(0, 2**32 - 1),
    "uint64": st.integers(0, 2**64 - 1),
    "float32": st.floats(width=32, allow_nan=False),
    "float64": st.floats(allow_nan=False),
}
PERCENTS = st.sampled_from(["0", "1", "33.3", "50", "70", "99.9", "100"])


def request(percent: str, per: str | None = None) -> Request:
    return Request("s.value", per, Percentile(percent=percent))


def resolved(requests, table, parts=1):
    state = Percentiles.start(requests, {f.name: f for f in table.schema})
    size = max(1, -(-table.num_rows // parts))
    while not state.done:
        pieces = [table.slice(i, size) for i in range(0, table.num_rows, size)]
        state = state.refine(merge(state.count(p) for p in reversed(pieces)))
    return state.thresholds()


def by_sorting(values, percent):
    present = sorted(v for v in values if v is not None)
    return present[nearest_rank(Fraction(percent) / 100, len(present)) - 1] if present else None


@pytest.mark.parametrize("kind", TYPES)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_percentile_is_the_value_that_sorting_the_whole_column_gives(kind, data):
    some = data.draw(st.lists(TYPES[kind], min_size=1, max_size=4))  # few values, so that there are ties
    values = data.draw(st.lists(st.none() | st.sampled_from(some) | TYPES[kind], max_size=60))
    percents = data.draw(st.lists(PERCENTS, min_size=1, max_size=3, unique=True))
    table = pa.table({"s.value": pa.array(values, getattr(pa, kind)())})

    found = resolved([request(p) for p in percents], table, parts=data.draw(st.integers(1, 7)))

    assert found == {request(p): by_sorting(values, p) for p in percents}


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(["en", "日本語", "עברית", "🫠", "", None]), st.none() | TYPES["float32"]), max_size=80
    ),
    percent=PERCENTS,
    parts=st.integers(1, 5),
)
def test_percentiles_within_groups_equal_sorting_each_group(rows, percent, parts):
    table = pa.table(
        {
            "lang.code": pa.array([g for g, _ in rows], pa.string()).dictionary_encode(),
            "s.value": pa.array([v for _, v in rows], pa.float32()),
        }
    )
    groups = {g for g, v in rows if g is not None and v is not None}

    found = resolved([request(percent, "lang.code")], table, parts)

    expected = {g: by_sorting([v for h, v in rows if h == g], percent) for g in groups}
    assert found == {request(percent, "lang.code"): expected}


@settings(max_examples=100, deadline=None)
@given(data=st.data(), kind=st.sampled_from(sorted(TYPES)))
def test_images_have_the_order_of_their_numbers(data, kind):
    one, other = data.draw(TYPES[kind]), data.draw(TYPES[kind])

    low, high = (int(i) for i in images(np.array([one, other], kind)))

    assert (low < high, low == high) == (one < other, one == other)


def test_minus_zero_and_zero_are_one_value():
    assert images(np.array([-0.0], "f4")) == images(np.array([0.0], "f4"))


def test_all_ties_are_kept_by_a_threshold_taken_from_them():
    table = pa.table({"s.value": pa.array([1, 2, 2, 2, 3], pa.int32())})

    threshold = resolved([request("40")], table)[request("40")]

    assert threshold == 2
    assert sum(v <= threshold for v in table["s.value"].to_pylist()) == 4


def test_many_groups_take_more_rounds_and_give_the_same_values():
    values = np.arange(40_000, dtype="i4") - 20_000
    names = [f"group-{i % 20_000}" for i in range(40_000)]
    table = pa.table({"s.value": pa.array(values), "by.name": names})

    found = resolved([request("100", "by.name")], table, parts=2)[request("100", "by.name")]

    assert found == {f"group-{i}": i for i in range(20_000)}


def test_a_round_of_counts_never_has_more_cells_than_its_bound():
    state = Percentiles.start([request("50", "by.name")], {"s.value": pa.field("s.value", pa.float64())})

    for groups in (1, 16, 17, 1_000, quantiles.MAX_GROUPS):
        (known,) = state.refine({0: {str(g): 1 for g in range(groups)}}).populations
        assert 1 <= known.bits <= quantiles.MAX_BITS
        assert groups << known.bits <= quantiles.MAX_CELLS


def test_more_groups_than_the_bound_are_refused_with_advice():
    state = Percentiles.start([request("50", "url")], {"s.value": pa.field("s.value", pa.float64())})

    with pytest.raises(SpecError, match="group by a coarser column"):
        state.refine({0: {str(g): 1 for g in range(quantiles.MAX_GROUPS + 1)}})
