"""Estimates as marks on one common axis, logarithmic axes, and how numbers are written beside them."""

import math
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.quantities import NARROW, magnitude
from pipelines.report.axis import Axis, written
from pipelines.report.scale import Scale, digits, interval


def estimate(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


def drawn(mark):
    """Every element of a drawing, as its name and its attributes."""
    found = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: found.append((tag, dict(attrs)))
    parser.feed(mark)
    return found


@given(
    value=st.floats(0.05, 20),
    spread=st.floats(1.001, 3),
    others=st.lists(st.floats(0.05, 20), max_size=4),
)
def test_marks_lie_in_the_order_of_their_numbers(value, spread, others):
    one = estimate(value, value / spread, value * spread)
    scale = Scale.of([one, *(estimate(x) for x in others)], 1.0, logarithmic=True)

    places = [scale.axis.at(x) for x in sorted([one["low"], value, one["high"], 1.0, *others])]

    assert places == sorted(places)
    assert 4 <= places[0] <= places[-1] <= 96
    assert scale.axis.low <= 1 <= scale.axis.high


def test_a_mark_has_its_dot_and_its_ends_where_the_axis_has_them():
    one = estimate(1.3, 1.1, 1.7)
    scale = Scale.of([one, estimate(0.8, 0.7, 0.9)], 1.0, logarithmic=True)

    places = {
        own["class"]: own.get("x1", own.get("cx"))
        for _, own in drawn(scale.mark(one, "arm"))
        if own["class"] in {"dot", "interval", "neutral"}
    }
    ends = [own["x1"] for _, own in drawn(scale.mark(one, "arm")) if own["class"] == "end"]

    assert places == {
        "neutral": f"{scale.axis.at(1.0):.2f}%",
        "interval": f"{scale.axis.at(1.1):.2f}%",
        "dot": f"{scale.axis.at(1.3):.2f}%",
    }
    assert ends == [f"{scale.axis.at(1.1):.2f}%", f"{scale.axis.at(1.7):.2f}%"]


def test_a_side_without_a_bound_ends_in_an_arrow():
    scale = Scale.of([estimate(1.2, 1.1, None)], 1.0, logarithmic=True)

    mark = scale.mark(estimate(1.2, 1.1, None), "arm")

    assert "›" in mark
    assert "‹" not in mark
    assert scale.mark(estimate(1.2), "arm").count("‹") == scale.mark(estimate(1.2), "arm").count("›") == 1
    assert 'aria-label="arm: 1.20, at least 1.10"' in mark


def test_an_unknown_estimate_has_no_dot():
    scale = Scale.of([None, estimate(None)], 0.0, logarithmic=False)

    assert "circle" not in scale.mark(None, "arm")
    assert 'aria-label="arm: unknown"' in scale.mark(estimate(None), "arm")


@pytest.mark.parametrize(
    ("one", "told"),
    [
        (estimate(1.2345, 1.1, 1.4), ("1.23", "1.10 to 1.40")),
        (estimate(-0.01234, -0.0145, -0.0101), ("-0.0123", "-0.0145 to -0.0101")),
        (estimate(1234.5, 900.0, 1600.0), ("1234", "900 to 1600")),
        (estimate(1.2345), ("1.23", "not bounded")),
        (estimate(2.0, None, 2.5), ("2.00", "at most 2.50")),
        (estimate(None), ("–", "not bounded")),
    ],
)
def test_estimates_are_as_precise_as_their_intervals(one, told):
    assert (digits(one), interval(one)) == told


@given(st.floats(1e-6, 1e12), st.floats(1.0, 1e6))
def test_a_logarithmic_axis_has_rising_marks_inside_it(low, factor):
    axis = Axis.log_around([low, low * factor], 0, 100)

    ticks = axis.ticks(5)

    assert ticks == sorted(set(ticks))
    assert all(axis.low * (1 - 1e-6) <= t <= axis.high * (1 + 1e-6) for t in ticks)
    assert len(ticks) <= 9
    middle = math.sqrt(axis.low * axis.high)
    assert axis.at(middle) == pytest.approx(50, abs=1e-6)


def test_large_numbers_along_an_axis_keep_their_digits():
    assert [written(x) for x in (1_500_000.0, 2_500_000.0, 1e9, 2e13, 500.0)] == [
        "1.5e6",
        "2.5e6",
        "1e9",
        "2e13",
        "500",
    ]


@pytest.mark.parametrize(
    ("number", "told"),
    [(1_800_000, "1.8 M"), (7.319e10, "73.2 B"), (999_999, "1 M"), (524_288, "524 k"), (1.31e12, "1.31 T"), (12, "12")],
)
def test_parameters_and_tokens_are_told_with_three_digits(number, told):
    assert magnitude(number) == told.replace(" ", NARROW)
    assert magnitude(None) == "–"


def test_a_bound_far_beyond_all_others_is_cut_and_ends_in_an_arrow():
    usual, wild = estimate(0.01, -0.02, 0.04), estimate(0.02, -9.0, 0.05)
    scale = Scale.of([usual, usual, wild], 0.0, logarithmic=False)

    assert scale.axis.low > -0.1
    assert "‹" in scale.mark(wild, "arm")
    assert "‹" not in scale.mark(usual, "arm")


def test_what_rounds_to_nothing_has_no_sign():
    assert digits(estimate(-0.00001, -0.004, 0.004), signed=True) == "0.0000"
    assert interval(estimate(0.004, -0.00001, 0.008)) == "0.0000 to 0.0080"


def test_numbers_at_the_ends_of_a_ruler_are_written_inwards():
    ruler = Scale.of([estimate(-0.004, -0.0076, 0.0)], 0.0, logarithmic=False).ruler()

    anchors = re.findall(r'text-anchor="(\w+)"[^>]*>([^<]+)<', ruler)
    assert (anchors[0], anchors[-1]) == (("start", "-0.008"), ("end", "0"))
    assert {anchor for anchor, _ in anchors[1:-1]} == {"middle"}
