import numpy as np
import pytest
from datasketch.lsh import _optimal_param
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.banding import bands_for, candidate_probability
from stages.errors import SpecError


@pytest.mark.parametrize("permutations", [1, 2, 16, 64, 100, 112, 128])
@pytest.mark.parametrize("threshold", [0.05, 0.3, 0.5, 0.7, 0.75, 0.8, 0.9, 0.99])
def test_the_choice_is_that_of_datasketch(threshold, permutations):
    assert bands_for(threshold, permutations) == _optimal_param(threshold, permutations, 0.5, 0.5)


@given(
    st.floats(0.01, 0.99).map(lambda t: round(t, 3)),
    st.integers(1, 48),
    st.sampled_from([(0.1, 0.9), (0.9, 0.1), (0.4, 0.6), (0.5, 0.5)]),
)
@settings(max_examples=60, deadline=None)
def test_the_choice_is_that_of_datasketch_for_any_weights(threshold, permutations, weights):
    assert bands_for(threshold, permutations, *weights) == _optimal_param(threshold, permutations, *weights)


def test_known_choices():
    chosen = {p: [bands_for(t, p) for t in (0.7, 0.8, 0.9)] for p in (112, 128, 256)}

    assert chosen == {
        112: [(12, 9), (9, 12), (5, 22)],
        128: [(14, 9), (9, 13), (5, 25)],
        256: [(25, 10), (17, 15), (9, 28)],
    }


def test_bands_and_rows_fit_into_two_thousand_permutations():
    bands, rows = bands_for(0.8, 2000)

    assert 1500 < bands * rows <= 2000
    assert abs((1 / bands) ** (1 / rows) - 0.8) < 0.03


@pytest.mark.parametrize(
    ("threshold", "permutations", "weights"),
    [
        (-0.1, 10, (0.5, 0.5)),
        (1.1, 10, (0.5, 0.5)),
        (0.5, 0, (0.5, 0.5)),
        (0.5, 10, (1.5, 0.5)),
        (float("nan"), 10, (1, 0)),
    ],
)
def test_what_is_no_threshold_no_signature_or_no_weight_is_refused(threshold, permutations, weights):
    with pytest.raises(SpecError, match="no bands can be chosen for a threshold of"):
        bands_for(threshold, permutations, *weights)


def test_the_candidate_probability_is_that_of_one_band_in_common():
    s = np.array([0.0, 0.5, 0.8, 1.0])

    assert candidate_probability(0.5, 1, 1) == 0.5
    assert candidate_probability(s, 14, 8).round(3).tolist() == [0.0, 0.053, 0.924, 1.0]
