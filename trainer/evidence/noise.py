"""The noise of a recipe, measured from the losses of an ablation: spread over seeds, what 1 % of tokens is worth, pairing."""

from typing import Any

import numpy as np
from scipy import stats  # type: ignore[import-untyped]  # it has no stubs

from trainer.evidence import multiplier as multipliers
from trainer.evidence.bootstrap import ENOUGH_FREEDOM, NO_SPREAD, unlike
from trainer.evidence.losses import Floats, Losses
from trainer.evidence.noise_model import NoiseModel
from trainer.evidence.same_arms import REPLAYS, Design, quick_rate
from trainer.evidence.verdict import more_tokens, number

_POWER = 0.9
_MOST_ALIKE = 0.999  # copies of one run would leave no noise to replay
_PLANTED = 5.0  # percent of tokens
_LONGEST = 500.0  # of a logarithm, so that every number stays finite


def measured_noise(losses: Losses, baseline: str, confidence: float) -> dict[str, Any]:
    """Sd over seeds of one run at the largest budget with its chi-square interval, the exchange rate, and correlation.

    Arms of which every seed is there count; the correlation is that of one seed in two arms (intraclass, of arms x seeds).
    """
    bpb_AS = losses.bits_per_byte()[:, :, -1]
    complete_AS = bpb_AS[np.isfinite(bpb_AS).all(axis=1)]
    complete_AS = complete_AS[unlike(complete_AS)]
    percent = exchange_rate(losses, baseline)
    nats = None if losses.tokens_D is None else float(np.log(2) * losses.bytes_D.sum() / losses.tokens_D.sum())
    found: dict[str, Any] = {
        "seed_sd_bits_per_byte": None,
        "seed_sd_nats_per_token": None,
        "percent_tokens_bits_per_byte": percent,
        "percent_tokens_nats_per_token": None if percent is None or nats is None else percent * nats,
        "seed_sd_percent_tokens": None,
        "detectable_percent_tokens": None,
        "correlation": None,
        "degrees_of_freedom": 0,
        "paired": False,
    }
    arms, seeds = complete_AS.shape
    within_AS = complete_AS - complete_AS.mean(axis=1, keepdims=True)
    if arms == 0 or seeds < 2 or not (np.abs(within_AS) > NO_SPREAD * np.abs(complete_AS).max()).any():  # noqa: PLR2004 - one value has no spread
        return found | {"sentence": "The noise over seeds is unknown: no arm has two seeds that differ."}
    freedom = arms * (seeds - 1)
    sd = float(np.sqrt((within_AS**2).sum() / freedom))
    tails = stats.chi2.isf([(1 - confidence) / 2, (1 + confidence) / 2], freedom)
    low, high = (float(sd * np.sqrt(freedom / t)) for t in tails)
    residual = (arms - 1) * (seeds - 1)
    paired = residual >= ENOUGH_FREEDOM
    found |= {
        "seed_sd_bits_per_byte": {"value": sd, "low": low, "high": high},
        "seed_sd_nats_per_token": None if nats is None else sd * nats,
        "seed_sd_percent_tokens": None if percent is None else _percent(sd, percent),
        "correlation": _intraclass(within_AS),
        "degrees_of_freedom": residual if paired else freedom,
        "paired": paired,
    }
    least = _detectable(found, sd, seeds)
    found["detectable_percent_tokens"] = None if percent is None else _percent(least, percent)
    return found | {"sentence": _sentence(found, seeds)}


def exchange_rate(losses: Losses, baseline: str) -> float | None:
    """Bits per byte that 1 % more tokens is worth at the baseline's largest budget; None where its loss does not fall."""
    a = losses.arms.index(baseline)
    bpb_SB = losses.bits_per_byte()[a]
    seeds = np.isfinite(bpb_SB).all(axis=1)
    if not seeds.any() or bpb_SB.shape[1] < multipliers.FEWEST_BUDGETS:
        return None
    loss_B, tokens_B = bpb_SB[seeds].mean(axis=0), losses.tokens_ASB[a, seeds].mean(axis=0)
    if not (np.diff(tokens_B) > 0).all() or not loss_B[-2] > loss_B[-1] > 0:
        return None
    twice = (np.stack([loss_B, loss_B])[None], np.stack([tokens_B, tokens_B]))
    above_2 = loss_B[-2:] - float(multipliers.floors(*twice)[0])
    slope = above_2[1] * np.log(above_2[0] / above_2[1]) / np.log(tokens_B[-1] / tokens_B[-2])
    return float(slope * np.log(1.01))


def _intraclass(within_AS: Floats) -> float | None:
    """Share of the variance over seeds that arms have in common; None for one arm or two seeds."""
    arms, seeds = within_AS.shape
    if arms < 2 or seeds < 3:  # noqa: PLR2004 - two points always lie on a line
        return None
    shared = arms * float((within_AS.mean(axis=0) ** 2).sum()) / (seeds - 1)
    rest = float(((within_AS - within_AS.mean(axis=0)) ** 2).sum()) / ((arms - 1) * (seeds - 1))
    return float((shared - rest) / (shared + (arms - 1) * rest))


def _detectable(found: dict[str, Any], sd: float, seeds: int) -> float:
    """Bits per byte that a 5 % test finds with 90 % power: the sum of two t quantiles in standard errors.

    Unpaired, what seeds have in common widens the test's error and not that of the difference.
    """
    freedom = found["degrees_of_freedom"]
    alike = min(max(found["correlation"] or 0.0, 0.0), _MOST_ALIKE)
    error = sd * np.sqrt(2 * (1 - alike) / seeds)
    believed = error if found["paired"] else sd * np.sqrt(2 / seeds)
    return float(stats.t.isf(0.025, freedom) * believed + stats.t.isf(1 - _POWER, freedom) * error)


def _percent(bits: float, percent: float) -> float:
    """Percent of tokens that so many bits per byte are worth, where 1 % is worth `percent`; percents compound."""
    return float(100 * np.expm1(min(bits / percent * np.log(1.01), _LONGEST)))


def _sentence(found: dict[str, Any], seeds: int) -> str:
    sd, nats = found["seed_sd_bits_per_byte"]["value"], found["seed_sd_nats_per_token"]
    text = f"One run's loss varies over seeds by {number(sd)} bits per byte"
    text += "" if nats is None else f" ({number(nats)} nats per token)"
    if found["seed_sd_percent_tokens"] is None:
        return f"{text}; what tokens are worth is unknown."
    text += f", as much as {more_tokens(found['seed_sd_percent_tokens'])} change it"
    least = more_tokens(found["detectable_percent_tokens"])
    return f"{text}; with {seeds} seeds data worth {least} is found nine times in ten."


def same_arms_note(losses: Losses, noise: dict[str, Any], *, seed: int) -> dict[str, Any] | None:
    """A/A: this study's design and noise replayed with identical data under two names, and with 5 % tokens planted."""
    sd = noise["seed_sd_bits_per_byte"]
    if sd is None or len(losses.arms) < 2:  # noqa: PLR2004 - two names
        return None
    design = Design(len(losses.arms), len(losses.seeds), losses.budgets, len(losses.bytes_D))
    model = NoiseModel(seed_sd=sd["value"], correlation=min(noise["correlation"] or 0.0, _MOST_ALIKE))
    rate = quick_rate(design, model, 0.0, seed=seed)
    percent = noise["percent_tokens_bits_per_byte"]
    power = None if percent is None else quick_rate(design, model, _PLANTED * percent, seed=seed)
    count = round(rate * REPLAYS)
    text = f"With the noise measured here, identical data under two names was called different in {count} of {REPLAYS}"
    text += " simulated replays"
    text += "" if power is None else f", and data worth 5 % more tokens was told apart in {power * 100:.0f} %"
    return {
        "replays": REPLAYS,
        "declared_different": count,
        "rate": rate,
        "power_at_5_percent": power,
        "sentence": f"{text}.",
    }
