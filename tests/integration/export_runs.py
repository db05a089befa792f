"""Runs put into a store by hand, and their exports: what the tests of exports are made of."""

import hashlib
import json
import random
from collections.abc import Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.commit import Attempt
from pipelines.engine_local import LocalEngine
from pipelines.execute import Execution
from pipelines.export import Request, _Verdicts, export
from pipelines.export_columns import DOCUMENT_COLUMNS
from pipelines.export_places import InBucket, InStore, Place
from pipelines.export_plan import KEEP, SIZE
from pipelines.ingest import shard_writer
from pipelines.judging import VERDICT
from pipelines.plan import plan
from pipelines.progress import NullWatch
from pipelines.shards import Shard, sidecar_schema, sidecar_writer
from pipelines.spec import Limits, from_data
from pipelines.store import Store
from stages.base import Sink
from stages.document import DOCUMENT, doc_id
from stages.sinks.parquet import Parquet

TEXTS = ("the fine flour falls", "篩は細かい粉を通す", "المنخل يمرر الدقيق", "e\u0301 🐈‍⬛ \u202e", "", "bran " * 40)
Document = dict[str, Any]


def documents_of(seed: int, keep: float = 0.7) -> list[Document]:
    """Documents of two sources in the final order, some rejected, some of several times the size of a file."""
    draw = random.Random(seed)
    documents = []
    for source in ("mail", "web"):
        for path in sorted(("a.jsonl", "ａ.jsonl", "b/ü.jsonl", "𐀀.jsonl", "ﬀ.jsonl")):
            for ordinal in range(draw.randrange(12)):
                text = draw.choice(TEXTS) * draw.choice((1, 1, 1, 30))
                documents.append(
                    dict.fromkeys(DOCUMENT.names)
                    | {"doc_id": doc_id(source, path, ordinal), "id": f"{source}-{ordinal}", "text": text, "lang": "en"}
                    | {"source": draw.choice((source, "its own")), "path": path, "ordinal": ordinal}
                    | {"meta": json.dumps({"n": ordinal}), "in": source, "keep": draw.random() < keep}
                )
    return documents


def committed_run(store: Store, documents: Sequence[Document], size: int, run: str = "run-1", name: str = "web") -> Any:
    """The documents as a run's shards of about `size` documents with verdicts, as ingest and judging leave them."""
    shards, paths = [], {}
    for source, found in groupby(documents, itemgetter("in")):
        rows = list(found)
        ends = [*range(0, len(rows), size), len(rows)]
        for a, b in pairwise(ends):
            shard, verdict = _shard(store, source, rows[a:b])
            shards.append(shard)
            paths[shard.digest] = {KEEP: verdict, SIZE: verdict}
    random.Random(size).shuffle(shards)
    sources = {"mail": {"kind": "jsonl", "path": "x"}, "web": {"kind": "jsonl", "path": "x"}}
    return plan(from_data({"name": name, "sources": sources})), _Verdicts(store, shards, paths), run


def _shard(store: Store, source: str, rows: list[Document]) -> tuple[Shard, str]:
    sizes = [len(r["text"].encode()) for r in rows]
    table = pa.Table.from_pylist([{n: r[n] for n in DOCUMENT.names} for r in rows], DOCUMENT)
    digest = hashlib.sha256("".join(table["doc_id"].to_pylist()).encode()).hexdigest()[:32]
    with Attempt(store, "steps/documents-0", digest) as attempt:
        with attempt.file() as path, shard_writer(path) as writer:
            writer.write_table(table, row_group_size=4)
        path = attempt.commit({})["files"][0]["path"]
    shard = Shard(digest, path, len(rows), sum(sizes), source)
    segments = []
    for path, group in groupby(zip(rows, sizes, strict=True), lambda pair: pair[0]["path"]):
        kept = [(r["ordinal"], s) for r, s in group if r["keep"]]
        segments.append([path, kept[0][0] if kept else 0, len(kept), sum(s for _, s in kept)])
    verdict = {
        "doc_id": [r["doc_id"] for r in rows],
        "id": [r["id"] for r in rows],
        "keep": [r["keep"] for r in rows],
        "fate": ["kept" if r["keep"] else "rejected" for r in rows],
        "reasons": [[] if r["keep"] else ["short"] for r in rows],
        "text_bytes": sizes,
    }
    numbers = {"documents": sum(not r["keep"] for r in rows), "alone": 0}
    counts = {"kept": sum(r["keep"] for r in rows), "rejected": numbers["documents"], "quarantined": 0}
    with Attempt(store, "steps/verdict-0", digest) as attempt:
        with attempt.file() as path, sidecar_writer(path, VERDICT) as writer:
            writer.write_table(pa.table(verdict, sidecar_schema(VERDICT)), row_group_size=4)
        record = attempt.commit({"segments": segments, "counts": counts | {"reasons": {"short": numbers}}})
    return shard, record["files"][0]["path"]


def exported(
    place: Place, run: Any, engine: LocalEngine, sink: Sink | None = None, shard_bytes: int = 500
) -> dict[str, Any]:
    made, verdicts, name = run
    request = Request(verdicts.store, name, made, sink or Parquet(rows=7), shard_bytes)
    execution = Execution(verdicts.store, verdicts.shards, Limits(), lambda: engine, NullWatch())
    return export(request, verdicts, place, execution)


def in_store(store: Store, run: Any) -> Place:
    made, _, name = run
    return (InStore if store.is_local else InBucket)(store, made.spec.name, f"runs/{name}/export-parquet.json")


def content(folder: str | Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(Path(folder).iterdir())}


def data(folder: str | Path) -> dict[str, bytes]:
    return {name: found for name, found in content(folder).items() if name.startswith("part-")}


def cut(documents: Sequence[Document], shard_bytes: int) -> list[list[Document]]:
    """The slow way: the documents of each file, in order."""
    files: dict[int, list[Document]] = {}
    before = 0
    for document in documents:
        if document["keep"]:
            files.setdefault(before // shard_bytes, []).append({n: document[n] for n in DOCUMENT_COLUMNS})
            before += len(document["text"].encode())
    return [files[number] for number in sorted(files)]
