"""Decisions of one scale by another: on made-up datasets whose law is known, and on DCLM's published evaluations."""

import json
from pathlib import Path

import numpy as np
import pytest

from trainer.evidence import replay

FIXTURE = Path(__file__).parents[2] / "../shared/data/fixtures/dclm_evals.jsonl"
ONCE = ("1", "1p0")


def test_calls_are_sure_and_right_where_the_small_scale_says_it_all() -> None:
    score = np.arange(8.0)
    calls = replay.call_pairs(score, 0.3 * score + 1)

    assert calls.right_P.all()
    assert calls.decided(replay.CHANCE) == (1.0, 1.0)
    assert calls.risk_coverage()[-1] == [1.0, 0.0]


def test_a_chance_is_calibrated_by_the_other_datasets_alone() -> None:
    source = np.random.default_rng(1)
    chances, rights = [], []
    for _ in range(150):
        score = source.normal(size=11)
        calls = replay.call_pairs(score, score + source.normal(0, 0.7, 11))
        chances.append(calls.chance_P)
        rights.append(calls.right_P)
    chance, right = np.concatenate(chances), np.concatenate(rights)

    for low in (0.5, 0.6, 0.7, 0.8, 0.9):
        own = (chance >= low) & (chance < low + 0.1)
        assert right[own].mean() == pytest.approx(chance[own].mean(), abs=0.05)
    held = (chance >= replay.CHANCE).mean()
    assert right[chance >= replay.CHANCE].mean() >= 0.95
    assert 0.3 < held < 0.8


def test_a_score_that_says_nothing_decides_next_to_nothing() -> None:
    source = np.random.default_rng(2)
    shares = [
        replay.call_pairs(source.normal(size=11), source.normal(size=11)).decided(replay.CHANCE)[0] for _ in range(100)
    ]

    assert np.mean(shares) < 0.15


def test_the_leading_component_is_what_noisy_tasks_have_in_common() -> None:
    source = np.random.default_rng(3)
    truth = source.normal(size=12)
    tasks = truth[:, None] * source.uniform(0.2, 1, 40) + source.normal(0, 1, (12, 40))
    constant = np.column_stack([tasks, np.ones(12)])

    assert np.corrcoef(replay.leading_component(constant, truth), truth)[0, 1] > 0.9
    np.testing.assert_allclose(replay.leading_component(tasks, -truth), -replay.leading_component(tasks, truth))


def test_runs_of_one_dataset_are_averaged_and_unknown_metrics_left_out() -> None:
    def row(dataset: str, core: object, task: object, lr: str = "1") -> dict:
        return {
            "dataset": dataset,
            "model": "m",
            "hparams": {"lr": lr},
            "core_v2": core,
            "extended_v2": 0.5,
            "tasks": {"t": task, "u": 1.0},
        }

    rows = [
        row("a", 0.1, 0.2),
        row("a", 0.3, 0.4),
        row("b", "N/A", 0.1),
        row("c", 0.1, "N/A"),
        row("d", 0.9, 0.9, lr="2"),
    ]
    found = replay.scale(rows, ("m",), {"lr": ("1",)})

    assert found.metrics == {
        "a": {"core_v2": pytest.approx(0.2), "extended_v2": 0.5},
        "c": {"core_v2": 0.1, "extended_v2": 0.5},
    }
    assert found.tasks == {"a": {"t": pytest.approx(0.3), "u": 1.0}, "c": {"u": 1.0}}


def test_too_few_datasets_are_refused() -> None:
    with pytest.raises(ValueError, match="5 datasets are too few"):
        replay.call_pairs(np.arange(5.0), np.arange(5.0))


@pytest.mark.shared
@pytest.mark.skipif(not FIXTURE.exists(), reason="needs the shared data folder")
def test_the_rule_is_right_on_dclm_s_pairs_that_it_decides_and_decides_enough() -> None:
    rows = [json.loads(line) for line in FIXTURE.read_text(encoding="utf-8").splitlines()]
    small = replay.scale(rows, ("d=1024_l=24_h=8",), {"mult": ONCE})
    large = replay.scale(rows, ("open_lm_7b", "open_lm_7b_swiglutorch"), {"mult": ONCE, "lr": ("0p0003",)})

    for metric, plain in (("core_v2", 46), ("extended_v2", 41)):
        calls = replay.decide_ranks(small, large, metric)
        share, right = calls.decided(replay.CHANCE)
        assert len(calls.right_P) == 55
        assert share >= 0.35
        assert right is not None
        assert right >= 0.95
        names = sorted(set(small.metrics) & set(large.metrics))
        core, outcome = (np.array([s.metrics[n][m] for n in names]) for s, m in ((small, "core_v2"), (large, metric)))
        assert int(replay.call_pairs(core, outcome).right_P.sum()) == plain
