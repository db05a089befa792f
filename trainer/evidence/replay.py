"""Decision replay on published evaluations: which of two datasets is better at a large scale, said from a small one.

Every dataset has one score at the small scale: its place on the direction in which the datasets' task accuracies differ
most (first principal component of the standardized tasks, pointing where the aggregate rises), which averages out the
noise of single tasks that the aggregate keeps. For a pair, a line from score to the large scale's metric is fitted on the
*other* datasets alone, and the difference of two new datasets is predicted with Student's t on n - 4 degrees of freedom
(two of the n are held out, two coefficients fitted): that gives the chance that the order is right. The rule decides a pair
where this chance is at least .9, so that those decided are right more often than that on average, and abstains otherwise.

Measured on DCLM's evaluations, 411M-1x against 7B-1x, 11 datasets, 55 pairs (`tests/benchmarks/bench_evidence.py`):
core_v2 all pairs 90.9 % right, 62 % decided with 97.1 % right; extended_v2 81.8 %, 45 % decided with 96.0 % right. Ranks
by core_v2 alone: 83.6 % and 74.5 %, 29 % and 22 % decided. The score was chosen with these results in sight; on 1B against
7B (14 datasets, 91 pairs), which chose nothing, the same rule decides 63 % and 59 % with 98.2 % and 98.1 % right. On 411M
against 1B it decides 12 % and 11 %, and half or more of them wrongly: one dataset (FineWeb-Edu) is best at 411M and poor
at 1B, and leaving two datasets out cannot foresee what none of the others does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it has no stubs

from trainer.evidence.losses import Floats

CHANCE = 0.9
_FEWEST = 6


@dataclass(frozen=True, slots=True)
class Scale:
    """Datasets evaluated at one scale: metrics and tasks by dataset, means over the runs of a dataset."""

    metrics: Mapping[str, Mapping[str, float]]
    tasks: Mapping[str, Mapping[str, float]]


def scale(rows: Sequence[Mapping[str, Any]], models: Sequence[str], recipe: Mapping[str, Sequence[str]]) -> Scale:
    """The evaluations of some models trained by one recipe; a row without one of the metrics is left out.

    rows: as in DCLM's `exp_data/evals` (model, dataset, hparams, core_v2, extended_v2, tasks); recipe: for each
    hyperparameter the values that belong to it.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        settings = row["hparams"] or {}
        fits = all(settings.get(name) in values for name, values in recipe.items())
        known = all(isinstance(row[m], float) for m in ("core_v2", "extended_v2"))
        if row["dataset"] and row["model"] in models and fits and known:
            groups.setdefault(row["dataset"], []).append(row)
    metrics = {
        name: {m: float(np.mean([r[m] for r in own])) for m in ("core_v2", "extended_v2")}
        for name, own in groups.items()
    }
    tasks = {}
    for name, own in groups.items():
        numbers = [{t for t, v in r["tasks"].items() if isinstance(v, float)} for r in own]
        shared = sorted(set.intersection(*numbers))
        tasks[name] = {t: float(np.mean([r["tasks"][t] for r in own])) for t in shared}
    return Scale(metrics, tasks)


def leading_component(tasks_NT: Floats, towards_N: Floats) -> Floats:
    """First principal component of standardized columns, [N], with the sign that correlates with `towards_N`."""
    spread_T = tasks_NT.std(axis=0, ddof=1)
    z_NT = (tasks_NT - tasks_NT.mean(axis=0))[:, spread_T > 0] / spread_T[spread_T > 0]
    first_N = np.linalg.svd(z_NT, full_matrices=False)[0][:, 0]
    return np.asarray(first_N * (1 if first_N @ (towards_N - towards_N.mean()) >= 0 else -1))


@dataclass(frozen=True, slots=True)
class Calls:
    """What is said of each pair, [P]: chance that the order by score is right, and whether it was."""

    chance_P: Floats
    right_P: NDArray[np.bool_]

    def decided(self, chance: float) -> tuple[float, float | None]:
        """Share of the pairs that a rule with this least chance decides, and the share of those that are right."""
        own_P = self.chance_P >= chance
        return float(own_P.mean()), float(self.right_P[own_P].mean()) if own_P.any() else None

    def risk_coverage(self) -> list[list[float]]:
        """[share decided, share of those wrong], deciding the surest pair first."""
        wrong_P = ~self.right_P[np.argsort(-self.chance_P, kind="stable")]
        count_P = np.arange(1, len(wrong_P) + 1)
        return np.column_stack([count_P / len(wrong_P), np.cumsum(wrong_P) / count_P]).tolist()  # type: ignore[no-any-return]  # numpy's stubs


def call_pairs(score_N: Floats, outcome_N: Floats) -> Calls:
    """For every pair of datasets the chance that the order by score is that of the outcome, from the others alone.

    Raises:
        ValueError: fewer than six datasets; a line through the others needs four.
    """
    count = len(score_N)
    if count < _FEWEST:
        raise ValueError(f"{count} datasets are too few to leave two out; {_FEWEST} are needed")
    chances, rights = [], []
    for i, j in combinations(range(count), 2):
        rest = np.delete(np.arange(count), [i, j])
        x, y = score_N[rest] - score_N[rest].mean(), outcome_N[rest] - outcome_N[rest].mean()
        slope = float(x @ y / (x @ x))
        variance = float(((y - slope * x) ** 2).sum()) / (count - 4)
        apart = float(score_N[i] - score_N[j])
        error = np.sqrt(variance * (2 + apart**2 / float(x @ x)))
        chance = float(stats.t.cdf(slope * apart / error, count - 4)) if error > 0 else float(slope * apart > 0)
        chances.append(max(chance, 1 - chance))
        rights.append((chance > 1 / 2) == (outcome_N[i] > outcome_N[j]))
    return Calls(np.array(chances), np.array(rights))


def decide_ranks(small: Scale, large: Scale, metric: str) -> Calls:
    """The calls for every pair of datasets that both scales have."""
    names = sorted(set(small.metrics) & set(large.metrics))
    tasks = sorted(set.intersection(*(set(small.tasks[n]) for n in names)))
    tasks_NT = np.array([[small.tasks[n][t] for t in tasks] for n in names])
    towards_N = np.array([small.metrics[n]["core_v2"] for n in names])
    outcome_N = np.array([large.metrics[n][metric] for n in names])
    return call_pairs(leading_component(tasks_NT, towards_N), outcome_N)
