"""How many labels active learning saves: accuracy by number of labels against random picks, over seeds, with intervals.

Every seed splits the labelled documents into a test part and a pool, both drawn by hash, and every arm learns on the same
split with the same first batch, so arms are compared seed by seed. Intervals are percentiles of a bootstrap over seeds.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from learners.acquisition import Rows
from learners.active import Answers, Fit, Pool, Settings, learn
from stages.chance import draw, lowest

RESAMPLES = 2000
_TAILS = (2.5, 97.5)
_SCALE = 2.0**64


@dataclass(frozen=True, slots=True)
class Labelled:
    """Documents whose labels are known: ids, labels, vectors, and how a scorer is fitted on some of them."""

    doc_ids: pa.Array
    labels: Sequence[str]
    vectors: npt.NDArray[np.float32] | None
    fit: Fit


@dataclass(frozen=True, slots=True)
class Trial:
    """What is repeated for each seed: how many documents test, how rounds go, and which share of labels is wrong."""

    test: int
    settings: Settings
    noise: float = 0.0


@dataclass(frozen=True, slots=True)
class Curves:
    """Accuracy on the test part by arm, (S seeds, K numbers of labels), at the numbers `labels`."""

    labels: tuple[int, ...]
    accuracy: Mapping[str, npt.NDArray[np.float64]]
    seeds: tuple[int, ...]


def curves(known: Labelled, trial: Trial, arms: Sequence[str], seeds: Sequence[int]) -> Curves:
    """Accuracy of each arm after each round, for each seed.

    Labels of the pool are wrong with probability `noise`, drawn by document; those of the test part are right.
    """
    found: dict[str, list[list[float]]] = {arm: [] for arm in arms}
    for seed in seeds:
        for arm in arms:
            found[arm].append(_one(known, trial, arm, seed))
    done = np.cumsum(trial.settings.batches())
    return Curves(tuple(int(n) for n in done), {a: np.array(v) for a, v in found.items()}, tuple(seeds))


def _one(known: Labelled, trial: Trial, arm: str, seed: int) -> list[float]:
    settings = replace(trial.settings, acquire=arm, patience=0)
    test = lowest(draw(seed, "held-out", known.doc_ids), trial.test)
    askable = np.ones(len(known.labels), bool)
    askable[test] = False
    given = _noisy(known, trial.noise, seed)

    def ask(number: int, propose: Callable[[], Rows]) -> Answers:
        del number
        return Answers({int(r): given[r] for r in propose()})

    pool = Pool(known.doc_ids, askable, known.vectors)
    held = {int(r): known.labels[r] for r in test}
    outcome = learn(pool, known.fit, ask, settings, seed=seed, held_out=held)
    values, seen = [], set[str]()
    for one in outcome.rounds:
        seen |= set(one.answers.labels.values())
        # Before two labels are known, the one that is known is what would be said of every document.
        constant = sum(label in seen for label in held.values()) / len(held)
        values.append(constant if one.metric is None else one.metric.value)
    return values


def _noisy(known: Labelled, noise: float, seed: int) -> list[str]:
    """The labels, each replaced by another with probability `noise`."""
    if not noise:
        return list(known.labels)
    all_labels = sorted(set(known.labels))
    draws_N = draw(seed, "label-noise", known.doc_ids)
    given = []
    for label, number in zip(known.labels, draws_N.tolist(), strict=True):
        others = [x for x in all_labels if x != label]
        wrong = number < noise * _SCALE
        given.append(others[number % len(others)] if wrong else label)
    return given


def compared(found: Curves, arm: str, at: int, *, seed: int, control: str = "random") -> dict[str, Any]:
    """How an arm compares with the control at equal labels and at equal accuracy, with 95 % intervals over seeds.

    `labels_needed` is the least number of labels at which the arm's mean accuracy is at least the control's at `at` labels
    (null where it never is), `share` that number over `at`, and `gain` the paired differences of accuracy at `at` labels
    and, for half of them, between the arm at half and the control at `at`.
    """
    arm_SK, control_SK = found.accuracy[arm], found.accuracy[control]
    column = found.labels.index(at)
    picks_BS = np.random.default_rng(seed).integers(0, len(found.seeds), (RESAMPLES, len(found.seeds)))
    needed_B = np.array([_needed(found, arm_SK[p], control_SK[p, column]) for p in picks_BS])
    needed = _needed(found, arm_SK, control_SK[:, column])
    half = max((k for k, n in enumerate(found.labels) if 2 * n <= at), default=None)
    result = {
        "arm": arm,
        "control": control,
        "at": at,
        "seeds": len(found.seeds),
        "control_accuracy": _mean(control_SK[:, column], picks_BS),
        "labels_needed": _finite(needed, *np.percentile(needed_B, _TAILS, method="higher")),
        "share": _finite(needed / at, *(np.percentile(needed_B, _TAILS, method="higher") / at)),
        "gain": _mean(arm_SK[:, column] - control_SK[:, column], picks_BS),
    }
    if half is not None:
        result["half"] = found.labels[half]
        result["gain_at_half"] = _mean(arm_SK[:, half] - control_SK[:, column], picks_BS)
    return result


def _needed(found: Curves, arm_SK: npt.NDArray[np.float64], control_S: npt.NDArray[np.float64]) -> float:
    """The least number of labels at which the mean of the arm is at least the mean of the control."""
    enough = np.flatnonzero(arm_SK.mean(axis=0) >= control_S.mean())
    return float(found.labels[enough[0]]) if len(enough) else float("inf")


def _finite(value: float, low: float, high: float) -> dict[str, float | None]:
    """The numbers, null for what was never reached."""
    names = {"value": value, "low": low, "high": high}
    return {k: float(v) if np.isfinite(v) else None for k, v in names.items()}


def _mean(values_S: npt.NDArray[np.float64], picks_BS: npt.NDArray[np.int64]) -> dict[str, float]:
    """The mean over seeds with its interval."""
    low, high = np.percentile(values_S[picks_BS].mean(axis=1), _TAILS)
    return {"value": float(values_S.mean()), "low": float(low), "high": float(high)}


def as_curve(found: Curves, title: str, *, seed: int) -> dict[str, Any]:
    """The curves as a card draws them: for each arm [labels, mean, low, high]."""
    picks_BS = np.random.default_rng(seed).integers(0, len(found.seeds), (RESAMPLES, len(found.seeds)))
    series = []
    for arm, values_SK in found.accuracy.items():
        points = []
        for column, labels in enumerate(found.labels):
            mean = _mean(values_SK[:, column], picks_BS)
            points.append([labels, mean["value"], mean["low"], mean["high"]])
        series.append({"name": arm, "points": points})
    return {"title": title, "x": "labels", "y": "accuracy", "series": series}
