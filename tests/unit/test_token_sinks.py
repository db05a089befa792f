"""Token formats against files that their own libraries wrote, and against slow readers of the published layouts."""

import hashlib
import io
import json
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import DataError, SpecError
from stages.sinks import litdata, mds
from stages.sinks.jsonl import Jsonl
from stages.sinks.litdata import Litdata
from stages.sinks.mds import Mds
from stages.sinks.megatron import Megatron
from stages.sinks.parquet import Parquet
from stages.sinks.token_ids import Coding, TokenSink
from stages.sinks.webdataset import Webdataset

GOLDEN = Path(__file__).parent / "token_golden"
CODINGS = {"narrow": Coding(300, 299), "wide": Coding(70_000, 69_999)}
Rows = list[dict[str, Any]]
TOKEN_SINKS = [Litdata(), Megatron(), Mds(), Mds(columns=("text", "meta")), Webdataset(), Litdata(end_of_text=False)]
DOCUMENTS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.text(max_size=12),
            "meta": st.none() | st.dictionaries(st.text(max_size=3), st.integers(0, 9), max_size=2).map(json.dumps),
            "tokens": st.lists(st.integers(0, 298), max_size=400) | st.lists(st.integers(0, 298), max_size=4),
        }
    ),
    max_size=12,
).map(lambda found: [{"doc_id": f"{i:032x}", **row} for i, row in enumerate(found)])


def schema_of(sink: TokenSink | Parquet, coding: Coding, more: tuple[pa.Field, ...] = ()) -> pa.Schema:
    """What an export by the sink hands it, of documents with an id, a text, meta and tokens."""
    text, meta = pa.field("text", pa.string()), pa.field("meta", pa.string())
    wanted = sink.wanted(("doc_id", "text", "meta"), ["tokens.ids"])
    known = {
        "doc_id": pa.field("doc_id", pa.string()),
        "text": text,
        "meta": meta,
        "tokens.ids": coding.field("tokens"),
    }
    return pa.schema([known[name] for name in wanted] + list(more))


def written(
    sink: Any, rows: Rows, schema: pa.Schema, cuts: list[int] | None = None
) -> tuple[list[bytes], dict[str, int]]:
    """The data file and its companions, and what writing them gave."""
    whole = pa.RecordBatch.from_pylist([{n: row[n] for n in schema.names} for row in rows], schema)
    ends = sorted({min(c, len(rows)) for c in cuts or []} | {0, len(rows)})
    files = [io.BytesIO() for _ in (sink.suffix, *sink.companions)]
    counts = sink.write_all([whole.slice(a, b - a) for a, b in pairwise(ends)], schema, files)
    return [file.getvalue() for file in files], dict(counts)


def part(name: str, data: bytes, counts: dict[str, int]) -> dict[str, Any]:
    return {"name": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest(), **counts}


# -- golden files ------------------------------------------------------------------------------------------------------


def golden(width: str) -> Rows:
    """The documents of the golden files, without the end-of-text token that each of them ends with."""
    found = json.loads((GOLDEN / "documents.json").read_text(encoding="utf-8"))
    return [{**row, "tokens": row["ids"][width][:-1]} for row in found]


@pytest.mark.parametrize("width", CODINGS)
def test_litdata_chunks_are_those_that_litdata_writes(width: str) -> None:
    sink = Litdata()
    schema = schema_of(sink, CODINGS[width])

    (data,), counts = written(sink, golden(width), schema)
    index = json.loads(sink.index([part("chunk-0-0.bin", data, counts)], schema)["index.json"])

    expected = json.loads((GOLDEN / f"litdata-{width}" / "index.json").read_bytes())
    assert data == (GOLDEN / f"litdata-{width}" / "chunk-0-0.bin").read_bytes()
    assert index["chunks"] == expected["chunks"]
    assert index["config"] | {"chunk_bytes": 0} == {n: expected["config"][n] for n in index["config"]} | {
        "chunk_bytes": 0
    }


@pytest.mark.parametrize("width", CODINGS)
def test_mds_shards_are_those_that_streaming_writes(width: str) -> None:
    sink = Mds(columns=("text",))
    schema = schema_of(sink, CODINGS[width], (pa.field("epochs", pa.int64()),))

    (data,), counts = written(sink, golden(width), schema)
    index = json.loads(sink.index([part("shard.00000.mds", data, counts)], schema)["index.json"])

    assert data == (GOLDEN / f"mds-{width}" / "shard.00000.mds").read_bytes()
    assert index == json.loads((GOLDEN / f"mds-{width}" / "index.json").read_bytes())


@pytest.mark.parametrize("width", CODINGS)
def test_megatron_pairs_are_those_that_megatron_core_writes(width: str) -> None:
    sink = Megatron()

    files, counts = written(sink, golden(width), schema_of(sink, CODINGS[width]))

    assert files == [(GOLDEN / f"megatron-{width}" / f"part.{end}").read_bytes() for end in ("bin", "idx")]
    assert counts == {"documents": 5, "tokens": 314}


# -- slow readers ------------------------------------------------------------------------------------------------------


def unpack(form: str, data: bytes, at: int) -> tuple[Any, ...]:
    return struct.unpack(form, data[at : at + struct.calcsize(form)])


def read_litdata(files: list[bytes]) -> list[list[int]]:
    """N, N + 1 offsets, and the ids between each two of them."""
    (data,) = files
    (rows,) = unpack("<I", data, 0)
    offsets = unpack(f"<{rows + 1}I", data, 4)
    assert (offsets[0], offsets[-1]) == (4 * (rows + 2), len(data))
    return [[v for (v,) in struct.iter_unpack("<H", data[a:b])] for a, b in pairwise(offsets)]


def read_megatron(files: list[bytes]) -> list[list[int]]:
    """Magic, version, type, counts; lengths, places, and the sequences that documents begin at."""
    data, index = files
    assert (index[:9], unpack("<QB", index, 9)) == (b"MMIDIDX\0\0", (1, 8))
    rows, places = unpack("<QQ", index, 18)
    assert places == rows + 1
    lengths = unpack(f"<{rows}i", index, 34)
    starts = unpack(f"<{rows}q", index, 34 + 4 * rows)
    assert unpack(f"<{rows + 1}q", index, 34 + 12 * rows) == tuple(range(rows + 1))
    assert len(index) == 34 + 12 * rows + 8 * (rows + 1)
    assert len(data) == 2 * sum(lengths)
    return [list(unpack(f"<{n}H", data, at)) for n, at in zip(lengths, starts, strict=True)]


def read_mds(files: list[bytes]) -> list[dict[str, Any]]:
    """N, N + 1 offsets, the columns as JSON; in each sample the sizes of all columns, then the columns."""
    (data,) = files
    (rows,) = unpack("<I", data, 0)
    offsets = unpack(f"<{rows + 1}I", data, 4)
    config = json.loads(data[4 * (rows + 2) : offsets[0]])
    found = []
    for a, b in pairwise(offsets):
        sizes = unpack(f"<{len(config['column_names'])}I", data, a)
        at, row = a + 4 * len(sizes), {}
        for name, kind, size in zip(config["column_names"], config["column_encodings"], sizes, strict=True):
            value = data[at : at + size]
            row[name] = value.decode() if kind == "str" else json.loads(value) if kind == "json" else _array(value)
            at += size
        assert at == b
        found.append(row)
    return found


def _array(value: bytes) -> list[int]:
    width = 1 << (value[0] & 3)
    assert value[0] >> 2 == 1, "one dimension"
    length = int.from_bytes(value[1 : 1 + width], "little")
    ids = [v for (v,) in struct.iter_unpack("<H", value[1 + width :])]
    assert len(ids) == length
    return ids


@settings(max_examples=60, deadline=None)
@given(rows=DOCUMENTS)
@pytest.mark.parametrize(
    ("sink", "read"), [(Litdata(), read_litdata), (Megatron(), read_megatron)], ids=["litdata", "megatron"]
)
def test_a_slow_reader_finds_the_ids_of_every_document_and_the_end_of_text_after_them(
    sink: TokenSink, read: Callable[[list[bytes]], list[list[int]]], rows: Rows
) -> None:
    files, counts = written(sink, rows, schema_of(sink, CODINGS["narrow"]))

    assert read(files) == [[*row["tokens"], 299] for row in rows]
    assert counts == {"documents": len(rows), "tokens": sum(len(row["tokens"]) + 1 for row in rows)}


@settings(max_examples=60, deadline=None)
@given(rows=DOCUMENTS)
def test_a_slow_reader_of_mds_finds_ids_texts_and_tokens(rows: Rows) -> None:
    sink = Mds(columns=("text", "meta"))

    files, _ = written(sink, rows, schema_of(sink, CODINGS["narrow"]))

    expected = [
        {**row, "tokens": [*row["tokens"], 299], "meta": None if row["meta"] is None else json.loads(row["meta"])}
        for row in rows
    ]
    assert read_mds(files) == expected


# -- all of them -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", TOKEN_SINKS, ids=lambda s: f"{s.kind}-{s.end_of_text}")
@settings(max_examples=25, deadline=None)
@given(rows=DOCUMENTS, cuts=st.lists(st.integers(0, 12), max_size=5))
def test_bytes_do_not_depend_on_how_rows_are_cut_into_batches(sink: TokenSink, rows: Rows, cuts: list[int]) -> None:
    schema = schema_of(sink, CODINGS["narrow"])

    assert written(sink, rows, schema, cuts) == written(sink, rows, schema)


def test_without_end_of_text_documents_are_their_own_tokens() -> None:
    rows = [{"tokens": [1, 2]}, {"tokens": []}, {"tokens": [3]}]
    sink = Megatron(end_of_text=False)

    files, counts = written(sink, rows, schema_of(sink, CODINGS["narrow"]))

    assert read_megatron(files) == [[1, 2], [], [3]]
    assert counts == {"documents": 3, "tokens": 3}


@pytest.mark.parametrize(
    ("sink", "vocabulary", "dtype"),
    [
        (Litdata(), 65_536, "uint16"),
        (Litdata(), 65_537, "int32"),
        (Megatron(), 65_537, "int32"),
        (Mds(), 65_537, "uint32"),
        (Webdataset(), 65_536, "uint16"),
        (Megatron(dtype="int32"), 300, "int32"),
        (Mds(dtype="int64"), 300, "int64"),
    ],
)
def test_ids_have_16_bits_where_the_vocabulary_fits_unless_asked_otherwise(
    sink: TokenSink, vocabulary: int, dtype: str
) -> None:
    assert sink.width(schema_of(sink, Coding(vocabulary, 0))).name == dtype


def test_parquet_and_jsonl_hold_token_ids_as_they_were_measured() -> None:
    sink = Parquet(columns=("doc_id", "tokens.ids"))
    schema = schema_of(sink, CODINGS["wide"])
    rows = [{"doc_id": "a", "tokens": [1, 69_998]}, {"doc_id": "b", "tokens": []}, {"doc_id": "c", "tokens": None}]

    (table,), _ = written(sink, rows, schema, [1])
    (lines,), _ = written(Jsonl(columns=("doc_id", "tokens.ids")), rows, schema)

    found = pq.read_table(io.BytesIO(table))
    assert found.to_pylist() == rows
    assert found.schema.field("tokens").type == pa.list_(pa.uint32())
    assert lines[:4] == b"\x28\xb5\x2f\xfd"


def test_row_groups_are_cut_by_the_bytes_of_token_ids_too() -> None:
    sink = Parquet(columns=("doc_id", "tokens.ids"), group_bytes=100)
    rows = [{"doc_id": "0123456789", "tokens": [7] * 10} for _ in range(5)]

    (table,), _ = written(sink, rows, schema_of(sink, CODINGS["narrow"]))

    file = pq.ParquetFile(io.BytesIO(table))
    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 1]


def test_an_index_of_no_documents_is_valid_json() -> None:
    for sink in (Litdata(), Mds()):
        schema = schema_of(sink, CODINGS["narrow"])
        (data,), counts = written(sink, [], schema)

        index = json.loads(sink.index([part("part-00000.x", data, counts)], schema)["index.json"])

        assert index.get("shards", []) == []
        assert [chunk["dim"] for chunk in index.get("chunks", [])] in ([], [0])


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sink", [Litdata(), Mds(), Megatron()], ids=lambda s: s.kind)
def test_a_run_without_tokens_is_told_what_to_add(sink: TokenSink) -> None:
    with pytest.raises(
        SpecError, match=r"measures none; add a step such as `tokens: \{kind: tokens, tokenizer: artifact:NAME\}`"
    ):
        sink.wanted(("doc_id", "text"), [])


def test_of_several_steps_of_tokens_one_must_be_chosen() -> None:
    assert Litdata(tokens="b").wanted((), ["a.ids", "b.ids"]) == ("b.ids",)
    with pytest.raises(SpecError, match="the steps a, b all give some; choose one with `tokens: a`"):
        Litdata().wanted((), ["a.ids", "b.ids"])
    with pytest.raises(SpecError, match="`tokens` names 'bb', which is no step of tokens"):
        Litdata(tokens="bb").wanted((), ["a.ids", "b.ids"])


@pytest.mark.parametrize(
    ("sink", "coding", "message"),
    [
        (
            Litdata(dtype="uint16"),
            Coding(65_537, 0),
            "a vocabulary of 65537 does not fit into uint16; leave `dtype` out",
        ),
        (Megatron(), Coding(300, None), "no end-of-text token to put between documents; write `end_of_text: false`"),
    ],
)
def test_what_cannot_be_written_is_refused_before_anything_is(sink: TokenSink, coding: Coding, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        sink.check(schema_of(sink, coding))


def test_a_tokenizer_that_is_not_known_yet_refuses_nothing() -> None:
    Litdata(dtype="uint16").check(schema_of(Litdata(), Coding(None, None)))


def test_a_kept_document_without_tokens_is_an_error_that_names_it() -> None:
    rows = [{"doc_id": "abc", "tokens": [1]}, {"doc_id": "def", "tokens": None}]

    with pytest.raises(DataError, match="def is kept and its tokens are unknown; reject such documents"):
        written(Mds(), rows, schema_of(Mds(), CODINGS["narrow"]))


@pytest.mark.parametrize("sink", [Litdata(), Mds(), Megatron(), Webdataset()], ids=lambda s: s.kind)
def test_an_id_beyond_the_vocabulary_is_an_error(sink: TokenSink) -> None:
    rows = [{"doc_id": "a", "text": "", "meta": None, "tokens": [300]}]

    with pytest.raises(DataError, match="the token 300, beyond the vocabulary of 300"):
        written(sink, rows, schema_of(sink, CODINGS["narrow"]))


@pytest.mark.parametrize(("sink", "module"), [(Litdata(), litdata), (Mds(), mds)], ids=["litdata", "mds"])
def test_a_file_that_offsets_of_32_bits_cannot_span_is_refused(
    sink: TokenSink, module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 500)
    rows = [{"doc_id": "a", "tokens": [1] * 300}]

    with pytest.raises(SpecError, match=r"more than the format '\w+' can hold \(4 GiB\); write smaller files"):
        written(sink, rows, schema_of(sink, CODINGS["narrow"]))
