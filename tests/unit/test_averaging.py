"""Averaged weights against the slow way of saying the same."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from trainer.averaging import Average, corrected
from trainer.settings import Averaging


def averaged(settings, values, stop_at=None):
    """The average over weights that take these values, stopped and taken up again once."""
    weights = {"w": nn.Parameter(torch.zeros(2)), "v": nn.Parameter(torch.zeros(1))}
    average = Average(settings, weights, len(values))
    for done, value in enumerate(values, 1):
        with torch.no_grad():
            weights["w"].fill_(value)
            weights["v"].fill_(-value)
        average.update(done)
        if done == stop_at:
            state, taken = average.state(), average.taken
            average = Average(settings, weights, len(values))
            average.load({name: t.clone() for name, t in state.items()}, taken)
    found = corrected(average.state(), settings, average.taken)
    assert torch.equal(found["w"], torch.full((2,), -found["v"].item()))
    return found["w"][0].item()


VALUES = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=20)


@given(VALUES, st.integers(0, 20), st.floats(0.1, 0.99))
def test_a_moving_average_weighs_by_age(values, stop_at, decay):
    weights = decay ** np.arange(len(values))[::-1]
    expected = float((weights * values).sum() / weights.sum())
    assert averaged(Averaging(kind="ema", decay=decay), values, stop_at) == pytest.approx(expected, abs=1e-4)


@given(VALUES, st.integers(0, 20), st.integers(1, 5), st.integers(1, 4))
def test_the_last_weights_have_equal_parts(values, stop_at, count, every):
    expected = float(np.mean(values[::-1][::every][:count]))
    assert averaged(Averaging(kind="last", count=count, every=every), values, stop_at) == pytest.approx(
        expected, abs=1e-4
    )
