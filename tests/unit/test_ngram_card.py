"""The curve on the card of an n-gram model, against counting."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.learning.ngram_card import Scored, curves


def scored(nats, tokens, *, seen=False):
    return Scored(np.array(nats, np.float64), np.array(tokens, np.int64), 0, [], [], seen)


@given(st.lists(st.tuples(st.integers(1, 500), st.integers(1, 50)), min_size=1, max_size=80))
def test_the_curve_tells_the_share_of_documents_at_or_below_a_score(documents):
    nats, tokens = zip(*documents, strict=True)
    ratios = [n / t for n, t in documents]
    [curve] = curves(scored(nats, tokens))
    [series] = curve["series"]
    assert len(series["points"]) <= 21
    assert series["points"][-1][:2] == [max(ratios), 1.0]
    assert series["points"][0][0] == min(ratios)
    for x, y, low, high in series["points"]:
        below, at_or_below = sum(r < x for r in ratios), sum(r <= x for r in ratios)
        assert below < round(y * len(ratios)) <= at_or_below
        assert 0 <= low <= y <= high <= 1


def test_the_band_is_that_of_massart():
    [curve] = curves(scored(range(1, 201), [10] * 200, seen=True))
    middle = min(curve["series"][0]["points"], key=lambda p: abs(p[1] - 0.5))
    assert middle[3] - middle[1] == pytest.approx((np.log(40) / 400) ** 0.5)
    assert (curve["series"][0]["name"], curve["title"]) == ("learned from", "Nats per token of 200 documents")


def test_no_document_gives_no_curve():
    assert curves(scored([], [])) == []
