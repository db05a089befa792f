"""The drawings of an ablation: losses against tokens, losses at the ends of runs, multipliers in compute, learning rates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pipelines.report.learned_card import Curve, Series

#: Training losses are drawn from this part of the tokens on: what comes before would hide all differences.
_FROM = 0.1
_PLACES = 60
#: Arms on a drawing, the first ones; the tables have all.
MOST = 8
_MULTIPLIER = (
    "Tokens that the baseline needs for each token of the arm, at the loss that the baseline has after so much compute; bands "
    "are intervals, and 1 is no difference."
)

Result = Mapping[str, Any]
Point = tuple[float, float | None, float | None, float | None]


def arms_of(result: Result) -> list[str]:
    """Names of the arms, the baseline first; the order of every drawing and table."""
    names = [arm["name"] for arm in result["arms"]]
    return sorted(names, key=lambda name: name != result["baseline"])


def curves(result: Result) -> list[tuple[Curve, str]]:
    """Every drawing that has something to show, with a sentence about how to read it."""
    bands = "the line is the mean of the seeds, the band goes from the lowest to the highest"
    drawings = [
        (endpoints(result), f"Every point is a fully decayed run of that budget; {bands}."),
        (multipliers(result), _MULTIPLIER),
        (training_losses(result), f"On each arm’s own text, so levels of different arms cannot be compared; {bands}."),
        (learning_rates(result), "The baseline at its smallest budget with the first seed; one is used for all arms."),
    ]
    return [(curve, note) for curve, note in drawings if curve is not None]


def endpoints(result: Result) -> Curve | None:
    """Bits per byte of the panel against trained tokens, mean and range over seeds."""
    series = []
    for arm in arms_of(result)[:MOST]:
        by_budget: dict[int, list[tuple[float, float]]] = {}
        for one in result["endpoints"]:
            if one["arm"] == arm and one["bits_per_byte"] is not None:
                by_budget.setdefault(one["budget"], []).append((one["tokens"], one["bits_per_byte"]))
        points: list[Point] = []
        for runs in by_budget.values():
            tokens, losses = (np.array(column) for column in zip(*runs, strict=True))
            points.append((float(tokens.mean()), float(losses.mean()), float(losses.min()), float(losses.max())))
        if points:
            series.append(Series(name=arm, points=sorted(points)))
    if not series:
        return None
    return Curve(
        title="Loss on the held-out panel",
        x="trained tokens",
        y="bits per byte",
        series=series,
        log_x=True,
        counted=True,
    )


def multipliers(result: Result) -> Curve | None:
    """The multiplier against compute; what is extrapolated, or bounded on neither side, is left out."""
    series = []
    for arm in result["evidence"]["arms"][: MOST - 1]:
        points: list[Point] = [
            (p["flops"], p["value"], p["low"], p["high"])
            for p in arm["curve"]
            if p["value"] is not None and not p["extrapolated"] and (p["low"], p["high"]) != (None, None)
        ]
        if points:
            series.append(Series(name=arm["name"], points=points))
    if not series:
        return None
    return Curve(
        title="Token multiplier in compute",
        x="training FLOPs of the baseline",
        y="token multiplier",
        series=series,
        log_x=True,
        log_y=True,
        level=1.0,
        palette=arms_of(result),
    )


def training_losses(result: Result) -> Curve | None:
    """Training loss against tokens, mean and range over seeds."""
    series = []
    for arm in arms_of(result)[:MOST]:
        own = [c for c in result["curves"] if c["arm"] == arm and len(c["tokens"]) > 1]
        points = _banded(own)
        if points:
            series.append(Series(name=arm, points=points))
    if not series:
        return None
    return Curve(
        title="Loss in training", x="trained tokens", y="nats per token", series=series, log_x=True, counted=True
    )


def _banded(curves_S: Sequence[Mapping[str, Any]]) -> list[Point]:
    """Mean, lowest and highest loss at places that all seeds came to."""
    known = [_finite(curve) for curve in curves_S]
    known = [pair for pair in known if len(pair[0]) > 1]
    if not known:
        return []
    last = min(tokens[-1] for tokens, _ in known)
    first = max(_FROM * last, *(tokens[0] for tokens, _ in known))
    if first >= last:
        return []
    places = np.geomspace(first, last, _PLACES)
    losses = np.array([np.interp(places, tokens, losses) for tokens, losses in known])
    columns = (places, losses.mean(axis=0), losses.min(axis=0), losses.max(axis=0))
    return [(float(x), float(y), float(low), float(high)) for x, y, low, high in zip(*columns, strict=True)]


def _finite(curve: Mapping[str, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    pairs = [(t, y) for t, y in zip(curve["tokens"], curve["nats_per_token"], strict=True) if y is not None]
    tokens, losses = zip(*pairs, strict=True) if pairs else ((), ())
    return np.array(tokens, np.float64), np.array(losses, np.float64)


def learning_rates(result: Result) -> Curve | None:
    """The bracket: bits per byte of the baseline against the learning rate; diverged runs are not on it."""
    tried = result["learning_rates"]
    if tried is None:
        return None
    points: list[Point] = [
        (c["learning_rate"], c["bits_per_byte"], None, None)
        for c in tried["candidates"]
        if c["bits_per_byte"] is not None
    ]
    if not points:
        return None
    series = [Series(name=result["baseline"], points=points)]
    return Curve(title="Learning-rate bracket", x="learning rate", y="bits per byte", series=series, log_x=True)
