"""The data-efficiency multiplier: tokens that the baseline needs over tokens that the arm needs for the same loss.

From fully decayed endpoints only; within one run, loss falls faster at the end of the decay than more tokens explain,
which understates multipliers. Two ways of inverting loss to tokens, both vectorized over resamples:

*interpolation*: log D against log(L - E), monotone and piecewise linear between budgets, with the E of the fit below (so
that a power law is a straight line); the multiplier is that of one loss, and is 1 just where the losses at the largest
budget are equal. Used where both arms were observed at the target loss.
*fit*: L = E + B D^-beta with E and beta shared by the two arms and B of each, by least squares (beta from a grid, the
rest in closed form); the multiplier (B_base / B_arm)^(1 / beta) is the same at every loss. Used where the target lies
outside of what both were observed at, as a law extrapolates better than the last two points do.

The target loss is the best one that both arms reach: the final loss of the weaker. Losses that both were observed at
bound it; outside of them the multiplier is an extrapolation and says so.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from trainer.evidence.losses import Floats

Method = Literal["fit", "interpolation"]
FEWEST_BUDGETS = 3
#: Exponents from nearly logarithmic to steeper than any seen; published ones lie between .2 and .5.
EXPONENTS = np.geomspace(0.02, 2.0, 97)


@dataclass(frozen=True, slots=True)
class Fit:
    """L = E + B D^-beta over R resamples; NaN where no falling curve with E >= 0 fits."""

    floor_R: Floats
    scale_R2: Floats
    exponent_R: Floats
    squares_R: Floats  # residual sum of squares

    @property
    def logarithm(self) -> Floats:
        """Log D_base - log D_arm, the same for every loss."""
        return np.asarray((np.log(self.scale_R2[:, 0]) - np.log(self.scale_R2[:, 1])) / self.exponent_R)


def fit(loss_R2B: Floats, tokens_2B: Floats) -> Fit:
    """The least-squares fit of (baseline, arm) with shared E and beta, for each of R resamples."""
    log_2B = np.log(tokens_2B) - np.log(tokens_2B).mean()
    power_G2B = np.exp(-EXPONENTS[:, None, None] * log_2B)
    design = np.zeros((len(EXPONENTS), log_2B.size, 3))
    design[:, :, 0] = 1
    width = log_2B.shape[1]
    design[:, :width, 1], design[:, width:, 2] = power_G2B[:, 0], power_G2B[:, 1]
    inverse = np.linalg.pinv(design)
    loss_RN = loss_R2B.reshape(len(loss_R2B), -1)
    coefficient_GRC = loss_RN @ inverse.transpose(0, 2, 1)
    left = np.eye(log_2B.size) - design @ inverse
    squares_GR = ((loss_RN @ left.transpose(0, 2, 1)) ** 2).sum(axis=-1)
    squares_GR[~(coefficient_GRC >= 0).all(axis=-1) | (coefficient_GRC[..., 1:] == 0).any(axis=-1)] = np.inf
    best_R = squares_GR.argmin(axis=0)
    rows = np.arange(len(loss_R2B))
    chosen_RC = coefficient_GRC[best_R, rows]
    squares_R = squares_GR[best_R, rows]
    nothing_R = ~np.isfinite(squares_R)
    chosen_RC[nothing_R] = np.nan
    exponent_R = np.where(nothing_R, np.nan, EXPONENTS[best_R])
    scale_R2 = chosen_RC[:, 1:] * np.exp(exponent_R * np.log(tokens_2B).mean())[:, None]
    return Fit(chosen_RC[:, 0], scale_R2, exponent_R, squares_R)


def falling(loss_RB: Floats) -> Floats:
    """The nearest curves that never rise with tokens (isotonic regression by its min-max formula), [R, B]."""
    width = loss_RB.shape[1]
    sums = np.concatenate([np.zeros((len(loss_RB), 1)), np.cumsum(loss_RB, axis=1)], axis=1)
    found = np.empty_like(loss_RB)
    for here in range(width):
        least = np.full(len(loss_RB), np.inf)
        for start in range(here + 1):
            means = [(sums[:, end + 1] - sums[:, start]) / (end + 1 - start) for end in range(here, width)]
            least = np.minimum(least, np.max(means, axis=0))
        found[:, here] = least
    return found


def log_tokens_at(target_R: Floats, loss_RB: Floats, log_tokens_B: Floats, floor_R: Floats) -> Floats:
    """Log D at which each curve reaches the target; beyond its ends its last piece goes on; NaN where that is flat."""
    with np.errstate(invalid="ignore", divide="ignore"):
        y_RB = -np.log(falling(loss_RB) - floor_R[:, None])
        y_R = -np.log(target_R - floor_R)
    width = loss_RB.shape[1]
    piece_R = np.clip((y_RB[:, 1:] < y_R[:, None]).sum(axis=1), 0, width - 2)
    rows = np.arange(len(loss_RB))
    low_R, high_R = y_RB[rows, piece_R], y_RB[rows, piece_R + 1]
    with np.errstate(invalid="ignore", divide="ignore"):
        share_R = np.where(high_R > low_R, (y_R - low_R) / (high_R - low_R), np.nan)
    share_R = np.where(y_R == high_R, 1.0, np.where(y_R == low_R, 0.0, share_R))
    x_R: Floats = log_tokens_B[piece_R] + share_R * (log_tokens_B[piece_R + 1] - log_tokens_B[piece_R])
    return x_R


def loss_at(log_tokens: float, loss_RB: Floats, log_tokens_B: Floats, floor_R: Floats) -> Floats:
    """Loss of each curve after so many tokens, [R]: log(L - E) is linear in log D between budgets, and goes on beyond."""
    piece = int(np.clip(np.searchsorted(log_tokens_B, log_tokens, side="right") - 1, 0, len(log_tokens_B) - 2))
    share = (log_tokens - log_tokens_B[piece]) / (log_tokens_B[piece + 1] - log_tokens_B[piece])
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        y_R2 = np.log(falling(loss_RB)[:, piece : piece + 2] - floor_R[:, None])
        return np.asarray(floor_R + np.exp(y_R2[:, 0] + share * (y_R2[:, 1] - y_R2[:, 0])))


def floors(loss_R2B: Floats, tokens_2B: Floats) -> Floats:
    """E of the shared fit, and 0 where there is none or where a loss lies below it, [R]."""
    found_R = fit(loss_R2B, tokens_2B).floor_R
    lowest_R = np.minimum(falling(loss_R2B[:, 0]).min(axis=1), falling(loss_R2B[:, 1]).min(axis=1))
    return np.where(np.isfinite(found_R) & (found_R < lowest_R), found_R, 0.0)


def interpolated(loss_R2B: Floats, tokens_2B: Floats, target_R: Floats, floor_R: Floats) -> Floats:
    """Log D_base - log D_arm at the target loss, [R]."""
    base_R, arm_R = (
        log_tokens_at(target_R, loss_R2B[:, k], np.log(tokens_2B[k]), floor_R) for k in range(len(tokens_2B))
    )
    return np.asarray(base_R - arm_R)


def target(loss_R2B: Floats) -> Floats:
    """The best loss that both arms reach, [R]."""
    return np.asarray(loss_R2B[:, :, -1].max(axis=1))


def observed(loss_2B: Floats) -> tuple[float, float] | None:
    """The losses that both arms were observed at, (lowest, highest); None where they share none."""
    low, high = float(loss_2B.min(axis=1).max()), float(loss_2B.max(axis=1).min())
    return (low, high) if low <= high else None


def choose(loss_2B: Floats, tokens_2B: Floats) -> Method:
    """Interpolation where both arms were observed at the target or nothing falling fits, else the fit."""
    bounds = observed(loss_2B)
    inside = bounds is not None and bounds[0] <= float(target(loss_2B[None])[0]) <= bounds[1]
    return "interpolation" if inside or not np.isfinite(fit(loss_2B[None], tokens_2B).exponent_R[0]) else "fit"


def log_multiplier(loss_R2B: Floats, tokens_2B: Floats, method: Method) -> Floats:
    """Log of the multiplier at the target loss, [R]; NaN where a curve that does not fall has none."""
    if method == "fit":
        return fit(loss_R2B, tokens_2B).logarithm
    return interpolated(loss_R2B, tokens_2B, target(loss_R2B), floors(loss_R2B, tokens_2B))


def with_curation(log_multiplier_R: Floats, tokens_2: Floats, flops_per_token_2: Floats, curation_2: Floats) -> Floats:
    """Log of (training + curation of the baseline) over that of the arm, in FLOPs, for the target loss.

    The weaker arm reaches the target with its last budget `tokens_2`, the other with what the multiplier says.
    """
    wins = log_multiplier_R >= 0
    # A resample whose curve is flat has a multiplier of 0 or infinity: an end of the interval that is not bounded.
    with np.errstate(over="ignore", divide="ignore"):
        m_R = np.exp(log_multiplier_R)
        base_R = np.where(wins, tokens_2[0], m_R * tokens_2[1]) * flops_per_token_2[0] + curation_2[0]
        arm_R = np.where(wins, tokens_2[0] / m_R, tokens_2[1]) * flops_per_token_2[1] + curation_2[1]
        return np.asarray(np.log(base_R) - np.log(arm_R))


def curve(loss_R2B: Floats, tokens_2B: Floats, log_tokens_P: Floats) -> Floats:
    """Log of the multiplier at the loss of the baseline after so many tokens, interpolated, [R, P]."""
    floor_R = floors(loss_R2B, tokens_2B)
    x_B = np.log(tokens_2B[0])
    found = np.empty((len(loss_R2B), len(log_tokens_P)))
    for place, x in enumerate(log_tokens_P):
        target_R = loss_at(float(x), loss_R2B[:, 0], x_B, floor_R)
        found[:, place] = x - log_tokens_at(target_R, loss_R2B[:, 1], np.log(tokens_2B[1]), floor_R)
    return found


def crossover(delta_RB: Floats, log_tokens_B: Floats) -> Floats:
    """Log D at which the arm stops winning: the last change of the difference (arm - baseline) from below 0 to above.

    Linear between budgets; inf where there is none among them.
    """
    found = np.full(len(delta_RB), np.inf)
    for here in range(delta_RB.shape[1] - 1):
        before, after = delta_RB[:, here], delta_RB[:, here + 1]
        turns = (before < 0) & (after > 0)
        share = np.divide(before, before - after, out=np.zeros_like(before), where=turns)
        at = log_tokens_B[here] + share * (log_tokens_B[here + 1] - log_tokens_B[here])
        found = np.where(turns, at, found)
    return found
