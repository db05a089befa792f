"""A run with tokens, and its kept documents in final order by the slow way: what the tests of token exports are made of."""

import json
from pathlib import Path
from typing import Any

from pipelines import api
from pipelines.engine_local import LocalEngine
from pipelines.execute import Execution
from pipelines.export import Request, _Verdicts, export
from pipelines.export_places import InFolder
from pipelines.learning.tokenizer import Learning
from pipelines.opening import open_store
from pipelines.progress import NullWatch
from pipelines.run import Options
from stages.artifacts import find
from stages.base import Sink
from stages.tokenization import FILE

SENTENCES = (
    "The sieve lets the fine flour through and keeps the bran. ",
    "Le tamis laisse passer la farine fine. ",
    "篩は細かい粉を通し、ふすまを残す。",
    "Сито пропускает муку 🌾 e\u0301 ",
)
LOCAL = Options("local", 1)


def corpus_at(folder: Path, files: int = 3, documents: int = 20) -> Path:
    """JSON lines in several scripts; gives the glob."""
    folder.mkdir(parents=True)
    for f in range(files):
        rows = [
            {"id": f"{f}:{i}", "text": SENTENCES[(i + f) % 4] * (i % 5) + str(i), "lang": "en", "n": i}
            for i in range(documents)
        ]
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{f}.jsonl").write_text(lines, encoding="utf-8")
    return folder / "*.jsonl"


def spec_of(pattern: Path, **sections: Any) -> dict[str, Any]:
    """A spec that tokenizes, and drops the shortest documents."""
    keep = [{"column": "leaving.bytes", "ge": 4, "on_null": "drop", "reason": "short"}]
    measure = {"clean": {"kind": "normalize"}, "tokens": {"kind": "tokens", "tokenizer": "artifact:bpe"}}
    return {
        "name": "web",
        "source": {"kind": "jsonl", "path": str(pattern), "shard_bytes": 3_000},
        "measure": measure,
        "keep": keep,
        "write": {"kind": "parquet", "shard_bytes": 2_500},
        **sections,
    }


def tokenizer_in(store: Path, pattern: Path, padded: int = 0) -> None:
    """Learn the tokenizer of the spec, of 300 entries; `padded` to more by a token that no text gives."""
    api.learn_tokenizer("bpe", Learning(text=(str(pattern),), vocabulary=300), store=store, options=LOCAL)
    if padded:
        opened = open_store(store)
        content = json.loads(find(opened, "artifact:bpe").path(opened, FILE).read_bytes())
        content["model"]["vocab"]["far"] = padded - 1
        wide = store.parent / FILE
        wide.write_text(json.dumps(content), encoding="utf-8")
        api.learn_tokenizer("bpe", Learning(text=(str(pattern),), file=wide), store=store, options=LOCAL)


def ran(store: Path, pattern: Path, options: Options = LOCAL, **sections: Any) -> dict[str, Any]:
    """A finished run of the spec."""
    return api.run(spec_of(pattern, **sections), store=store, options=options)


def exported(store: Path, run: str, sink: Sink, out: Path, engine: LocalEngine, shard_bytes: int = 2_500) -> Path:
    """An export of a run by an engine that is there already; gives the folder."""
    seen = api.view(run, store=store)
    request = Request(seen.store, seen.run, seen.plan, sink, shard_bytes)
    verdicts = _Verdicts(seen.store, seen.shards, {s.digest: seen.sidecars(s, request.measured) for s in seen.shards})
    execution = Execution(seen.store, seen.shards, seen.spec.limits, lambda: engine, NullWatch())
    return Path(export(request, verdicts, InFolder(out), execution)["path"])


def kept(store: Path, run: str) -> list[dict[str, Any]]:
    """Every kept document in final order, with `doc_id`, `text`, `tokens` and where it is in the order."""
    seen = api.view(run, store=store)
    wanted = ["path", "ordinal", "clean.text", "tokens.ids", "verdict.keep"]
    position = ["order.position"] if seen.plan.order is not None else []
    rows = [row for batch in api.documents(run, [*wanted, *position], store=store) for row in batch.to_pylist()]
    rows = [row for row in rows if row["verdict.keep"]]
    rows.sort(key=lambda row: row[position[0]] if position else (row["path"], row["ordinal"]))
    return [{"doc_id": r["doc_id"], "text": r["clean.text"], "tokens": r["tokens.ids"]} for r in rows]


def data(folder: str | Path) -> dict[str, bytes]:
    """The data files of an export and its index."""
    return {f.name: f.read_bytes() for f in sorted(Path(folder).iterdir()) if f.name.startswith(("part-", "index"))}
