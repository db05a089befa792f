"""Repeated passages, against the set of all windows."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.corpus.substring_duplicates import SubstringDuplicates
from stages.flow import MemoryFlow

Spans = list[tuple[int, int]]
N = 16
PIECES = (
    "the quick brown fox jumps over",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "abcabcabcabcabcabcabcabcabc",
    "今天天气很好我们去公园散步",
    "👩‍👩‍👧‍👦👍🏽🇫🇷🏴󠁧󠁢󠁥󠁮󠁧󠁿",
    "e\u0301a\u0308o\u0302u\u0301\u0308\u20ddi\u0301",
    "السماء زرقاء والشمس",
    "\x00" * 20,
    " the quick brown cat",
    "é",
    "x",
)
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=8).map("".join)
TEXTS = st.lists(st.none() | TEXT, max_size=12)


def ids_of(count: int) -> list[str]:
    """Ids whose order is not that of the rows."""
    return [f"{(i * 0x9E3779B97F4A7C15F39CC0605CEDC835 + 7) % 2**128:032x}" for i in range(count)]


def table(stage: SubstringDuplicates, texts: Sequence[str | None]) -> pa.Table:
    """What the planner would give: ids, texts and the companion's columns."""
    column = pa.array(texts, pa.string())
    companion = stage.companions()["fingerprints"]
    found = measure(companion, companion.open(), pa.RecordBatch.from_pydict({"text": column}))
    own = {f"fingerprints.{f.name}": found[f.name] for f in found.schema}
    return pa.table({"doc_id": pa.array(ids_of(len(texts)), pa.string()), "text": column, **own})


def run(stage: SubstringDuplicates, texts: Sequence[str | None], shards: int = 1, partitions: int = 1) -> pa.Table:
    """The stage's columns, in the order of the texts."""
    rows = table(stage, texts)
    bounds = [round(i * len(texts) / shards) for i in range(shards + 1)]
    flow = MemoryFlow(
        [rows.slice(a, b - a) for a, b in zip(bounds[:-1], bounds[1:], strict=True)], partitions=partitions
    )
    stage.program(flow)
    return flow.answer()


def spans_of(answer: pa.Table) -> list[Spans | None]:
    return [None if s is None else [(x["begin"], x["end"]) for x in s] for s in answer["spans"].to_pylist()]


def oracle(texts: Sequence[str | None], keep: str, size: int) -> list[Spans | None]:
    """Look at every window of the corpus, in the order of ids, then of places."""
    ids = ids_of(len(texts))
    data = [None if t is None else t.encode() for t in texts]
    places: dict[bytes, list[tuple[int, int]]] = {}
    for d in sorted(range(len(texts)), key=lambda i: ids[i]):
        text = data[d] or b""
        for i in range(len(text) - size + 1):
            places.setdefault(text[i : i + size], []).append((d, i))
    struck = [bytearray(len(t or b"")) for t in data]
    for found in places.values():
        for d, i in (found[1:] if keep == "first" else found) if len(found) > 1 else []:
            struck[d][i : i + size] = b"\1" * size
    return [None if t is None else runs(t, mask) for t, mask in zip(data, struck, strict=True)]


def runs(text: bytes, mask: bytearray) -> Spans:
    """The runs of struck bytes, shrunk until text can be cut there."""
    found, i = [], 0
    while (begin := mask.find(1, i)) >= 0:
        i = end = mask.find(0, begin) if mask.find(0, begin) >= 0 else len(mask)
        while 0x80 <= text[begin] < 0xC0:
            begin += 1
        while end < len(text) and 0x80 <= text[end] < 0xC0:
            end -= 1
        found.append((begin, end))
    return found


@settings(max_examples=150, deadline=None)
@pytest.mark.parametrize("keep", ["first", "none"])
@given(texts=TEXTS, shards=st.integers(1, 4), partitions=st.integers(1, 3))
def test_spans_are_those_of_all_windows(texts: list[str | None], keep: Any, shards: int, partitions: int) -> None:
    stage = SubstringDuplicates(min_bytes=N, keep=keep)
    answer = run(stage, texts, shards, partitions)

    assert spans_of(answer) == oracle(texts, keep, N)
