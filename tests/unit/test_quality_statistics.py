"""Metrics, splits, calibration and shortcuts of classifiers, against scikit-learn and the slow way of saying the same."""

import unicodedata
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from learners import calibration, leakage, metrics, splits
from stages.classifiers.calibration import Calibration, logit

#: Probabilities with ties, and weights as a bootstrap gives them.
ROWS = st.lists(
    st.tuples(
        st.booleans(), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0]) | st.floats(0, 1), st.integers(0, 4)
    ),
    min_size=2,
    max_size=60,
).filter(lambda rows: any(y and w for y, _, w in rows) and any(not y and w for y, _, w in rows))


def arrays(rows: list[tuple[bool, float, int]]) -> tuple[Any, Any, Any]:
    y, p, w = zip(*rows, strict=True)
    return np.array(y), np.array(p), np.array(w, np.float64)


@settings(max_examples=200, deadline=None)
@given(ROWS)
def test_metrics_are_those_of_scikit_learn(rows: list[tuple[bool, float, int]]) -> None:
    y, p, w = arrays(rows)

    assert metrics.roc_auc(y, p, w) == pytest.approx(theirs.roc_auc_score(y, p, sample_weight=w))
    assert metrics.average_precision(y, p, w) == pytest.approx(theirs.average_precision_score(y, p, sample_weight=w))
    assert metrics.brier(y, p, w) == pytest.approx(theirs.brier_score_loss(y, p, sample_weight=w))
    assert metrics.accuracy(y, p, w) == pytest.approx(theirs.accuracy_score(y, p >= 0.5, sample_weight=w))
    inside = np.clip(p, 1e-15, 1 - 1e-15)
    assert metrics.log_loss(y, p, w) == pytest.approx(theirs.log_loss(y, inside, sample_weight=w))


@settings(max_examples=100, deadline=None)
@given(ROWS)
def test_a_weight_counts_a_document_as_often(rows: list[tuple[bool, float, int]]) -> None:
    y, p, w = arrays(rows)
    often = np.repeat(np.arange(len(y)), w.astype(int))

    for measure in (
        metrics.accuracy,
        metrics.roc_auc,
        metrics.average_precision,
        metrics.log_loss,
        metrics.brier,
        metrics.calibration_error,
    ):
        assert measure(y, p, w) == pytest.approx(measure(y[often], p[often]))


def test_calibration_error_is_the_gap_of_ten_bins() -> None:
    y = np.array([True, False, True, True])
    p = np.array([0.31, 0.39, 0.95, 1.0])

    assert metrics.calibration_error(y, p) == pytest.approx((2 * abs(0.5 - 0.35) + 2 * abs(1 - 0.975)) / 4)
    points = metrics.reliability(y, p)
    assert [point[:2] for point in points] == [pytest.approx([0.35, 0.5]), pytest.approx([0.975, 1.0])]
    assert points[0][2:] == pytest.approx(list(metrics.wilson(1, 2)))


def test_wilson_s_interval_has_its_published_values() -> None:
    assert metrics.wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert metrics.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert metrics.wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert metrics.wilson(0, 0) == (0.0, 1.0)


def test_bootstrap_intervals_hold_the_truth_and_depend_on_the_seed_alone() -> None:
    source = np.random.default_rng(5)
    p = source.random(400)
    y = source.random(400) < p
    first, again, other = (metrics.measure_two(y, p, seed=s, resamples=200) for s in (1, 1, 2))

    assert first == again != other
    assert [m.name for m in first] == [
        "accuracy",
        "ROC AUC",
        "average precision",
        "log loss",
        "Brier score",
        "expected calibration error",
    ]
    for m in first[:5]:
        assert m.low < m.value < m.high
    assert first[1].low < 5 / 6 < first[1].high  # of a uniform p that is calibrated


def test_one_class_has_an_accuracy_and_nothing_else() -> None:
    found = metrics.measure_two(np.array([True, True]), np.array([0.9, 0.2]), seed=1)

    assert found[0].value == 0.5
    assert [m.value for m in found[1:]] == [None] * 5


def test_intervals_of_many_classes_hold_the_value() -> None:
    p = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.3, 0.4, 0.3]])
    accuracy, loss = metrics.measure_many(np.array([0, 1, 2]), p)

    assert accuracy.value == pytest.approx(2 / 3)
    assert loss.value == pytest.approx(-np.log([0.7, 0.5, 0.3]).mean())
    assert loss.low < loss.value < loss.high


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(max_size=12), max_size=20), st.integers(-(2**63), 2**63))
def test_equal_texts_are_in_one_part(texts: list[str], seed: int) -> None:
    variants = [v for t in texts for v in (t, f" {t}\n", t.upper(), unicodedata.normalize("NFD", t))]
    parts = splits.parts(splits.digests(variants, seed=seed), calibrate=0.3, held_out=0.3)
    by_text: dict[str, set[int]] = {}
    for text, part in zip(variants, parts.tolist(), strict=True):
        by_text.setdefault(splits.normalized(text), set()).add(part)

    assert all(len(own) == 1 for own in by_text.values())
    assert all(splits.normalized(f"  {t} \u3000") == splits.normalized(t) for t in texts)


def test_texts_that_differ_in_case_width_or_space_alone_are_one_text() -> None:
    assert splits.normalized(" Straße\u3000ﬁne\r\n ＡＢＣ é") == "strasse fine abc é"
    assert splits.normalized("E\u0301") == splits.normalized("é")
    assert splits.normalized("猫") != splits.normalized("犬")


def test_parts_have_the_shares_asked_for_and_change_with_the_seed() -> None:
    texts = [f"text {i}" for i in range(20_000)]
    one, two = (splits.parts(splits.digests(texts, seed=s), calibrate=0.1, held_out=0.3) for s in (1, 2))

    assert np.bincount(one, minlength=3) / 20_000 == pytest.approx([0.6, 0.1, 0.3], abs=0.02)
    assert (one != two).mean() > 0.4


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, 99).map(lambda n: n / 100), st.booleans()), min_size=4, max_size=60).filter(
        lambda rows: len({y for _, y in rows}) == 2
    )
)
def test_isotonic_calibration_is_that_of_scikit_learn(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    found = calibration.isotonic(p, y)
    edge = 1 / (len(p) + 2)
    expected = IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(p, y.astype(float))

    assert found.high(p) == pytest.approx(np.clip(expected.predict(p), edge, 1 - edge), abs=1e-9)
    grid = np.linspace(0, 1, 101)
    assert (np.diff(found.high(grid)) >= 0).all()


def test_platt_s_slope_and_shift_are_those_of_a_logistic_regression() -> None:
    source = np.random.default_rng(2)
    p = source.random(300)
    y = source.random(300) < 1 / (1 + np.exp(-(2.5 * logit(p) - 0.7)))
    found = calibration.platt(p, y)
    high, low = int(y.sum()), int((~y).sum())
    t = np.where(y, (high + 1) / (high + 2), 1 / (low + 2))
    x = np.concatenate([logit(p), logit(p)])[:, None]
    labels, weights = np.repeat([1, 0], 300), np.concatenate([t, 1 - t])
    expected = LogisticRegression(C=1e12, tol=1e-10, max_iter=10_000).fit(x, labels, sample_weight=weights)

    assert found.slope == pytest.approx(expected.coef_[0, 0], rel=1e-3)
    assert found.shift == pytest.approx(expected.intercept_[0], abs=1e-3)
    assert found.slope == pytest.approx(2.5, abs=0.6)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=2, max_size=40))
def test_platt_keeps_the_order_and_stays_finite(rows: list[tuple[float, bool]]) -> None:
    p, y = np.array([r[0] for r in rows]), np.array([r[1] for r in rows])
    q = calibration.platt(p, y).high(p)

    assert np.isfinite(q).all()
    assert (np.diff(q[np.argsort(p)]) >= 0).all()


def test_probabilities_that_say_the_opposite_are_left_alone() -> None:
    p = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9])

    assert calibration.platt(p, p < 0.5) == Calibration()


def test_temperature_undoes_overconfidence() -> None:
    source = np.random.default_rng(4)
    z = source.normal(size=(2_000, 4))
    p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    y = np.array([source.choice(4, p=row) for row in p])
    sharp = p**3 / (p**3).sum(axis=1, keepdims=True)
    found = calibration.temperature(sharp, y)

    assert found.slope == pytest.approx(1 / 3, abs=0.05)
    assert found.all(sharp, None) == pytest.approx(p, abs=0.05)


@pytest.mark.parametrize(
    "map_",
    [
        Calibration(),
        Calibration("platt", slope=2.0, shift=-1.0),
        Calibration("isotonic", x=(0.1, 0.6), y=(0.2, 0.9)),
        Calibration("temperature", slope=0.5),
    ],
)
def test_a_calibration_survives_json_and_keeps_what_is_unknown(map_: Calibration) -> None:
    p = np.array([[0.3, 0.7], [np.nan, np.nan]])
    q = map_.all(p, 1)

    assert Calibration.from_json(map_.json()) == map_
    assert q[0].sum() == pytest.approx(1)
    assert np.isnan(q[1]).all()


def test_a_source_that_has_one_class_is_found_out() -> None:
    seen = (["books", "books", "web", "web"], ["high", "high", "low", "low"])
    found = leakage.shortcut("source", seen, (["books", "web", "mail"], ["high", "low", "low"]))

    assert found.accuracy == pytest.approx(2 / 3)  # an unknown source has the label that comes first of equally common
    (warning,) = leakage.warnings(0.7, 0.5, [found])
    assert warning == (
        "source alone tells 66.7% of the held-out documents apart and the classifier 70.0%: it may have learned the "
        "source and not the quality, so give every class texts of the same sources"
    )
    assert leakage.warnings(0.9, 0.5, [found]) == []
    assert leakage.warnings(0.7, 0.65, [found]) == []


def test_a_shortcut_that_makes_half_the_errors_is_warned_of_where_one_label_is_rare():
    whole = leakage.Shortcut("source", 1.0)

    assert len(leakage.warnings(0.987, 0.979, [whole])) == 1
    assert leakage.warnings(0.987, 0.979, [leakage.Shortcut("length", 0.98)]) == []
    assert leakage.warnings(1.0, 1.0, [whole]) == []


def test_lengths_fall_into_bins_of_equally_many() -> None:
    seen, held_out = leakage.lengths(list(range(1_600)), [0, 800, 10_000])

    assert set(np.bincount(seen).tolist()) <= {99, 100, 101}
    assert held_out == [0, 8, 15]
