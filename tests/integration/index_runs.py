"""What tests of indexes are made of: sketches out of nothing, an obvious index to compare with, and two small runs."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.api import run
from pipelines.index.backend import COMING, Coming
from pipelines.run import Options
from stages.index.manifest import Configuration, sketch_of
from stages.text.minhash import Minhash

BANDS, ROWS = 4, 2
PERMUTATIONS = BANDS * ROWS
CONFIGURATION = Configuration(sketch_of(Minhash(bands=BANDS, rows=ROWS).identity()), BANDS, ROWS)

Sketch = tuple[int, ...]


def name_of(number: int) -> str:
    """A doc_id."""
    return hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()


def table(doc_ids: Sequence[str], signatures: Any) -> pa.Table:
    """Documents on their way into an index."""
    values = np.ascontiguousarray(signatures, "<u4")
    width = 4 * (values.size // len(doc_ids) if doc_ids else PERMUTATIONS)
    columns = {
        "doc_id": pa.array(doc_ids, pa.string()),
        "id": pa.array([f"id of {d[:8]} 篩" for d in doc_ids], pa.string()),
        "source": pa.array(["web"] * len(doc_ids), pa.string()),
        "path": pa.array([f"part-{d[:1]}.jsonl" for d in doc_ids], pa.string()),
        "url": pa.array([None if d < "8" else f"https://example.org/{d}" for d in doc_ids], pa.string()),
        "signature": pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), len(doc_ids), [None, pa.py_buffer(values.tobytes())]
        ),
    }
    return pa.table({name: columns[name] for name in COMING})


def coming(corpus: str, documents: pa.Table, key: str = "") -> Coming:
    """An add of documents, handed over in two batches."""
    half = documents.num_rows // 2
    parts = [documents.slice(0, half), documents.slice(half)]
    return Coming(corpus, f"run of {corpus}", key or corpus, documents.num_rows, lambda: iter(parts))


@dataclass
class Obvious:
    """An index as a list: every question looks at every document."""

    entries: list[tuple[str, str, Sketch]] = field(default_factory=list)  # corpus, doc_id, sketch, as they were added
    removed: set[str] = field(default_factory=set)

    def add(self, corpus: str, documents: Sequence[tuple[str, Sketch]]) -> int:
        """Add what is not there; gives how many."""
        new = [(corpus, d, s) for d, s in documents if d not in self.removed and (corpus, d, s) not in self.entries]
        self.entries += new
        return len(new)

    def remove(self, doc_id: str) -> int:
        """Take a document down; gives how many went."""
        before = len(self.entries)
        self.entries = [e for e in self.entries if e[1] != doc_id]
        self.removed.add(doc_id)
        return before - len(self.entries)

    def twins(self, sketch: Sketch) -> list[tuple[float, str, str]]:
        """Jaccard, doc_id and corpus of every document with an equal band, best first."""
        found = []
        for number, (corpus, doc_id, other) in enumerate(self.entries):
            bands = [slice(b * ROWS, (b + 1) * ROWS) for b in range(BANDS)]
            if any(sketch[b] == other[b] for b in bands):
                equal = sum(x == y for x, y in zip(sketch, other, strict=True))
                found.append((-equal / PERMUTATIONS, doc_id, number, corpus))
        return [(-j, doc_id, corpus) for j, doc_id, _, corpus in sorted(found)]


def answers(backend: Any, sketches: Sequence[Sketch]) -> list[list[tuple[float, str, str]]]:
    """What a backend says of sketches, in the form of `Obvious.twins`."""
    rows = backend.query(np.array(sketches, np.uint32).reshape(-1, PERMUTATIONS), 10_000, 0.0).to_pylist()
    found: list[list[tuple[float, str, str]]] = [[] for _ in sketches]
    for row in rows:
        found[row["asked"]].append((row["jaccard"], row["doc_id"], row["corpus"]))
    return found


SENTENCES = (
    "The sieve lets the fine flour through and keeps the bran of the grain in the wooden frame that the miller holds",
    "Le tamis laisse passer la farine fine et retient le son du blé dans le cadre de bois que tient le meunier du village",
    "篩は細かい粉を通し、ふすまを残す。粉屋は木の枠を両手で持ち、ゆっくりと揺らし続ける。",
    "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة في الإطار الخشبي الذي يمسكه الطحان بيديه كل صباح",
    "Сито пропускает мелкую муку и задерживает отруби в деревянной раме которую мельник держит обеими руками 🌾",
)


def text_of(number: int, changed: bool = False) -> str:
    """A document that is like no other with another number, and like itself when a little is changed."""
    words = hashlib.sha256(str(number).encode()).hexdigest()
    own = " ".join(words[i : i + 3] + SENTENCES[number % 5][i * 2 : i * 2 + 9] for i in range(0, 60, 2))
    return f"{SENTENCES[number % 5]} {own} {own[::-1]}" + (" and a last word" if changed else "")


def spec(name: str, folder: Path, **more: Any) -> dict[str, Any]:
    """A spec that sketches the documents of a folder."""
    return {
        "name": name,
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl")},
        "measure": {"sketch": {"kind": "minhash"}, **more.pop("measure", {})},
        "keep": [{"column": "leaving.bytes", "ge": 20, "on_null": "drop", "reason": "short"}],
        **more,
    }


def write(folder: Path, numbers: Sequence[int], changed: bool = False) -> Path:
    """A folder with one file of documents; the last is too short to be kept, the one before has no words."""
    folder.mkdir(parents=True, exist_ok=True)
    records = [{"id": f"doc-{n}", "url": f"https://example.org/{n}", "text": text_of(n, changed)} for n in numbers]
    records += [{"id": "empty", "text": "..."}, {"id": "short", "text": "too short"}]
    lines = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    (folder / "part-0.jsonl").write_text(lines, encoding="utf-8")
    return folder


def two_runs(folder: Path) -> dict[str, str]:
    """Two finished runs in `folder/store`: 'first' over documents 0..39, 'second' over 20..59 a little changed."""
    options = Options("local", 1)
    first = run(spec("first", write(folder / "first", range(40))), store=folder / "store", options=options)
    second = run(
        spec("second", write(folder / "second", range(20, 60), changed=True)), store=folder / "store", options=options
    )
    return {"first": first["run"], "second": second["run"]}
