"""A/A mode: how often the whole machinery calls identical data under two names different, and finds a planted gain.

Every replay simulates an ablation with a stated noise, resamples and compares it as a study does, and asks whether p is at
most 1 - confidence. Nominal 5 % should declare at most 16 of 200 replays (the 98th percentile of a true 5 % test).
Measured with three budgets and 1,000 documents (`tests/benchmarks/bench_evidence.py`), for a published sd of a run and the
correlation of a seed in all arms:

    sd in nats  arms  seeds  correlation  declared different of 200  5 % tokens found
    .0013       2     3      0 / .5       11 / 0                     100 % / 100 %
    .0021       2     3      0 / .5       11 / 0                      86 % /  94 %
    .0021       3     3      0 / .5       14 / 5                      94 % /  96 %
    .0021       2     5      0 / .5        8 / 1                      99 % / 100 %

Two arms and three seeds cannot reach 90 % at the larger sd: Student's t with their 4 degrees of freedom, the most powerful
unbiased test of two means, finds 88 % of such gains. A third arm lends its noise, and any will do (`again` is one).
The noise of a recipe is measured from its own losses and printed, as published noise is of other models.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it has no stubs

from trainer.evidence.bootstrap import ENOUGH_FREEDOM, resample_documents
from trainer.evidence.comparison import compare
from trainer.evidence.noise_model import NoiseModel, simulate

REPLAYS = 200
_QUICK = 999  # a multiple of 40 less one: p is exact, and few draws cost power


@dataclass(frozen=True, slots=True)
class Design:
    """What is replayed: an ablation with so many arms (the first is the baseline), seeds, budgets and documents."""

    arms: int = 2
    seeds: int = 3
    budgets: tuple[int, ...] = (1_000_000, 2_000_000, 4_000_000)
    documents: int = 1000


def replay(
    design: Design, model: NoiseModel, *, multiplier: float, seed: int, replays: int = REPLAYS, confidence: float = 0.95
) -> int:
    """In how many replays the second arm, whose tokens are worth `multiplier`, is declared different from the first.

    With a multiplier other than 1, those that are declared different in the wrong direction do not count.
    """
    found = 0
    for number in range(replays):
        worth = {f"arm {k}": multiplier if k == 1 else 1.0 for k in range(design.arms)}
        losses = simulate(
            worth,
            seed=seed * 1_000_003 + number,
            model=model,
            seeds=design.seeds,
            budgets=design.budgets,
            documents=design.documents,
        )
        panel = resample_documents(losses, seed=number, resamples=_QUICK)
        outcome = compare(losses, panel, "arm 1", "arm 0", seed=number)
        right = multiplier == 1 or (outcome.effect or 0) * (multiplier - 1) > 0
        found += right and outcome.p is not None and outcome.p <= 1 - confidence
    return found


def quick_rate(design: Design, model: NoiseModel, effect: float, *, seed: int, replays: int = REPLAYS) -> float:
    """Share of replays in which the seeds' part of the test (Student's t on the largest budget) declares a difference.

    effect: nats per token. The same choice of degrees of freedom and pairing as a study, without documents; vectorized,
    so that a report can afford it.
    """
    source = np.random.default_rng(seed)
    shape = (replays, 1, design.seeds)
    common = source.normal(size=shape) * np.sqrt(max(model.correlation, 0.0))
    own = source.normal(size=(replays, design.arms, design.seeds)) * np.sqrt(1 - max(model.correlation, 0.0))
    x = model.seed_sd * (common + own)
    x[:, 1] -= effect
    within = x - x.mean(axis=2, keepdims=True)
    degrees = (design.arms - 1) * (design.seeds - 1)
    if degrees >= ENOUGH_FREEDOM:
        within = within - within.mean(axis=1, keepdims=True)
    else:
        degrees = design.arms * (design.seeds - 1)
    error = np.sqrt(2 * (within**2).sum(axis=(1, 2)) / degrees / design.seeds)
    t = (x[:, 1] - x[:, 0]).mean(axis=1) / error
    return float((2 * stats.t.sf(np.abs(t), degrees) <= 0.05).mean())  # noqa: PLR2004 - nominal
