"""What people want to know of an n-gram model: how it fits texts that it has not seen, what it likes and what it hates."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners.ngram.estimating import Totals
from learners.ngram.settings import FALLBACK
from pipelines.gather import Gathered
from pipelines.learning.ngram_tasks import Held
from pipelines.shards import batches
from pipelines.store import Store
from stages.ngrams.reading import Reading
from stages.ngrams.scoring import score
from stages.ngrams.table import Table

SHOWN, EXCERPT = 5, 500
#: Shorter documents are extreme by chance.
LEAST_TOKENS = 50
_NINETY_FIVE = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Scored:
    """Nats and tokens of documents (unscored ones left out), the extremes among them, and whether they were learned from."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    unknown: int
    likes: list[dict[str, Any]]
    hates: list[dict[str, Any]]
    seen: bool

    def nats_per_token(self) -> tuple[float, float | None, float | None]:
        """Nats per token of all tokens together, with a 95 % interval over documents (of a ratio, linearized)."""
        total, n = self.tokens.sum(), len(self.tokens)
        ratio = float(self.nats.sum() / total)
        if n < 2:  # noqa: PLR2004 - one document tells nothing of another
            return ratio, None, None
        error = float(np.sqrt(((self.nats - ratio * self.tokens) ** 2).sum() * n / (n - 1)) / total)
        return ratio, ratio - _NINETY_FIVE * error, ratio + _NINETY_FIVE * error


def scored(
    store: Store, texts: Gathered, reading: Reading, table: Table, held: Held | None, *, seen: bool = False
) -> Scored:
    """Score the documents that are held out (None: all)."""
    read = reading.open()
    nats, tokens, unknown, extremes = [], [], 0, _Extremes()
    for shard in texts.shards:
        for batch in batches(store, shard, ["text", "path", "ordinal", "doc_id"], {}):
            some = batch if held is None else batch.filter(pa.array(held.masks(batch["doc_id"])))
            if not some.num_rows:
                continue
            found = score(table, read(some["text"]))
            there = found.words > 0
            nats.append(found.nats[there])
            tokens.append(found.tokens[there])
            unknown += int(found.unknown.sum())
            extremes.add(some, found.nats, found.tokens)
    return Scored(
        np.concatenate(nats) if nats else np.empty(0),
        np.concatenate(tokens) if tokens else np.empty(0, np.int64),
        unknown,
        extremes.lowest(),
        extremes.highest(),
        seen,
    )


class _Extremes:
    """The documents of at least LEAST_TOKENS tokens with the fewest and the most nats a token."""

    def __init__(self) -> None:
        self._found: list[dict[str, Any]] = []

    def add(self, rows: pa.RecordBatch, nats: NDArray[np.float64], tokens: NDArray[np.int64]) -> None:
        long = np.flatnonzero(tokens >= LEAST_TOKENS)
        ratio = nats[long] / tokens[long]
        order = np.argsort(ratio, kind="stable")
        for i in dict.fromkeys([*order[:SHOWN].tolist(), *order[-SHOWN:].tolist()]):
            row = int(long[i])
            text = rows["text"][row].as_py()[:EXCERPT]
            where = f"{rows['path'][row].as_py()}:{rows['ordinal'][row].as_py()}"
            self._found.append({"text": text, "score": float(ratio[i]), "where": where})
        self._found.sort(key=lambda one: (one["score"], one["where"]))
        if len(self._found) > 2 * SHOWN:
            self._found = self._found[:SHOWN] + self._found[-SHOWN:]

    def lowest(self) -> list[dict[str, Any]]:
        return self._found[: min(SHOWN, (len(self._found) + 1) // 2)]

    def highest(self) -> list[dict[str, Any]]:
        return self._found[::-1][: min(SHOWN, len(self._found) // 2)]


def card(
    identity: Mapping[str, Any],
    texts: Gathered,
    held: Gathered | None,
    totals: Totals,
    facts: Mapping[str, int],
    asked: Scored,
) -> dict[str, Any]:
    """The card of a model."""
    counts = {f"{k}-grams": n for k, n in enumerate(totals.kept, 1)}
    discounts = {str(k): [round(float(d), 6) for d in one[1:]] for k, one in enumerate(totals.discounts, 1)}
    data: dict[str, Any] = {"text": texts.json() | {k: facts[k] for k in ("documents", "words", "sentences")}}
    if held is not None:
        data["held out"] = held.json()
    elif not asked.seen:
        data["held out"] = {"documents": texts.documents - facts["documents"]}
    return {
        "what": f"a modified Kneser-Ney model of order {len(totals.kept)}: how well it foretells each word of a text",
        "data": data,
        "settings": {**identity, **counts, "discounts": discounts},
        "metrics": _metrics(asked),
        "curves": curves(asked),
        "likes": asked.likes,
        "hates": asked.hates,
        "warnings": _warnings(totals, facts, asked),
    }


def _metrics(asked: Scored) -> list[dict[str, Any]]:
    if not asked.tokens.sum():
        return []
    which = "of documents that it has learned from" if asked.seen else "held out"
    rows: list[tuple[str, str, Callable[[float], float]]] = [
        ("nats per token", "nats/token", lambda nats: nats),
        ("perplexity", "1", math.exp),
    ]
    found: list[dict[str, Any]] = []
    for name, unit, of in rows:
        bounds = zip(("value", "low", "high"), asked.nats_per_token(), strict=True)
        numbers = {key: of(nats) for key, nats in bounds if nats is not None}
        found.append({"name": f"{name}, {which}", **numbers, "unit": unit, "better": "lower"})
    return [
        *found,
        {
            "name": f"unknown words, {which}",
            "value": asked.unknown / int(asked.tokens.sum()),
            "unit": "1",
            "better": "lower",
        },
    ]


def curves(asked: Scored) -> list[dict[str, Any]]:
    """The share of documents at or below a number of nats per token, at 21 quantiles: where percentile rules would cut.

    The band holds the whole curve of all such documents with 95 % (Dvoretzky, Kiefer and Wolfowitz; Massart 1990).
    """
    n = len(asked.tokens)
    if not n:
        return []
    order = np.sort(asked.nats / asked.tokens)
    band = float(np.sqrt(np.log(2 / 0.05) / (2 * n)))
    last = np.unique(np.linspace(0, n - 1, 21).round().astype(np.int64))
    points = [[float(order[k]), (k + 1) / n] for k in last.tolist()]
    return [
        {
            "title": f"Nats per token of {n} documents",
            "x": "nats per token",
            "y": "share of documents at or below",
            "series": [
                {
                    "name": "learned from" if asked.seen else "held out",
                    "points": [[x, y, max(0.0, y - band), min(1.0, y + band)] for x, y in points],
                }
            ],
        }
    ]


def _warnings(totals: Totals, facts: Mapping[str, int], asked: Scored) -> list[str]:
    found = []
    if totals.fallback:
        orders = ", ".join(map(str, totals.fallback))
        found.append(
            f"There is too little text to estimate the discounts of order {orders}; {' '.join(map(str, FALLBACK))} "
            "were taken, as lmplz does with --discount_fallback: give more text or a lower order."
        )
    if facts["reserved"]:
        found.append(f"{facts['reserved']} words <s>, </s> or <unk> in the texts were read as white space.")
    if asked.seen:
        found.append(
            "No text was held out, so the metrics are of documents that the model has learned from and are too good: "
            "give --held-out PATH or --held-out-share 0.01."
        )
    elif not asked.tokens.sum():
        found.append("The texts held out have no words: give others.")
    return found
