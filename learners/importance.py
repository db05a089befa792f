"""Log importance ratios from the counts of hashed n-grams in target and raw text (DSIR, arXiv:2302.03169)."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.chance import log
from stages.errors import DataError
from stages.importance_weights import SMOOTHING, Features

Counts = NDArray[np.int64]


def count(batches: Iterable[pa.Array], features: Features) -> tuple[Counts, int]:
    """How many n-grams of some texts fall into each bucket, and the texts' tokens."""
    from stages.kernels.hashed_ngrams import hashed_ngrams  # noqa: PLC0415 - numba is slow to import

    total, tokens = np.zeros(features.buckets, np.int64), 0
    for texts in batches:
        found = hashed_ngrams(texts, features.ngrams, features.buckets, features.hash)
        total += np.bincount(found.buckets, minlength=features.buckets)
        tokens += int(found.tokens.sum())
    return total, tokens


def fit(target: Counts, raw: Counts) -> NDArray[np.float64]:
    """log(p_target + 1e-8) - log(p_raw + 1e-8) for each bucket, p being the share of all n-grams.

    Raises:
        DataError: one side has no n-gram, or no bucket holds n-grams of both.
    """
    for name, counts in (("target", target), ("raw", raw)):
        if not counts.any():
            raise DataError(
                f"the {name} texts hold no word at all, so there is nothing to weigh by; name texts with words"
            )
    if not np.any((target > 0) & (raw > 0)):
        raise DataError(
            "no hashed n-gram of the target occurs in the raw texts, so every weight would be noise; name a target and a "
            "corpus of the same language, or count into fewer buckets"
        )
    ratios: NDArray[np.float64] = log(_shares(target) + SMOOTHING) - log(_shares(raw) + SMOOTHING)
    return ratios


def metrics(target: Counts, raw: Counts, ratios: NDArray[np.float64]) -> list[dict[str, Any]]:
    """How far apart the two are, for the card."""
    p, q = _shares(target), _shares(raw)
    return [
        _metric("divergence of target from raw", float(p @ ratios), "nats/n-gram"),
        _metric("divergence of raw from target", -float(q @ ratios), "nats/n-gram"),
        _metric("n-grams of raw in buckets that the target never fills", float(q[target == 0].sum()), "1"),
    ]


def curves(scores: Mapping[str, Sequence[float]]) -> list[dict[str, Any]]:
    """How weights per token are distributed among documents of each side, at 21 quantiles."""
    shares = np.linspace(0, 1, 21)
    series = [
        {"name": side, "points": [[float(x), float(y)] for x, y in zip(np.quantile(own, shares), shares, strict=True)]}
        for side, own in scores.items()
        if len(own)
    ]
    title = "weights of documents of 50 tokens and more"
    axes = {"x": "log weight per token (nats)", "y": "documents at or below (1)"}
    return [{"title": title, **axes, "series": series}] if series else []


def warnings(target: Counts, raw: Counts) -> list[str]:
    """What people should know before they trust the weights."""
    buckets = len(target)
    said = []
    for name, counts in (("target", target), ("raw", raw)):
        total = int(counts.sum())
        if total < 10 * buckets:
            said.append(
                f"the {name} texts hold {total} n-grams for {buckets} buckets, so that many ratios rest on a handful of "
                "counts; give more text or take fewer buckets"
            )
    return said


def _metric(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit}


def _shares(counts: Counts) -> NDArray[np.float64]:
    shares: NDArray[np.float64] = counts / counts.sum()
    return shares
