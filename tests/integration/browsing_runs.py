"""A corpus with something to look at for every page about a finished run, its spec, and an ablation's report.

Documents hold markup and control characters, addresses to take out, paragraphs that are repeated, and copies that differ by a word.
"""

import json
import random
from pathlib import Path
from typing import Any

from ablation_results import result

from pipelines.store import Store

HOSTILE = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe\u202c \x1b[31m \x07"
HOSTILE_ID = "<b onclick=x>id</b>\u202e"
REPEATED = "All rights are reserved by the mill, and nothing of this page may be ground again without asking.\n\n"
WORDS = (
    "the",
    "of",
    "and",
    "to",
    "that",
    "with",
    "have",
    "be",
    "flour",
    "bran",
    "sieve",
    "drum",
    "grain",
    "miller",
    "stone",
    "water",
    "wheel",
    "sack",
    "bread",
    "oven",
)


def corpus(folder: Path) -> Path:
    """Eighty documents, the same every time, and two lines that are none; gives the file."""
    source = random.Random(7)

    def prose(words: int) -> str:
        return " ".join(source.choice(WORDS) for _ in range(words))

    lines: list[dict[str, Any]] = [
        {"id": f"plain-{i:02d}", "text": f"{prose(3 + 2 * i)}.", "lang": ["en", "fr", "de"][i % 3]} for i in range(40)
    ]
    for i in range(12):
        text = f"{prose(30)}\n\n{REPEATED}Write to miller{i}@mail.example.org about sack {i}, or to +44 20 7946 012{i % 10}."
        lines.append({"id": f"letter-{i:02d}", "text": text, "lang": "en", "url": f"https://example.org/{i}"})
    for c in range(4):
        base = prose(120).split()
        for i in range(4):
            words = [*base]
            words[10 + i] = f"changed{i}"
            lines.append({"id": f"copy-{c}-{i}", "text": " ".join(words), "lang": "en"})
    for i in range(6):
        extra = {"url": "javascript:alert(3)", "extra": "<u>meta</u>"}
        lines.append(
            {"id": HOSTILE_ID, "text": f"{HOSTILE} {prose(4 + 20 * i)} {{{{7*7}}}} z" + "\u0301" * 40, **extra}
        )
    path = folder / "browsed.jsonl"
    whole = [json.dumps(line, ensure_ascii=False) for line in lines]
    path.write_text("\n".join([*whole, '{"id": "<i>cut</i>", "text": "no end', "[1, 2]"]), encoding="utf-8")
    return path


def spec(path: Path, name: str = "browsed", words: int = 60) -> dict[str, Any]:
    """A spec that rewrites, finds spans and copies, and rejects for several reasons."""
    return {
        "name": name,
        "source": {"kind": "jsonl", "path": str(path)},
        "measure": {
            "clean": {"kind": "normalize"},
            "private": {"kind": "pii"},
            "stats": {"kind": "text_stats"},
            "again": {"kind": "paragraph_duplicates"},
            "sketch": {"kind": "minhash", "bands": 20, "rows": 4, "ngram": 3, "seed": 1},
            "copies": {"kind": "near_duplicates", "of": "sketch"},
        },
        "keep": [
            {"rules": "gopher-quality@datatrove-0.10"},
            {"column": "stats.words", "ge": words, "on_null": "drop", "reason": "few-words", "cite": "<i>ours</i>"},
            {"column": "lang", "in": ["en", "fr"], "on_null": "keep", "reason": "language"},
            {"one_of": "copies.cluster", "by": "longest", "reason": "copy"},
        ],
        "write": {"kind": "parquet"},
    }


def ablation(store: Store, run: str, **options: Any) -> str:
    """Put a finished ablation of a run into a store; gives its id."""
    name = "browsed-ablation-0a1b2c3d"
    found = result(**options) | {"ablation": name, "run": run}
    store.create_json(f"ablations/{name}/result.json", found)
    return name
