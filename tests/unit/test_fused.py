"""Single passes on CPUs against the plain code in 64 bits: results, gradients, NaN, equal bits."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer import fused, kernels
from trainer.fused import HeadNorms, Turn
from trainer.model import rotations


def drawn(*shapes, seed=0, scale=1.0):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=made) * scale for shape in shapes]


def both(function, inputs):
    """Results and gradients in 32 bits (single passes) and in 64 bits (plain code), in one list each."""
    found = []
    for dtype in (torch.float32, torch.float64):
        given_ = [x.to(dtype).requires_grad_() for x in inputs]
        results = function(*given_)
        results = results if isinstance(results, tuple) else (results,)
        weights = [w.to(dtype) for w in drawn(*(r.shape for r in results), seed=7)]
        total = sum((r * w).sum() for r, w in zip(results, weights, strict=True))
        found.append([*results, *torch.autograd.grad(total, given_)])
    return found


def assert_same(function, inputs):
    ours, plain = both(function, inputs)
    again, _ = both(function, inputs)
    assert all(torch.equal(a, b) for a, b in zip(ours, again, strict=True))
    for a, b in zip(ours, plain, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=2e-5 * max(1.0, b.abs().max().item()))


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 200), st.integers(1, 70), st.sampled_from([1e-4, 1.0, 1e4]))
def test_norms_are_those_of_the_plain_code(rows, width, scale):
    x, weight = drawn((1, rows, width), (width,), scale=scale)
    assert_same(lambda x, w: fused.rms_norm(x, w, 1e-5), [x, weight / scale])


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 70), st.integers(1, 70), st.sampled_from([0.1, 1.0, 30.0]))
def test_gated_units_are_those_of_the_plain_code(rows, hidden, scale):
    assert_same(fused.swiglu, drawn((1, rows, 2 * hidden), scale=scale))


@pytest.mark.parametrize("turned", [True, False])
@pytest.mark.parametrize("normal", [True, False])
@pytest.mark.parametrize(("heads", "width"), [((4, 2), 8), ((3, 3), 6), ((2, 1), 64)])
def test_heads_are_those_of_the_plain_code(heads, width, normal, turned):
    count, shared = heads
    places = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]]).repeat(1, 20)
    tables = rotations(8, width, 100.0)

    def split(x, queries, keys):
        turn = Turn(tables.to(x.dtype), places) if turned else None
        norms = HeadNorms(queries, keys, 1e-5) if normal else None
        return (*fused.split_heads(x, heads, turn, norms), queries.sum(), keys.sum())

    assert_same(split, drawn((2, 100, (count + 2 * shared) * width), (width,), (width,)))


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 40), st.integers(2, 300), st.sampled_from([0.1, 1.0, 10.0]))
def test_losses_of_a_head_are_those_of_the_plain_code(rows, vocabulary, scale):
    targets = torch.from_numpy(np.random.default_rng(rows).integers(0, vocabulary, rows))
    x, weight = drawn((rows, 16), (vocabulary, 16), scale=scale)
    assert_same(lambda x, w: fused.linear_cross_entropy(x, w, targets), [x, weight])


def test_losses_do_not_depend_on_how_many_logits_are_computed_at_once(monkeypatch):
    targets = torch.arange(50) % 30
    x, weight = (t.requires_grad_() for t in drawn((50, 16), (30, 16)))

    def found():
        nats = fused.linear_cross_entropy(x, weight, targets)
        return nats, *torch.autograd.grad((nats * torch.linspace(0, 1, 50)).sum(), (x, weight))

    whole = found()
    monkeypatch.setattr(fused, "_LOGITS", 30 * 7)
    torch.testing.assert_close(found(), whole)
    with torch.no_grad():
        torch.testing.assert_close(found_without_gradients := fused.linear_cross_entropy(x, weight, targets), whole[0])
    assert not found_without_gradients.requires_grad


def test_losses_of_a_head_are_differentiated_once():
    x, weight = (t.requires_grad_() for t in drawn((5, 4), (6, 4)))
    total = fused.linear_cross_entropy(x, weight, torch.zeros(5, dtype=torch.int64)).sum()
    total.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="differentiated once"):
        total.backward()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_none_stay_visible(bad):
    (x,) = drawn((1, 3, 8))
    x[0, 1, 2] = bad
    seen = [
        fused.rms_norm(x, torch.ones(8), 1e-5)[0],
        fused.swiglu(x)[0],
        fused.linear_cross_entropy(x[0], torch.ones(9, 8), torch.zeros(3, dtype=torch.int64))[:, None],
    ]
    for rows in seen:
        assert [bool(row.isfinite().all()) for row in rows] == [True, False, True]


def test_exponentials_are_within_one_unit_in_the_last_place():
    x = np.linspace(-87, 88, 200_001, dtype=np.float32)
    logits = np.stack([x, np.full_like(x, 88)], axis=1)
    nats, sums = np.empty_like(x), np.empty_like(x)

    kernels.entropy_forward(logits, np.ones(len(x), np.int64), nats, sums)

    expected = np.exp((x - np.float32(88)).astype(np.float64))
    inside = x - 88 > -87
    np.testing.assert_allclose(logits[inside, 0], expected[inside], rtol=1.2e-7)
    np.testing.assert_allclose(nats, np.log1p(expected), rtol=2e-7, atol=1e-7)
