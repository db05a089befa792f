"""Bad input through the whole ingest: what came out, after the equation and the ids have been checked."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.ingest import IngestPack
from pipelines.inputs import freeze, packs
from pipelines.store import Store
from stages.catalog import parse
from stages.document import doc_id
from stages.sources.base import Source


@dataclass(frozen=True)
class Ingested:
    """What became of one source's files."""

    texts: list[str]
    malformed: list[tuple[str, int, str]]  # path, ordinal, reason
    messages: list[str]
    rows: list[dict[str, Any]]
    skipped: dict[str, int]
    documents_in: int


Ingest = Callable[..., Ingested]


@pytest.fixture
def ingest(tmp_path: Path, store: Store) -> Ingest:
    """Ingest files given as name -> bytes; checks the equation and the ids on the way."""

    def run(files: dict[str, bytes], kind: str = "jsonl", **fields: Any) -> Ingested:
        folder = tmp_path / "in"
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        source = parse({"kind": kind, "path": str(folder), **fields}, "source", "the source")
        assert isinstance(source, Source)
        return of_source(store, source)

    return run


def of_source(store: Store, source: Source) -> Ingested:
    table = freeze("web", source)
    records = [
        IngestPack(store, "web", source, "steps/web-0123456789abcdef", p.name, p.files(table))()
        for p in packs(table, source.shard_bytes)
    ]
    documents = [
        row for r in records for s in r["shards"] for row in pq.read_table(store.open_input(s["path"])).to_pylist()
    ]
    bad = [
        row
        for r in records
        if r["malformed"]["path"]
        for row in pq.read_table(store.open_input(r["malformed"]["path"])).to_pylist()
    ]
    assert sum(r["documents_in"] for r in records) == len(documents) + len(bad)
    assert sum(r["malformed"]["count"] for r in records) == len(bad)
    ids = [row["doc_id"] for row in documents + bad]
    assert ids == [doc_id("web", row["path"], row["ordinal"]) for row in documents + bad]
    assert len(set(ids)) == len(ids)
    skipped: dict[str, int] = {}
    for r in records:
        for reason, count in r["skipped"].items():
            skipped[reason] = skipped.get(reason, 0) + count
    return Ingested(
        [row["text"] for row in documents],
        [(row["path"], row["ordinal"], row["reason"]) for row in bad],
        [row["message"] for row in bad],
        documents,
        skipped,
        sum(r["documents_in"] for r in records),
    )
