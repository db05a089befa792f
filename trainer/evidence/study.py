"""Everything that the losses of an ablation prove, assembled for the report as plain JSON.

Every number is finite or null; null means unknown, and a sentence beside it says why. An interval is
`{"value": x, "low": x, "high": x}`, two-sided at `confidence`; low or high null: not bounded on that side. Losses are in
bits per byte of the panel, differences are arm minus baseline (negative: the arm is better), multipliers are tokens that
the baseline needs over tokens that the arm needs for the same loss (above 1: the arm is better). The shape:

    {"format": 1, "baseline": NAME, "control": NAME | null, "confidence": .95, "resamples": 2000, "seed": 1,
     "seeds": [1, 2, 3], "budgets": [1000000, ...], "documents": 812, "bytes": 4000000,
     "verdict": "one sentence about the whole study",
     "arms": [{                                   # every arm but the baseline, in the order of the losses
       "name": NAME,
       "decided": "better" | "worse" | null,      # after Holm over the arms; null: not distinguishable
       "sentence": "curated needs 0.71 ... of the tokens ...",
       "p": .003 | null, "p_holm": .006 | null,   # two-sided; null where nothing can be tested
       "tested": "multiplier" | "loss" | null,    # what p is of: multiplier 1, or equal loss at the largest budget
       "seeds": 3,                                # paired seeds with every budget, in arm and baseline
       "seed_correlation": .4 | null,             # between arm and baseline over seeds, mean over budgets
       "missing": ["seed 2 at 4000000 tokens", ...],   # runs of the arm that are missing or diverged
       "deltas": [{"budget": 1000000, "tokens": 1000448, "flops": 1.1e13, "baseline": 1.91 | null, "arm": 1.85 | null,
                   "value": -.06 | null, "low": ..., "high": ...}],             # one per budget
       "multiplier": {"value": 1.41 | null, "low": ..., "high": ...,
                      "shrunk": 1.37 | null,      # drawn towards 1 as far as the noise demands (winner's curse)
                      "target_bits_per_byte": 1.78 | null,
                      "observed": [1.76, 1.90] | null,     # losses that both arms were observed at
                      "extrapolated": false,               # the target is outside of them
                      "method": "fit" | "interpolation" | null,
                      "with_curation": {"value", "low", "high"} | null,         # null where no cost was given
                      "reason": null | "why there is none, one sentence"},
       "curve": [{"tokens": 1000000, "flops": 1.1e13, "value": 1.4, "low": ..., "high": ..., "extrapolated": false}],
                                                  # multiplier at the loss of the baseline after so many tokens
       "crossover": {"tokens": {"value", "low", "high"} | null, "flops": 2e14 | null, "observed": false,
                     "sentence": "no crossover was observed up to 4000000 tokens"},
       "domains": [{"name": "books", "documents": 80, "bytes": 100000, "delta": {"value", "low", "high"},
                    "multiplier": {"value", "low", "high"}, "extrapolated": false}],    # at the largest budget
       "estimands": [{"equal": "tokens" | "pool" | "compute",  # all three, in this order, at the largest budget
                      "baseline_tokens": 4000000, "arm_tokens": 3100000 | null,
                      "delta": {"value", "low", "high"},        # loss of the arm after its tokens minus the baseline's
                      "extrapolated": false, "reason": null | "why there is none, one sentence"}],
       "versus_control": null | {"p": .02 | null, "p_holm": .02 | null, "decided": "better" | "worse" | null, "delta": {"value", "low", "high"},
                                 "multiplier": {"value", "low", "high"}, "sentence": "..."}
     }],
     "attribution": null | {"whole": NAME,        # the arm that the steps were left out of
       "sentence": "...",
       "steps": [{"step": NAME, "arm": NAME,      # delta: loss without the step minus loss of the whole (positive: helps)
                  "delta": {"value", "low", "high"}, "multiplier": {"value", "low", "high"},
                  "p": ..., "p_holm": ..., "decided": "helps" | "hurts" | null, "sentence": "..."}]},
     "noise": {"seed_sd_bits_per_byte": {"value", "low", "high"} | null,       # of one run at the largest budget
               "seed_sd_nats_per_token": .0021 | null,    # null where the panel's tokens were not given
               "percent_tokens_bits_per_byte": .0006 | null,   # exchange rate: what 1 % more tokens is worth
               "percent_tokens_nats_per_token": .0015 | null,
               "seed_sd_percent_tokens": 1.4 | null,
               "detectable_percent_tokens": 4.1 | null,   # found with 90 % power by this many seeds
               "correlation": .3 | null, "degrees_of_freedom": 4, "paired": true, "sentence": "..."},
     "same_arms": {"replays": 200, "declared_different": 9, "rate": .045, "power_at_5_percent": .97 | null,
                   "sentence": "..."} | null      # A/A: simulated with the noise that was measured
    }
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from trainer.evidence.bootstrap import Panel, interval, resample_documents, seed_correlation
from trainer.evidence.comparison import (
    Comparison,
    compare,
    crossover_row,
    curve_rows,
    delta_rows,
    exponent,
    last_delta,
    multiplier_row,
)
from trainer.evidence.estimands import estimand_rows
from trainer.evidence.losses import Losses
from trainer.evidence.noise import measured_noise, same_arms_note
from trainer.evidence.significance import holm, shrunk, standard_error
from trainer.evidence.verdict import decide, sentence, study_sentence

FORMAT = 1
RESAMPLES = 2000
_STEP = {"better": "helps", "worse": "hurts", None: None}


def study(
    losses: Losses,
    *,
    baseline: str,
    seed: int,
    resamples: int = RESAMPLES,
    confidence: float = 0.95,
    control: str | None = None,
    without: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """What the losses prove, in the shape that this module documents.

    control: the arm of a size-matched random drop, which others are compared with too. without: arms that leave a step
    out, with the name of the step; they are compared with the first arm that is neither baseline, control nor such an arm.

    Raises:
        ValueError: baseline, control or an arm of `without` is no arm of the losses; resamples are too few for any p value
            to pass Holm's correction; the panel has no bytes.
    """
    without = dict(without or {})
    _check(losses, [baseline, *([control] if control else []), *without], resamples, confidence)
    panel = resample_documents(losses, seed=seed, resamples=resamples)
    names = [a for a in losses.arms if a != baseline]
    settings = {"seed": seed, "confidence": confidence}
    found = {a: compare(losses, panel, a, baseline, seed=seed) for a in names}
    arms = _arms(losses, panel, baseline, found, settings)
    if control is not None and control != baseline:
        _against_control(losses, panel, control, arms, settings)
    noise = measured_noise(losses, baseline, confidence)
    return {
        "format": FORMAT,
        "baseline": baseline,
        "control": control,
        "confidence": confidence,
        "resamples": resamples,
        "seed": seed,
        "seeds": [int(s) for s in losses.seeds],
        "budgets": [int(b) for b in losses.budgets],
        "documents": len(losses.bytes_D),
        "bytes": int(losses.bytes_D.sum()),
        "verdict": study_sentence(baseline, arms),
        "arms": arms,
        "attribution": _attribution(losses, panel, [a for a in names if a != control], without, settings),
        "noise": noise,
        "same_arms": same_arms_note(losses, noise, seed=seed),
    }


def _check(losses: Losses, named: list[str], resamples: int, confidence: float) -> None:
    unknown = sorted(set(named) - set(losses.arms))
    if unknown:
        raise ValueError(f"{unknown} are no arms of these losses, which have {list(losses.arms)}")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence lies between 0 and 1 and is {confidence}")
    least = max(1, math.ceil(2 * (len(losses.arms) - 1) / (1 - confidence)) - 1)
    if resamples < least:
        raise ValueError(f"{resamples} resamples cannot decide {len(losses.arms) - 1} arms; use at least {least}")
    if not len(losses.bytes_D) or not losses.bytes_D.sum() > 0:
        raise ValueError("the panel has no bytes, so there is no loss per byte to compare")


def _arms(
    losses: Losses, panel: Panel, baseline: str, found: Mapping[str, Comparison], settings: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """One row for each arm, with p values adjusted over all of them."""
    confidence = settings["confidence"]
    adjusted = holm([c.p for c in found.values()])
    effects = [c.log_multiplier if c.method else None for c in found.values()]
    errors = [standard_error(c.log_multiplier_R) if c.method else None for c in found.values()]
    milder = shrunk(effects, errors)
    rows = []
    for (arm, one), p_holm, mild in zip(found.items(), adjusted, milder, strict=True):
        multiplier = multiplier_row(one, losses, confidence)
        multiplier["shrunk"] = None if mild is None else float(np.exp(mild))
        row = {"name": arm, **_judged(one, (arm, baseline), p_holm, multiplier, confidence)}
        row |= {
            "tested": one.tested,
            "seeds": len(one.pair.seeds),
            "seed_correlation": seed_correlation(losses.bits_per_byte(), one.pair),
            "missing": [f"seed {losses.seeds[s]} at {losses.budgets[b]} tokens" for s, b in one.pair.missing],
            "deltas": delta_rows(one, losses, confidence),
            "multiplier": multiplier,
            "curve": curve_rows(one, confidence),
            "crossover": crossover_row(one, (arm, baseline), confidence),
            "domains": _domains(losses, panel, (arm, baseline), settings),
            "estimands": estimand_rows(one, losses, confidence),
            "versus_control": None,
        }
        rows.append(row)
    return rows


def _judged(
    one: Comparison, names: tuple[str, str], p_holm: float | None, multiplier: Mapping[str, Any], confidence: float
) -> dict[str, Any]:
    """Decision, sentence and p values of one comparison."""
    decided = decide(p_holm, one.effect, confidence)
    parts = {
        "decided": decided,
        "p_holm": p_holm,
        "multiplier": multiplier,
        "delta": last_delta(one, confidence),
        "tokens": float(one.tokens_2B[0, -1]) if one.tokens_2B.size else 0.0,
        "reason": one.reason,
    }
    return {"decided": decided, "sentence": sentence(names, parts, confidence), "p": one.p, "p_holm": p_holm}


def _domains(losses: Losses, panel: Panel, names: tuple[str, str], settings: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Difference and multiplier on every domain of the panel that has documents."""
    rows = []
    for number, name in enumerate(losses.domains):
        mask = losses.domain_D == number
        if not losses.bytes_D[mask].sum() > 0:
            continue
        one = compare(losses, panel, *names, seed=settings["seed"] + number + 1, domain=number)
        multiplier = multiplier_row(one, losses, settings["confidence"])
        rows.append(
            {
                "name": name,
                "documents": int(mask.sum()),
                "bytes": int(losses.bytes_D[mask].sum()),
                "delta": last_delta(one, settings["confidence"]),
                "multiplier": {k: multiplier[k] for k in ("value", "low", "high")},
                "extrapolated": multiplier["extrapolated"],
            }
        )
    return rows


def _against_control(
    losses: Losses, panel: Panel, control: str, arms: list[dict[str, Any]], settings: Mapping[str, Any]
) -> None:
    """Compare every other arm with the size-matched random drop; p values are adjusted over these comparisons."""
    confidence = settings["confidence"]
    rows = [a for a in arms if a["name"] != control]
    found = [compare(losses, panel, a["name"], control, seed=settings["seed"]) for a in rows]
    for row, one, p_holm in zip(rows, found, holm([c.p for c in found]), strict=True):
        multiplier = multiplier_row(one, losses, confidence)
        judged = _judged(one, (row["name"], control), p_holm, multiplier, confidence)
        row["versus_control"] = {
            "p": one.p,
            "p_holm": p_holm,
            "decided": judged["decided"],
            "delta": last_delta(one, confidence),
            "multiplier": {k: multiplier[k] for k in ("value", "low", "high")},
            "sentence": judged["sentence"],
        }


def _attribution(
    losses: Losses, panel: Panel, names: list[str], without: Mapping[str, str], settings: Mapping[str, Any]
) -> dict[str, Any] | None:
    """What leaving each step out costs; positive differences and multipliers above 1 speak for the step."""
    whole = next((a for a in names if a not in without), None)
    left = [a for a in losses.arms if a in without]
    if not left or whole is None:
        return None
    confidence = settings["confidence"]
    found = [compare(losses, panel, arm, whole, seed=settings["seed"]) for arm in left]
    steps = []
    for arm, one, p_holm in zip(left, found, holm([c.p for c in found]), strict=True):
        effect = None if one.effect is None else -one.effect
        decided = _STEP[decide(p_holm, effect, confidence)]
        steps.append(
            {
                "step": without[arm],
                "arm": arm,
                "delta": last_delta(one, confidence),
                "multiplier": exponent(interval(-one.log_multiplier, -one.log_multiplier_R, confidence)),
                "p": one.p,
                "p_holm": p_holm,
                "decided": decided,
                "sentence": _step_sentence(without[arm], whole, decided, one.reason),
            }
        )
    return {"whole": whole, "sentence": _attribution_sentence(whole, steps), "steps": steps}


def _step_sentence(step: str, whole: str, decided: str | None, reason: str | None) -> str:
    if reason is not None:
        return f"What {step} is worth is unknown: {reason}."
    if decided is None:
        return f"{whole} with and without {step} are not distinguishable."
    return f"{step} {decided}: {whole} is {'better' if decided == 'helps' else 'worse'} with it than without it."


def _attribution_sentence(whole: str, steps: list[dict[str, Any]]) -> str:
    by = {word: [s["step"] for s in steps if s["decided"] == word] for word in ("helps", "hurts", None)}
    parts = [f"{', '.join(by['helps'])} {'helps' if len(by['helps']) == 1 else 'help'}"] if by["helps"] else []
    parts += [f"{', '.join(by['hurts'])} {'hurts' if len(by['hurts']) == 1 else 'hurt'}"] if by["hurts"] else []
    parts += [f"for {', '.join(by[None])} no effect can be told from noise"] if by[None] else []
    return f"Of the steps of {whole}, left out one at a time: {'; '.join(parts)}."
