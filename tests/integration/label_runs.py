"""What tests of labelling are made of: a finished run over the bundled labelled mails, and their labels."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from chat_server import Answer, says

from pipelines.api import run
from pipelines.run import Options

ROOT = Path(__file__).parents[2]
LABELS = ROOT / "pipelines" / "samples" / "labels" / "mail-quality.jsonl.gz"
SHOWN = 1_500  # the beginning of a mail is enough to tell what it is


def mails() -> list[dict[str, Any]]:
    with gzip.open(LABELS, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def mail_run(folder: Path, documents: int = 500) -> str:
    """A run over mails, two thirds of which are kept; gives its id. The store is `folder / "store"`."""
    records = [{"id": r["id"], "text": r["text"][:SHOWN]} for r in mails()[:documents]]
    records.append({"id": "blank", "text": "  \n "})
    (folder / "mails.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    spec = {
        "name": "mails",
        "source": {"kind": "jsonl", "path": str(folder / "mails.jsonl"), "shard_bytes": 200_000},
        "measure": {"clean": {"kind": "normalize", "ftfy": False}},
        "keep": [{"column": "leaving.bytes", "ge": 1400, "on_null": "drop", "reason": "short"}],
    }
    return str(run(spec, store=folder / "store", options=Options("local", 1))["run"])


def judge(log: Path | None = None) -> Callable[[str, int], Answer]:
    """Answers as the labels say, by the text that it is shown; notes each question before it answers."""
    known = {" ".join(r["text"][:200].split()): r["label"] for r in mails()}

    def answer(text: str, number: int) -> Answer:
        del number
        shown = " ".join(text.partition("\n")[2][:200].split())
        if log is not None:
            with log.open("a") as lines:
                lines.write(json.dumps(shown) + "\n")
        found = next((label for start, label in known.items() if start.startswith(shown[:120])), None)
        return says(found or "unknown")

    return answer


def profile(folder: Path, url: str, **fields: Any) -> Path:
    own = {"base_url": url, "model": "judge", "prompt": "spam or ham?\n{text}", "labels": ["spam", "ham"]}
    path = folder / "profile.json"
    path.write_text(json.dumps({**own, "backoff_seconds": 0.001, "timeout_seconds": 20, **fields}))
    return path
