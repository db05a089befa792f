"""What each step of a pipeline is worth: Shapley values from few trained pipelines.

Pipelines are subsets of steps. A step that reads another's output cannot be kept without it, so only subsets closed under
what they need are pipelines, and Shapley's mean over orders runs over those orders that respect it (Faigle and Kern 1992).
With k steps up to 2^k pipelines would have to be trained; a quarter is enough where a regression with main effects (and
as many pairs as the runs determine) describes the rest: the surrogate. Its values sum to the whole pipeline's gain, for
the whole and the empty pipeline are met exactly.
"""

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np

from trainer.evidence.losses import Floats

Needs = Mapping[str, Sequence[str]]
Subset = frozenset[str]
MOST_STEPS = 12
_RIDGE = 1e-6


def pipelines(steps: Sequence[str], needs: Needs) -> list[Subset]:
    """Every subset of steps that holds what its steps need, smallest first.

    Raises:
        ValueError: a needed step is unknown, or there are more than 12 steps.
    """
    unknown = sorted({n for s in steps for n in needs.get(s, ())} - set(steps))
    if unknown:
        raise ValueError(f"steps need {unknown}, which are no steps of the pipeline")
    if len(steps) > MOST_STEPS:
        raise ValueError(f"{len(steps)} steps have too many pipelines to list; attribute at most {MOST_STEPS} at once")
    every = (frozenset(c) for size in range(len(steps) + 1) for c in combinations(steps, size))
    return [s for s in every if all(n in s for step in s for n in needs.get(step, ()))]


def shapley(values: Mapping[Subset, Floats], steps: Sequence[str], needs: Needs) -> dict[str, Floats]:
    """Mean gain of each step over all orders that respect the needs; values of every pipeline, scalars or [R].

    Exact: an order is a path from the empty pipeline to the whole one, and paths through each step are counted.
    """
    every = pipelines(steps, needs)
    ways_in: dict[Subset, float] = {frozenset(): 1.0}
    ways_out: dict[Subset, float] = {frozenset(steps): 1.0}
    grow = {s: [(step, s | {step}) for step in steps if step not in s and s | {step} in values] for s in every}
    for subset in every:
        for _, larger in grow[subset]:
            ways_in[larger] = ways_in.get(larger, 0.0) + ways_in[subset]
    for subset in reversed(every):
        if grow[subset]:
            ways_out[subset] = sum(ways_out[larger] for _, larger in grow[subset])
    total = ways_in[frozenset(steps)]
    worth: dict[str, Floats] = {step: np.zeros(np.shape(values[frozenset()])) for step in steps}
    for subset in every:
        for step, larger in grow[subset]:
            share = ways_in[subset] * ways_out[larger] / total
            worth[step] = worth[step] + share * (values[larger] - values[subset])
    return worth


def _features(subsets: Sequence[Subset], steps: Sequence[str], pairs: bool) -> Floats:  # noqa: FBT001 - a switch
    singles = [[float(step in s) for step in steps] for s in subsets]
    twos = [[float(a in s and b in s) for a, b in combinations(steps, 2)] if pairs else [] for s in subsets]
    return np.array([[1.0, *one, *two] for one, two in zip(singles, twos, strict=True)])


def design(steps: Sequence[str], needs: Needs, *, share: float = 0.25, seed: int) -> list[Subset]:
    """Pipelines to train: the empty and the whole one and those that determine main effects best (D-optimal exchange).

    At most `share` of 2^k, but never fewer than the k + 1 that main effects need. Ties are broken by the seed.
    """
    every = pipelines(steps, needs)
    count = min(len(every), max(len(steps) + 1, int(share * 2 ** len(steps))))
    order = np.random.default_rng(seed).permutation(len(every))
    fixed = [every.index(frozenset()), every.index(frozenset(steps))]
    x = _features(every, steps, pairs=False)
    chosen = list(dict.fromkeys([*fixed, *order.tolist()]))[:count]

    def score(rows: list[int]) -> float:
        return float(np.linalg.slogdet(x[rows].T @ x[rows] + _RIDGE * np.eye(x.shape[1]))[1])

    best, improved = score(chosen), True
    while improved:
        improved = False
        for place in range(len(set(fixed)), count):
            for candidate in [c for c in order.tolist() if c not in chosen]:
                trial = [*chosen[:place], candidate, *chosen[place + 1 :]]
                if score(trial) > best + 1e-9:
                    chosen, best, improved = trial, score(trial), True
    return sorted((every[c] for c in chosen), key=lambda s: (len(s), sorted(s)))


def surrogate(trained: Mapping[Subset, Floats], steps: Sequence[str], needs: Needs) -> dict[Subset, Floats]:
    """Values of every pipeline from those that were trained: least squares that meets the empty and the whole exactly.

    Pairs of steps enter where the runs are at least as many as the coefficients; otherwise main effects alone.
    Trained values are [R] or scalars. What was trained keeps its fitted value, so that noise is averaged over runs.

    Raises:
        ValueError: the empty or the whole pipeline was not trained, or the runs do not determine the main effects.
    """
    empty, whole = frozenset[str](), frozenset(steps)
    if empty not in trained or whole not in trained:
        raise ValueError("attribution needs the empty and the whole pipeline among those that were trained")
    subsets = list(trained)
    both = _features(subsets, steps, pairs=True)
    pairs = len(subsets) >= both.shape[1] and np.linalg.matrix_rank(both) == both.shape[1]
    x = _features(subsets, steps, pairs=pairs)
    if np.linalg.matrix_rank(x) < x.shape[1]:
        raise ValueError(f"{len(subsets)} pipelines do not determine the worth of {len(steps)} steps; train more")
    y = np.stack([np.asarray(trained[s], np.float64) for s in subsets])
    heavy: Floats = np.where([s in (empty, whole) for s in subsets], 0.0, 1.0)
    fixed = _features([empty, whole], steps, pairs=pairs)
    flat = y.reshape(len(subsets), -1)
    ends = np.stack([np.asarray(trained[s], np.float64).ravel() for s in (empty, whole)])
    size = x.shape[1]
    # The minimum under the two equalities, from the normal equations with their multipliers (KKT).
    system = np.block([[2 * x.T @ (heavy[:, None] * x), fixed.T], [fixed, np.zeros((2, 2))]])
    right = np.concatenate([2 * x.T @ (heavy[:, None] * flat), ends])
    coefficients = np.linalg.lstsq(system, right, rcond=None)[0][:size]
    every = pipelines(steps, needs)
    found = _features(every, steps, pairs=pairs) @ coefficients
    return {s: found[k].reshape(y.shape[1:]) for k, s in enumerate(every)}


def left_out_error(trained: Mapping[Subset, Floats], steps: Sequence[str], needs: Needs) -> float | None:
    """Root mean square error of the surrogate on each trained pipeline left out; None where too few are left to fit."""
    squares = []
    for subset in trained:
        if subset in (frozenset(), frozenset(steps)):
            continue
        rest = {s: v for s, v in trained.items() if s != subset}
        try:
            guess = surrogate(rest, steps, needs)[subset]
        except ValueError:
            return None
        squares.append(float(np.mean((guess - trained[subset]) ** 2)))
    return float(np.sqrt(np.mean(squares))) if squares else None


def shares(trained: Mapping[Subset, Floats], steps: Sequence[str], needs: Needs) -> dict[str, Floats]:
    """Shapley values of the steps from some trained pipelines: exact where all were trained, else by the surrogate."""
    every = pipelines(steps, needs)
    if all(s in trained for s in every):
        return shapley({s: trained[s] for s in every}, steps, needs)
    return shapley(surrogate(trained, steps, needs), steps, needs)
