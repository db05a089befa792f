import io
import json
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import Sink
from stages.errors import DataError
from stages.sinks.cutting import groups
from stages.sinks.jsonl import Jsonl
from stages.sinks.parquet import Parquet

SCHEMA = pa.schema([("doc_id", pa.string()), ("text", pa.string()), ("lang", pa.string()), ("meta", pa.string())])
ROWS = [
    {"doc_id": "0", "text": "the cat\nsat", "lang": "en", "meta": '{"n": 1.50, "big": 123456789012345678901234567890}'},
    {"doc_id": "1", "text": "猫が座った 🐈‍⬛", "lang": "ja", "meta": None},
    {"doc_id": "2", "text": "", "lang": None, "meta": "{}"},
    {"doc_id": "3", "text": "חתול \u202eאחד\u2028e\u0301", "lang": "he", "meta": '{"線":\n[true]}'},
    {"doc_id": "4", "text": 'quotes " and \\ and \u0000', "lang": "en", "meta": None},
]
DOCUMENT = st.fixed_dictionaries(
    {
        "doc_id": st.text("0123456789abcdef", min_size=1, max_size=4),
        "text": st.text(max_size=30),
        "lang": st.none() | st.sampled_from(["en", "ja"]),
        "meta": st.none() | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2).map(json.dumps),
    }
)
SINKS = [Parquet(rows=3, group_bytes=40), Jsonl(rows=3, group_bytes=40)]


def batches_of(rows: list[dict[str, Any]], cuts: list[int]) -> list[pa.RecordBatch]:
    """The rows as batches that are slices of bigger ones, cut at these positions."""
    whole = pa.RecordBatch.from_pylist(rows, SCHEMA)
    ends = sorted({min(c, len(rows)) for c in cuts} | {0, len(rows)})
    return [whole.slice(a, b - a) for a, b in pairwise(ends)]


def written(sink: Sink, batches: list[pa.RecordBatch]) -> bytes:
    file = io.BytesIO()
    sink.write(batches, SCHEMA, file)
    return file.getvalue()


def lines_of(data: bytes) -> list[str]:
    with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
        return reader.read().decode().split("\n")[:-1]


@pytest.mark.parametrize("sink", SINKS, ids=lambda s: s.kind)
@settings(max_examples=60, deadline=None)
@given(rows=st.lists(DOCUMENT, max_size=20), cuts=st.lists(st.integers(0, 20), max_size=6))
def test_bytes_do_not_depend_on_how_rows_are_cut_into_batches(
    sink: Sink, rows: list[dict[str, Any]], cuts: list[int]
) -> None:
    assert written(sink, batches_of(rows, cuts)) == written(sink, batches_of(rows, []))


@settings(max_examples=100, deadline=None)
@given(rows=st.lists(DOCUMENT, max_size=30), cuts=st.lists(st.integers(0, 30), max_size=6))
def test_groups_hold_all_rows_in_order_within_both_limits(rows: list[dict[str, Any]], cuts: list[int]) -> None:
    found = list(groups(batches_of(rows, cuts), SCHEMA, rows=4, nbytes=50))

    assert [row for table in found for row in table.to_pylist()] == rows
    for table in found:
        size = sum(len(v.encode()) for row in table.to_pylist() for v in row.values() if v)
        assert table.num_rows <= 4
        assert size <= 50 or table.num_rows == 1


@settings(max_examples=40, deadline=None)
@given(rows=st.lists(DOCUMENT, max_size=12))
def test_parquet_gives_back_the_documents(rows: list[dict[str, Any]]) -> None:
    data = written(SINKS[0], batches_of(rows, [5]))

    assert pq.read_table(io.BytesIO(data)).to_pylist() == rows


def test_parquet_row_groups_have_the_fixed_size() -> None:
    file = pq.ParquetFile(io.BytesIO(written(Parquet(rows=2), batches_of(ROWS, [1, 2, 3]))))

    assert [file.metadata.row_group(i).num_rows for i in range(file.num_row_groups)] == [2, 2, 1]
    assert file.schema_arrow.equals(SCHEMA)


def test_a_jsonl_line_has_what_is_not_null_and_meta_as_it_was_written() -> None:
    assert lines_of(written(Jsonl(), batches_of(ROWS, []))) == [
        '{"doc_id":"0","text":"the cat\\nsat","lang":"en","meta":{"n": 1.50, "big": 123456789012345678901234567890}}',
        '{"doc_id":"1","text":"猫が座った 🐈‍⬛","lang":"ja"}',
        '{"doc_id":"2","text":"","meta":{}}',
        '{"doc_id":"3","text":"חתול \u202eאחד\u2028e\u0301","lang":"he","meta":{"線":[true]}}',
        '{"doc_id":"4","text":"quotes \\" and \\\\ and \\u0000","lang":"en"}',
    ]


def test_every_frame_of_a_jsonl_file_decompresses_on_its_own() -> None:
    data = written(Jsonl(rows=2), batches_of(ROWS, []))
    frames = []
    while data:
        decompressor = zstandard.ZstdDecompressor().decompressobj()
        frames.append(decompressor.decompress(data).count(b"\n"))
        data = decompressor.unused_data

    assert frames == [2, 2, 1]


@pytest.mark.parametrize("meta", ["[1]", "7", "{", "null"])
def test_a_meta_that_is_no_object_is_an_error_that_names_the_document(meta: str) -> None:
    row = {"doc_id": "abc", "text": "x", "lang": None, "meta": meta}

    with pytest.raises(DataError, match="the meta of document abc is not a JSON object"):
        written(Jsonl(), batches_of([row], []))


def test_no_documents_give_a_valid_empty_file_with_the_schema() -> None:
    assert pq.read_table(io.BytesIO(written(Parquet(), []))).schema.equals(SCHEMA)
    assert lines_of(written(Jsonl(), [])) == []
    assert written(Jsonl(), []) != b""


def test_parquet_files_carry_no_metadata_of_the_schema() -> None:
    file = io.BytesIO()
    Parquet().write([], SCHEMA.with_metadata({"run": "17"}), file)

    assert pq.read_schema(file).metadata is None
