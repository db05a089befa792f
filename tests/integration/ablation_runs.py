"""A small corpus, its run, a tokenizer and a panel, for tests of ablations."""

import json
import random
from pathlib import Path
from typing import Any

from pipelines import api
from pipelines.learning.tokenizer import Learning
from pipelines.run import Options

LOCAL = Options("local", 2)
WORDS = (
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
    "rye",
    "wheat",
    "dust",
    "cloth",
    "篩",
    "мука",
    "منخل",
)
TINY = {"parameters": "30k", "context": 32, "budgets": [1200, 2400, 4800], "seeds": 2, "panel_bytes": 4000}


def sentence(source: random.Random, words: int) -> str:
    return " ".join(source.choice(WORDS) for _ in range(words)) + "."


def made(folder: Path, **changes: Any) -> dict[str, Any]:
    """`{"run", "store", "panel", "spec"}` of a corpus of which a rule keeps the longer half, in order of size."""
    source = random.Random(5)
    corpus, panel, store = folder / "corpus", folder / "panel", folder / "store"
    corpus.mkdir(parents=True)
    for part in range(2):
        lines = [{"id": f"{part}-{i}", "text": sentence(source, 4 + 3 * (i % 10))} for i in range(120)]
        (corpus / f"{part}.jsonl").write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    for domain in ("mills", "bakeries"):
        (panel / domain).mkdir(parents=True)
        lines = [{"id": f"{domain}-{i}", "text": sentence(source, 20)} for i in range(25)]
        (panel / domain / "eval.jsonl").write_text(
            "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        )
    api.learn_tokenizer("bpe", Learning(text=[str(corpus / "*.jsonl")], vocabulary=300), store=store, options=LOCAL)
    spec = {
        "name": "mill",
        "source": {"kind": "jsonl", "path": str(corpus / "*.jsonl"), "shard_bytes": 8_000},
        "measure": {"clean": {"kind": "normalize"}},
        "keep": [{"column": "leaving.bytes", "ge": 90, "on_null": "drop", "reason": "short"}],
        "order": {"kind": "curriculum", "by": "leaving.bytes", "phases": 3, "mix": 0.25, "seed": 3},
        **changes,
    }
    done = api.run(spec, store=store, options=LOCAL)
    return {"run": done["run"], "store": store, "panel": str(panel / "*" / "*.jsonl"), "spec": spec, "folder": folder}


def asked(mill: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """The fields of a tiny ablation."""
    return {"panel": [mill["panel"]], "tokenizer": "artifact:bpe", "learning_rate": 0.01, **TINY, **fields}


def ablated(mill: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return api.ablate(mill["run"], asked(mill, **fields), store=mill["store"], options=LOCAL)
