"""Artifacts whose cards say everything, or next to nothing: what tests of their pages are made of."""

from pathlib import Path
from typing import Any

from pipelines.artifacts import keep
from pipelines.store import Store
from stages.artifacts import Artifact

#: Markup, a page that is turned around, a terminal's colours, NUL, and a letter under forty accents.
HOSTILE = (
    "</pre></article><script>alert(1)</script><img src=x onerror=alert(2)>\u202egnp.exe\u202c \x1b[31m\x00 "
    "{{7*7}} z" + "\u0301" * 40
)

FULL: dict[str, Any] = {
    "what": "The probability that a document is <b>'ham'</b>, by a fastText classifier fitted on 500 labelled documents.",
    "data": {
        "labels": {"documents": 500, "bytes": 2_396_545, "malformed": 0, "content": "e85c00bc5bfe01fb"},
        "learned_from": 300,
        "skipped": {},
        "oracle": {"model": HOSTILE, "spent": {"tokens": 12_345, "usd": 0.0421}},
    },
    "settings": {
        "dim": 100,
        "lr": 0.1,
        "word_ngrams": 2,
        "smoothing": 1e-08,
        "high": "ham",
        "labels": ["ham", "spam"],
        "calibration": {"method": "platt", "slope": 1.2463, "shift": 0.3239},
        "a_name_without_any_space_" + "x" * 120: "y" * 300,
    },
    "metrics": [
        {"name": "accuracy", "value": 0.931372, "low": 0.86507, "high": 0.966361, "unit": "1", "better": "higher"},
        {"name": "ROC AUC", "value": 0.980009, "low": 0.946045, "high": 1.0, "unit": "1", "better": "higher"},
        {"name": "nats per token, held out", "value": 6.42, "low": 6.31, "high": 6.53, "unit": "nats/token"},
        {"name": "labels needed", "value": None, "low": 200.0, "high": None, "unit": "1", "better": "lower"},
        {"name": "gain", "value": -0.02, "low": -0.05, "high": 0.01, "unit": "1", "better": "higher"},
        {"name": f"<i>{HOSTILE}</i>", "value": 0.5, "unit": "<u>x</u>"},
    ],
    "curves": [
        {
            "title": "Accuracy on 300 test documents, mean of 10 seeds",
            "x": "labels",
            "y": "accuracy",
            "series": [
                {
                    "name": "entropy",
                    "points": [[50, 0.84, 0.8, 0.87], [100, 0.91, 0.89, 0.93], [400, 0.95, 0.94, 0.96]],
                },
                {"name": "margin", "points": [[50, 0.83, 0.79, 0.86], [100, None, None, None], [400, 0.95]]},
                {
                    "name": "k-center",
                    "points": [[50, 0.8, 0.75, 0.84], [100, 0.88, 0.86, 0.9], [400, 0.94, 0.92, 0.95]],
                },
                {"name": "random", "points": [[50, 0.79, 0.74, 0.83], [100, 0.86, 0.83, 0.88], [400, 0.92, 0.9, 0.93]]},
            ],
        },
        {
            "title": "reliability on held-out documents",
            "x": "mean probability of 'ham'",
            "y": "share that is 'ham'",
            "series": [
                {"name": "platt", "points": [[0.02, 0.05, 0.01, 0.24], [0.5, 0.4, 0.2, 0.64], [0.99, 1.0, 0.94, 1.0]]}
            ],
        },
        {
            "title": f"Growth {HOSTILE}",
            "x": "words",
            "y": "n-grams of order 5 in the model, in all the text that was read so far, pruned",
            "series": [{"name": HOSTILE, "points": [[10.0**k, 7.0**k] for k in range(3, 10)]}],
        },
    ],
    "likes": [
        {
            "text": "The sieve lets the fine flour through and keeps the bran.",
            "score": 0.9999999885,
            "where": "a.jsonl:3",
        },
        {"text": "篩は細かい粉を通し、ふすまを残す。🌾", "score": 0.98, "where": "篩.jsonl:17", "label": "ham"},
        {"text": "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة.", "score": 0.97, "where": "ملف:2"},
    ],
    "hates": [
        {"text": HOSTILE * 2, "score": 2.06e-10, "where": f"<b onclick=x>{HOSTILE}", "label": "spam"},
        {"text": "x" * 500, "score": 0.02, "where": "https://example.org/" + "a" * 300},
        {"text": "", "score": None, "where": None},
    ],
    "warnings": [
        "Source alone tells 100.0 % of the held-out documents apart: it may have learned the source and not the quality.",
        HOSTILE,
    ],
    "cost": {"seconds": 10.876, "cpu_seconds": 2.059, "peak_memory_bytes": 336_109_568},
    "comparison": {"at": 80, "share": {"value": 0.5, "low": 0.5, "high": 0.75}, "seeds": 10},
}
BARE: dict[str, Any] = {"what": "A table of word frequencies."}


def kept(store: Store, folder: Path, name: str, card: dict[str, Any], kind: str = "quality") -> Artifact:
    """An artifact with that card and one small file."""
    path = folder / f"{name}.bin"
    path.write_bytes(name.encode())
    return keep(store, name, kind, {"model": path}, identity={"labels": ["ham", "spam"]}, card=card)
