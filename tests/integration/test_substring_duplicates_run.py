"""Repeated passages through whole runs, against the set of all windows."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines.api import run, view
from pipelines.run import Options

LOCAL = Options("local", 2)
N = 100
BOILERPLATE = (
    "This page is part of the manual. 手册的这一页 may be copied, changed and given away, as long as this stays. "
)


@pytest.fixture
def pages(write_jsonl: Any) -> Path:
    """Documents of two files: forty with a common end, and thirteen that repeat one of these and add to it."""
    own = ["".join(f"{i} times {j} is {i * j}, é. " for j in range(30)) for i in range(40)]
    texts = [f"{text}{BOILERPLATE}" for text in own] + [f"{own[3 * i]} {i}" for i in range(13)] + ["", "short"]
    records = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    write_jsonl("pages/a.jsonl", records[::2])
    return write_jsonl("pages/b.jsonl", records[1::2]).parent


def rows_of(folder: Path, store: Path, options: Options = LOCAL, **fields: Any) -> list[dict[str, Any]]:
    spec = {
        "name": "pages",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), **fields},
        "measure": {"repeats": {"kind": "substring_duplicates"}},
        "keep": [{"column": "repeats.duplicate_fraction", "le": 0.5, "on_null": "keep", "reason": "repeated"}],
    }
    seen = view(run(spec, store=store, options=options)["run"], store=store)
    columns = ["id", "text", "repeats.spans", "repeats.duplicate_bytes", "repeats.duplicate_fraction", "verdict.keep"]
    rows: list[dict[str, Any]] = pa.concat_tables([seen.read(s, columns) for s in seen.shards]).to_pylist()
    return sorted(rows, key=lambda row: str(row["doc_id"]))


def struck(rows: list[dict[str, Any]]) -> list[list[dict[str, int]]]:
    """Look at every window, in the order of ids."""
    seen, found = set[bytes](), []
    for text in (row["text"].encode() for row in rows):
        mask = bytearray(len(text))
        for i in range(len(text) - N + 1):
            if text[i : i + N] in seen:
                mask[i : i + N] = b"\1" * N
            seen.add(text[i : i + N])
        found.append(spans_of(text, mask))
    return found


def spans_of(text: bytes, mask: bytearray) -> list[dict[str, int]]:
    spans, end = [], 0
    while (begin := mask.find(1, end)) >= 0:
        end = len(text) if mask.find(0, begin) < 0 else mask.find(0, begin)
        whole = [p for p in range(begin, end + 1) if p == len(text) or not 0x80 <= text[p] < 0xC0]
        spans.append({"begin": whole[0], "end": whole[-1]})
    return spans


def test_a_run_finds_exactly_the_windows_that_occur_earlier(pages: Path, tmp_path: Path) -> None:
    rows = rows_of(pages, tmp_path / "store")
    expected = struck(rows)

    assert [row["repeats.spans"] for row in rows] == expected
    assert sum(1 for spans in expected if spans) > 30
    assert [row["verdict.keep"] for row in rows] == [
        2 * row["repeats.duplicate_bytes"] <= len(row["text"].encode()) for row in rows
    ]


def test_neither_shards_nor_workers_change_the_spans(pages: Path, tmp_path: Path) -> None:
    whole = rows_of(pages, tmp_path / "whole", Options("local", 1))

    assert rows_of(pages, tmp_path / "cut", shard_bytes=2000) == whole
