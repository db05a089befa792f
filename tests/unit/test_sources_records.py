"""Records become documents: fields are mapped, the rest is kept, and how a file was read changes nothing."""

import gzip
import json
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.catalog import parse
from stages.document import DOCUMENT, doc_id
from stages.errors import SpecError
from stages.sources import json_columns
from stages.sources.base import Small, Source
from stages.sources.jsonl import Jsonl
from stages.sources.parquet import Parquet
from stages.sources.rows import GROUP_ROWS, Malformed, Rows
from stages.sources.text import Text
from stages.sources.warc import Warc


class Read:
    """What a source makes of files: groups, malformed records, and what was skipped."""

    def __init__(self, source: Source, files: Sequence[Small], *, room: int = 10**9, together: bool = False) -> None:
        self.groups: list[pa.RecordBatch] = []
        self.malformed: list[Malformed] = []
        self._room = self._left = room
        rows = Rows("mill", room, self._write, self.malformed.append)
        if together:
            source.read_many(files, rows)
        else:
            for file in files:
                rows.begin(file.path)
                source.read(file, rows)
        rows.flush()
        self.skipped = dict(rows.skipped)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [row for group in self.groups for row in group.to_pylist()]

    def _write(self, group: pa.RecordBatch) -> int:
        assert group.schema == DOCUMENT
        self.groups.append(group)
        self._left -= sum(len(text.encode()) for text in group["text"].to_pylist())
        if self._left <= 0:
            self._left = self._room
        return self._left


def jsonl(records: Sequence[Any]) -> bytes:
    return "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records).encode()


def test_a_record_becomes_a_document_and_the_rest_of_it_meta() -> None:
    record = {
        "id": 17, "text": "水車\0🌾", "source": "", "url": None, "lang": "ja", "domain": ["a"], "license": "MIT",
        "n": 1.5, "deep": {"x": [1, None]}, "none": None,
    }  # fmt: skip

    [row] = Read(Jsonl(path="x"), [Small("a/b.jsonl", jsonl([record]))]).rows

    assert row == {
        "doc_id": doc_id("mill", "a/b.jsonl", 0),
        "id": "17",
        "text": "水車\0🌾",
        "source": "mill",
        "path": "a/b.jsonl",
        "ordinal": 0,
        "url": None,
        "snapshot": None,
        "domain": None,
        "license": "MIT",
        "lang": "ja",
        "meta": '{"n":1.5,"deep":{"x":[1,null]},"none":null,"domain":["a"]}',
    }


def test_fields_map_other_schemas_and_reach_into_nested_objects() -> None:
    source = Jsonl(path="x", fields={"text": "body.content", "url": "meta.url", "id": "a.b"})
    record = {"body": {"content": "t", "n": 1}, "meta": {"url": "u"}, "a.b": "dotted", "text": "kept", "a": {"b": 1}}

    [row] = Read(source, [Small("p", jsonl([record]))]).rows

    assert (row["text"], row["url"], row["id"]) == ("t", "u", "dotted")
    assert json.loads(row["meta"]) == {"body": {"n": 1}, "meta": {}, "text": "kept", "a": {"b": 1}}


def test_a_field_for_an_unknown_column_is_a_spec_error_with_a_suggestion() -> None:
    with pytest.raises(SpecError, match=r"`fields` maps 'txt', which is not a document column; did you mean 'text'\?"):
        parse({"kind": "jsonl", "path": "x", "fields": {"txt": "body"}}, "source", "the source")


def test_where_files_are_and_what_is_tolerated_is_not_in_the_identity() -> None:
    one = Jsonl(path="a", max_malformed=3).identity()

    assert one == Jsonl(path="b").identity()
    assert one != Jsonl(path="a", max_malformed=3, shard_bytes=5).identity()


#: Records as they are, good and bad, so that blocks of every mixture come up.
VALUE = st.text(max_size=8) | st.none()
RECORD = st.fixed_dictionaries({"text": st.text(max_size=40)}, optional={"id": VALUE, "url": VALUE, "source": VALUE})
ODD = st.sampled_from(
    [b"", b"  ", b"{}", b"[]", b'{"text": 1}', b'{"text": "\xff"}', b'{"text": "a"}{"text": "b"}', b'{"text":', b'"a"}',
     b'{"text": "a", "text": "b"}', b'{"text": "\\ud800"}', b'{"text": "a", "n": 1}', b'{"text": "a"}\r', b'{"\\u0074ext": "a"}']
)  # fmt: skip
LINE = RECORD.map(lambda r: json.dumps(r, ensure_ascii=len(r["text"]) % 2 == 0).encode()) | ODD


@settings(max_examples=200, deadline=None)
@given(lines=st.lists(LINE, max_size=12), end=st.booleans())
def test_the_fast_reader_gives_what_the_careful_one_gives_or_declines(lines: list[bytes], *, end: bool) -> None:
    data = b"\n".join(lines) + (b"\n" if end else b"")
    filler = b'{"text": "' + b"x" * json_columns.MIN_BYTES + b'"}\n'

    fast = json_columns.reader({}, 10**6)(filler + data, 0)
    careful = Read(Jsonl(path="x", max_document_bytes=10**6), [Small("p", b"\n" + filler + data)])

    if fast is not None:
        columns = [c for c in fast.schema.names if c != "source"]
        assert careful.malformed == []
        assert fast.select(columns).to_pylist() == [{c: row[c] for c in columns} for row in careful.rows]
        assert [s or "mill" for s in fast["source"].to_pylist()] == [row["source"] for row in careful.rows]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.text(max_size=300), max_size=8), min_size=1, max_size=60), st.integers(500, 90_000))
def test_files_read_together_give_the_groups_of_files_read_one_by_one(texts: list[list[str]], room: int) -> None:
    files = [Small(f"{i:03d}", jsonl([{"text": "x" * 3000 + t} for t in ts])) for i, ts in enumerate(texts)]
    files = [f for f in files if f.data]
    source = Jsonl(path="x")

    files.append(Small("z", jsonl([{"text": "z" * json_columns.MIN_BYTES}])))  # enough for the fast reader
    one, many = Read(source, files, room=room), Read(source, files, room=room, together=True)

    assert [g.to_pylist() for g in one.groups] == [g.to_pylist() for g in many.groups]
    assert [r["doc_id"] for r in many.rows] == [doc_id("mill", r["path"], r["ordinal"]) for r in many.rows]


def test_groups_depend_on_the_documents_alone() -> None:
    texts = [f"{i} {'水車' * (i % 40)}" for i in range(3 * GROUP_ROWS)]
    plain = Read(Jsonl(path="x"), [Small("p", jsonl([{"text": t} for t in texts]))])
    careful = Read(Jsonl(path="x"), [Small("p", b"\n".join(json.dumps({"text": t}).encode() + b" " for t in texts))])

    assert [g.num_rows for g in plain.groups] == [GROUP_ROWS] * 3
    assert [g.to_pylist() for g in plain.groups] == [g.to_pylist() for g in careful.groups]
    assert [g["ordinal"][0].as_py() for g in plain.groups] == [0, GROUP_ROWS, 2 * GROUP_ROWS]


def parquet(table: pa.Table, **options: Any) -> bytes:
    import pyarrow.parquet as pq  # noqa: PLC0415  # only some tests write Parquet

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string()), pa.string_view()]
)
@pytest.mark.parametrize("dictionary", [True, False])
def test_parquet_text_of_every_string_type_comes_out_alike(kind: pa.DataType, *, dictionary: bool) -> None:
    texts = ["水車", "", "🌾 e\u0301", "水車"] * 700
    column = pa.array(texts).cast(kind) if not pa.types.is_dictionary(kind) else pa.array(texts).dictionary_encode()

    read = Read(Parquet(path="x"), [Small("p", parquet(pa.table({"text": column}), use_dictionary=dictionary))])

    assert [row["text"] for row in read.rows] == texts
    assert [row["ordinal"] for row in read.rows] == list(range(2800))


def test_parquet_columns_are_mapped_kept_or_counted() -> None:
    import datetime as dt  # noqa: PLC0415  # one test needs dates

    table = pa.table(
        {
            "content": ["a", "b"], "id": [5, None], "score": [0.5, None], "ok": [True, False], "url": ["u", None],
            "day": [dt.date(2024, 1, 2), None], "vector": [[1.0], [2.0]], "blob": [b"1", b"2"],
        }
    )  # fmt: skip

    read = Read(Parquet(path="x", fields={"text": "content"}), [Small("p", parquet(table))])

    assert [(r["text"], r["id"], r["url"]) for r in read.rows] == [("a", "5", "u"), ("b", None, None)]
    assert [json.loads(r["meta"]) for r in read.rows] == [
        {"score": 0.5, "ok": True, "day": "2024-01-02"},
        {"ok": False},
    ]
    assert read.skipped == {"column vector": 2, "column blob": 2}


def test_parquet_files_may_differ_in_what_is_not_text() -> None:
    files = [
        Small("a", parquet(pa.table({"text": ["a"], "id": [1]}))),
        Small("b", parquet(pa.table({"id": ["x"], "more": [1], "text": ["b"]}))),
        Small("c", parquet(pa.table({"text": pa.array([], pa.string())}))),
    ]

    assert [(r["text"], r["id"], r["meta"]) for r in Read(Parquet(path="x"), files).rows] == [
        ("a", "1", None),
        ("b", "x", '{"more":1}'),
    ]


@pytest.mark.parametrize(
    ("split", "texts"),
    [
        ("file", ["\n水車\r\nb\n\n \nc\n\nd"]),
        ("lines", ["水車", "b", "c", "d"]),
        ("paragraphs", ["水車\nb", "c", "d"]),
    ],
)
def test_text_is_a_document_a_file_a_line_or_a_paragraph(split: str, texts: list[str]) -> None:
    source = Text.model_validate({"path": "x", "split": split})

    read = Read(source, [Small("a", "\n水車\r\nb\n\n \nc\n\nd".encode())])

    assert [row["text"] for row in read.rows] == texts
    assert [row["ordinal"] for row in read.rows] == list(range(len(texts)))


def test_a_text_over_the_limit_is_malformed_however_it_is_split() -> None:
    for split, data in (("file", "x" * 11), ("lines", "x" * 11), ("paragraphs", "x" * 5 + "\n" + "y" * 5)):
        source = Text.model_validate({"path": "x", "split": split, "max_document_bytes": 10})
        read = Read(source, [Small("a", data.encode())])
        assert ([m.reason for m in read.malformed], read.rows) == (["too-large"], [])


def response(payload: bytes, *headers: str) -> bytes:
    body = "\r\n".join(["HTTP/1.1 200 OK", *headers, "", ""]).encode() + payload
    head = f"WARC/1.1\r\nWARC-Type: response\r\nWARC-Target-URI: <https://mill.example/a>\r\nWARC-Date: 2024-01-01\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body + b"\r\n\r\n"


PAGE = "<html><head><title>t</title></head><body><p>水車が回る。</p></body></html>"
WITH_META = PAGE.replace("<title>", '<meta charset="shift_jis"><title>')


@pytest.mark.parametrize(
    ("payload", "headers"),
    [
        (PAGE.encode(), ["Content-Type: text/html; charset=UTF-8"]),
        (PAGE.encode("euc-jp"), ['content-type: Text/HTML; charset="euc-jp"']),
        (WITH_META.encode("shift-jis"), ["Content-Type: text/html"]),
        (b"\xef\xbb\xbf" + PAGE.encode(), ["Content-Type: application/xhtml+xml"]),
        (b"%x\r\n%s\r\n0\r\n\r\n" % (len(PAGE.encode()), PAGE.encode()), ["Content-Type: text/html;charset=utf-8", "Transfer-Encoding: chunked"]),
        (PAGE.encode(), ["Content-Type: text/html;charset=utf-8", "Transfer-Encoding: chunked", "Content-Encoding: gzip"]),
        (gzip.compress(PAGE.encode()), ["Content-Type: text/html;charset=utf-8", "Content-Encoding: gzip"]),
    ],
    ids=["header", "quoted", "meta", "mark", "chunked", "removed by the archive", "gzip"],
)  # fmt: skip
def test_a_page_is_decoded_as_it_was_sent(payload: bytes, headers: list[str]) -> None:
    [row] = Read(Warc(path="x", extract="all"), [Small("p", response(payload, *headers))]).rows

    assert row["text"] == "水車が回る。"
    assert (row["url"], row["snapshot"]) == ("https://mill.example/a", "2024-01-01")


def test_deeply_nested_html_is_read_or_refused_but_breaks_nothing() -> None:
    html = b"<div>" * 50_000 + "回る".encode()

    read = Read(Warc(path="x", extract="all"), [Small("p", response(html, "Content-Type: text/html; charset=utf-8"))])

    assert len(read.rows) + len(read.malformed) == 1
