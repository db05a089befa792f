"""Two-level paired bootstrap of an ablation: seeds x held-out documents, honest with two or three seeds.

*Documents* are resampled with replacement within their domain, the same for every arm, seed and budget. What one run
happens to do on one document is part of the seed's noise already, so a document's share of the variance of a difference
is reduced by what single runs explain of it (both crossed effects resampled freely would count it twice: Owen 2007).

*Seeds*: resampling two or three values with replacement gives intervals that are far too short: where seeds dominate the
noise, percentiles of the plain bootstrap held the true difference in 54 % of 1,000 simulated studies of two seeds and in
77 % of 300 of three, where 95 % are claimed. Here the deviations of seeds are multiplied by normal draws, which has the
variance that resampling lacks (Rao and Wu 1988), and by sqrt(df / chi-square), so that the interval of a linear statistic
is Student's t interval, and of others its image: it held the difference in 95 % of the same studies (two seeds 94.9 %,
three 95.3 %), and the multiplier, which is not linear, in 91.0 % and 95.0 % (`tests/benchmarks/bench_evidence.py`).

*Degrees of freedom* are gathered from all arms: where the residual of arms x seeds has at least 6 (four arms and three
seeds, three and four, or two and seven), noise is that of the paired differences; below it, pairing costs more in the t
quantile than the correlation of arms with other data returns, so it is the spread within arms, conservative when paired
runs correlate. Three arms and three seeds find a gain of 5 % tokens at the noise of `same_arms` in 94 % by the spread within
arms (6 degrees) and in 88 % by paired differences (4), where runs do not correlate, and in 96 and 99 % at correlation .5.
An arm that is noisier than the others (F test, 1 % over all arms) is compared by its own noise and the baseline's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]  # it has no stubs

from trainer.evidence.losses import Floats, Losses

ENOUGH_FREEDOM = 6
NO_SPREAD = 1e-12  # of a loss: what is below it is rounding
_OUTLIER = 0.01
_CHUNK = 4_000_000  # document weights that are in memory at once


@dataclass(frozen=True, slots=True)
class Panel:
    """The panel resampled: nats and bytes of each domain, [R, K, A, S, B] and [R, K]; row 0 is the panel itself."""

    nats_RKASB: Floats
    bytes_RK: Floats

    def bits_per_byte(self, domain: int | None = None) -> Floats:
        """[R, A, S, B], of one domain or the whole."""
        part = slice(None) if domain is None else slice(domain, domain + 1)
        bytes_R = self.bytes_RK[:, part].sum(axis=1)[:, None, None, None]
        found: Floats = self.nats_RKASB[:, part].sum(axis=1) / (np.log(2) * bytes_R)
        return found


def resample_documents(losses: Losses, *, seed: int, resamples: int) -> Panel:
    """The panel's sums for draws of its documents, stratified by domain; the first row is the panel as it is."""
    runs = losses.tokens_ASB.shape
    source = np.random.default_rng(seed)
    nats = np.zeros((resamples + 1, len(losses.domains), *runs))
    size = np.zeros((resamples + 1, len(losses.domains)))
    for domain in range(len(losses.domains)):
        rows = np.flatnonzero(losses.domain_D == domain)
        own_DC = np.column_stack(
            [losses.nats_ASBD[..., rows].reshape(int(np.prod(runs)), len(rows)).T, losses.bytes_D[rows]]
        )
        sums = np.concatenate([own_DC.sum(axis=0)[None], _weighted_sums(own_DC, resamples, source)])
        nats[:, domain], size[:, domain] = sums[:, :-1].reshape(-1, *runs), sums[:, -1]
    return Panel(nats, size)


def _weighted_sums(values_DC: Floats, resamples: int, source: np.random.Generator) -> Floats:
    """Sums of D rows drawn with replacement, [resamples, C]."""
    count = len(values_DC)
    found = np.zeros((resamples, values_DC.shape[1]))
    step = max(1, _CHUNK // max(count, 1))
    for start in range(0, resamples if count else 0, step):
        here = min(step, resamples - start)
        picks = source.integers(0, count, (here, count)) + np.arange(here)[:, None] * count
        weights = np.bincount(picks.ravel(), minlength=here * count).reshape(here, count).astype(np.float64)
        found[start : start + here] = weights @ values_DC
    return found


@dataclass(frozen=True, slots=True)
class Pair:
    """Two arms over the seeds and budgets that both have: positions in the losses."""

    baseline: int
    arm: int
    seeds: NDArray[np.intp]
    budgets: NDArray[np.intp]
    missing: tuple[tuple[int, int], ...]  # (seed, budget) of the arm, positions

    @property
    def enough(self) -> bool:
        """Whether there is any spread over seeds to judge by."""
        return len(self.seeds) > 1


def pair(losses: Losses, arm: str, baseline: str) -> Pair:
    """The runs by which two arms are compared: seeds that have every budget that any seed has, in both arms."""
    a, b = losses.arms.index(arm), losses.arms.index(baseline)
    there_ASB: NDArray[np.bool_] = np.asarray(np.isfinite(losses.nats_ASBD).all(axis=-1))
    both_SB = there_ASB[a] & there_ASB[b]
    budgets = np.flatnonzero(both_SB.any(axis=0))
    seeds = np.flatnonzero(both_SB[:, budgets].all(axis=1)) if len(budgets) else np.zeros(0, np.intp)
    missing = tuple((int(s), int(k)) for s, k in np.argwhere(~there_ASB[a]))
    return Pair(b, a, seeds, budgets, missing)


@dataclass(frozen=True, slots=True)
class SeedNoise:
    """Deviations of seeds that are drawn from.

    rows_NB: deviations of single arms, of which random sums over sqrt(degrees * seeds) are the noise of an arm's mean;
    shared_SB: those that paired arms have in common, None where runs count as unpaired; degrees: of freedom.
    """

    rows_NB: Floats
    shared_SB: Floats | None
    degrees: int
    seeds: int

    @property
    def spread(self) -> Floats:
        """Sd of one run's own deviation by budget (of what differs between paired arms, where paired)."""
        return np.asarray(np.sqrt((self.rows_NB**2).sum(axis=0) / self.degrees))

    def draw(self, resamples: int, source: np.random.Generator, arms: int = 2) -> Floats:
        """Deviations of the means of so many arms, [R, arms, B]; every second one mirrors the one before."""
        half = (resamples + 1) // 2
        wide = np.sqrt(self.degrees / source.chisquare(self.degrees, half))[:, None, None]
        own = source.normal(size=(half, arms, len(self.rows_NB))) @ self.rows_NB / np.sqrt(self.degrees * self.seeds)
        if self.shared_SB is not None:
            freedom = self.seeds * (self.seeds - 1)
            own = own + source.normal(size=(half, 1, self.seeds)) @ self.shared_SB / np.sqrt(freedom)
        return np.stack([wide * own, -wide * own], axis=1).reshape(2 * half, arms, -1)[:resamples]


def seed_noise(bpb_ASB: Floats, chosen: Pair) -> SeedNoise:
    """The noise by which a pair is judged: of all arms that have its seeds and budgets, or of the two if they differ."""
    x_ASB = bpb_ASB[:, chosen.seeds][:, :, chosen.budgets]
    complete = np.isfinite(x_ASB).all(axis=(1, 2))
    two = np.array([chosen.baseline, chosen.arm])
    within_ASB = x_ASB - x_ASB.mean(axis=1, keepdims=True)
    # The pair comes first, so that of runs under several names those of the pair stay.
    pool = np.concatenate([two, np.setdiff1d(np.flatnonzero(complete), two)])
    pool = pool[unlike(x_ASB[pool])]
    if _differs(within_ASB[pool, :, -1], np.isin(pool, two)):
        pool = two
    arms, seeds = len(pool), len(chosen.seeds)
    within_ASB = within_ASB[pool]
    degrees = (arms - 1) * (seeds - 1)
    width = within_ASB.shape[-1]
    if degrees < ENOUGH_FREEDOM:
        return SeedNoise(within_ASB.reshape(-1, width), None, arms * (seeds - 1), seeds)
    shared_SB = within_ASB.mean(axis=0)
    return SeedNoise((within_ASB - shared_SB).reshape(-1, width), shared_SB, degrees, seeds)


def unlike(values_AN: Floats) -> NDArray[np.intp]:
    """The arms, one of each that are the same runs under several names: what is counted twice is not seen twice."""
    rows = values_AN.reshape(len(values_AN), int(np.prod(values_AN.shape[1:])))
    return np.sort(np.unique(rows, axis=0, return_index=True)[1])


def _differs(within_AS: Floats, compared_A: NDArray[np.bool_]) -> bool:
    """Whether an arm's spread is not that of the others, in either direction, by F tests at 1 % over all arms."""
    arms, seeds = within_AS.shape
    if arms == int(compared_A.sum()):
        return False
    square_A = (within_AS**2).sum(axis=1) / (seeds - 1)
    others_A = (square_A.sum() - square_A) / (arms - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio_A = np.where(others_A > 0, square_A / others_A, np.where(square_A > 0, np.inf, 1.0))
    return bool((stats.f.sf(ratio_A, seeds - 1, (arms - 1) * (seeds - 1)) < _OUTLIER / arms).any())


def document_share(losses: Losses, chosen: Pair, domain: int | None = None) -> Floats:
    """Share of the documents' variance of the difference of two arms that single runs do not explain, by budget, 0 to 1.

    Linearized: a document's part in the ratio of sums, averaged over seeds, against its spread over seeds.
    """
    rows = slice(None) if domain is None else losses.domain_D == domain
    two = np.array([chosen.baseline, chosen.arm])
    both = losses.nats_ASBD[np.ix_(two, chosen.seeds, chosen.budgets)][..., rows]
    bytes_D = losses.bytes_D[rows]
    difference_SBD = both[1] - both[0]
    ratio_SB = difference_SBD.sum(axis=-1) / bytes_D.sum()
    part_SBD = difference_SBD - ratio_SB[..., None] * bytes_D
    seeds = len(chosen.seeds)
    whole_B = (part_SBD.mean(axis=0) ** 2).sum(axis=-1)
    runs_B = part_SBD.var(axis=0, ddof=1).sum(axis=-1) / seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(whole_B > 0, np.clip(1 - runs_B / whole_B, 0, 1), 0.0)


def resample_pair(
    losses: Losses, panel: Panel, chosen: Pair, *, seed: int, domain: int | None = None
) -> tuple[Floats, Floats]:
    """Bits per byte of (baseline, arm) by budget: as found, [2, B], and resampled over documents and seeds, [R, 2, B].

    Raises:
        ValueError: there are fewer than two paired seeds.
    """
    if not chosen.enough:
        raise ValueError("a pair of arms needs two seeds that both have before it can be resampled")
    bpb_RASB = panel.bits_per_byte(domain)
    two = np.array([chosen.baseline, chosen.arm])
    mean_R2B = bpb_RASB[:, two][:, :, chosen.seeds][..., chosen.budgets].mean(axis=2)
    found_2B, drawn_R2B = mean_R2B[0], mean_R2B[1:].copy()
    kept_B = np.sqrt(document_share(losses, chosen, domain))
    moved_RB = drawn_R2B - found_2B
    drawn_R2B[:, 1] = found_2B[1] + moved_RB[:, 0] + kept_B * (moved_RB[:, 1] - moved_RB[:, 0])
    noise = seed_noise(bpb_RASB[0], chosen)
    drawn_R2B += noise.draw(len(drawn_R2B), np.random.default_rng([seed, 1]))
    return found_2B, drawn_R2B


def interval(value: float, drawn_R: Floats, confidence: float) -> dict[str, Any]:
    """Percentiles of what was drawn; a draw that has no value (NaN) counts as beyond either end.

    A bound that is not finite is null, and so is everything where the value is not.
    """
    if not np.isfinite(value) or not len(drawn_R):
        return {"value": float(value) if np.isfinite(value) else None, "low": None, "high": None}
    unknown = np.isnan(drawn_R)
    tail = (1 - confidence) / 2
    low = float(np.quantile(np.where(unknown, -np.inf, drawn_R), tail, method="lower"))
    high = float(np.quantile(np.where(unknown, np.inf, drawn_R), 1 - tail, method="higher"))
    return {
        "value": float(value),
        "low": low if np.isfinite(low) else None,
        "high": high if np.isfinite(high) else None,
    }


def seed_correlation(bpb_ASB: Floats, chosen: Pair) -> float | None:
    """Correlation over seeds of two arms' losses, mean over budgets; None below three seeds or without spread."""
    if len(chosen.seeds) <= 2:  # noqa: PLR2004 - two points always lie on a line
        return None
    x_2SB = bpb_ASB[[chosen.baseline, chosen.arm]][:, chosen.seeds][:, :, chosen.budgets]
    dev_2SB = x_2SB - x_2SB.mean(axis=1, keepdims=True)
    both_B = np.sqrt((dev_2SB**2).sum(axis=1).prod(axis=0))
    if not (both_B > 0).all():
        return None
    return float(((dev_2SB[0] * dev_2SB[1]).sum(axis=0) / both_B).mean())


def percentile_bootstrap(difference_SD: Floats, bytes_D: Floats, *, seed: int, resamples: int) -> Floats:
    """The plain two-level bootstrap of a difference in bits per byte, [R]: what the calibrated one is measured against."""
    seeds, documents = difference_SD.shape
    source = np.random.default_rng(seed)
    weights_RS = source.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    both_DC = np.column_stack([difference_SD.T, bytes_D])
    sums_RC = _weighted_sums(both_DC, resamples, source)
    assert documents == len(bytes_D)
    return np.asarray((weights_RS * sums_RC[:, :-1]).sum(axis=1) / (np.log(2) * sums_RC[:, -1]))
