"""Bad files: gone, changed, out of bounds, broken Parquet and broken web archives."""

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.ingest import IngestPack
from pipelines.inputs import check, freeze, packs
from pipelines.store import Store
from stages.catalog import parse
from stages.errors import DataError, SpecError
from stages.sources.base import Source

Ingest = Callable[..., Any]
SENTENCES = ["The mill grinds.", "Le moulin moud.", "水車が回る。", "الطاحونة تدور.", "Ме́льница ме́лет 🌾"]


def jsonl(*texts: str) -> bytes:
    return "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts).encode()


GOOD = jsonl(*SENTENCES)


# -- files that are gone or have changed -----------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["deleted", "longer", "touched"])
def test_a_file_that_changed_since_it_was_frozen_is_named(tmp_path: Path, store: Store, how: str) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(GOOD)
    source = parse({"kind": "jsonl", "path": str(path)}, "source", "the source")
    assert isinstance(source, Source)
    table = freeze("web", source)
    if how == "deleted":
        path.unlink()
    elif how == "longer":
        path.write_bytes(GOOD * 2)
    else:
        os.utime(path, ns=(1, 1))
    [pack] = packs(table, source.shard_bytes)

    with pytest.raises(DataError, match=r"x\.jsonl' (is gone|has changed) since the run began"):
        IngestPack(store, "web", source, "steps/web-0", pack.name, pack.files(table))()
    with pytest.raises(DataError, match=r"x\.jsonl' (is gone|has changed) since the run began"):
        check(table)
    assert list(store.list("steps")) == []


def test_a_glob_that_matches_nothing_is_an_error_that_names_it(tmp_path: Path) -> None:
    source = parse({"kind": "jsonl", "path": str(tmp_path / "*.jsonl")}, "source", "the source")
    assert isinstance(source, Source)

    with pytest.raises(DataError, match=r"'web' matches no file at '.*\*\.jsonl'; check the path"):
        freeze("web", source)


def test_a_broken_link_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").symlink_to(tmp_path / "nowhere")
    source = parse({"kind": "jsonl", "path": str(tmp_path / "*.jsonl")}, "source", "the source")
    assert isinstance(source, Source)

    with pytest.raises(DataError, match=r"x\.jsonl' cannot be read: No such file"):
        freeze("web", source)


def test_a_file_name_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    Path(str(tmp_path) + "/\udcff.jsonl").write_bytes(GOOD)
    source = parse({"kind": "jsonl", "path": str(tmp_path / "*.jsonl")}, "source", "the source")
    assert isinstance(source, Source)

    with pytest.raises(DataError, match=r"xff\.jsonl' .*is not UTF-8; rename the file"):
        freeze("web", source)


def test_a_path_outside_the_roots_is_refused_through_links_too(tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (outside / "x.jsonl").write_bytes(GOOD)
    (inside / "x.jsonl").symlink_to(outside / "x.jsonl")
    (tmp_path / "inside2").mkdir()
    for path in (outside / "*.jsonl", inside / "*.jsonl", inside / "../outside/*.jsonl", inside / "x.jsonl", tmp_path):
        source = parse({"kind": "jsonl", "path": str(path)}, "source", "the source")
        assert isinstance(source, Source)
        with pytest.raises(SpecError, match="outside the roots"):
            freeze("web", source, [inside])


# -- Parquet ---------------------------------------------------------------------------------------------------------


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, **options)
    return sink.getvalue().to_pybytes()


def test_parquet_without_its_footer_is_one_malformed_record(ingest: Ingest) -> None:
    data = parquet(pa.table({"text": SENTENCES}))

    found = ingest(
        {"a.parquet": data[:-20], "b.parquet": data, "c.parquet": b"PAR1", "d.parquet": b"junk" * 9}, "parquet"
    )

    assert found.texts == SENTENCES
    assert found.malformed == [(f"{name}.parquet", 0, "corrupt") for name in "acd"]


def test_corrupt_pages_keep_the_rows_before_them(ingest: Ingest) -> None:
    texts = [f"{i} " + "x" * 500 for i in range(4000)]
    data = bytearray(parquet(pa.table({"text": texts}), row_group_size=1000, use_dictionary=False, compression="zstd"))
    start = pq.read_metadata(pa.BufferReader(bytes(data))).row_group(2).column(0).data_page_offset
    data[start : start + 200] = b"\xff" * 200

    found = ingest({"x": bytes(data)}, "parquet")

    assert (found.texts, found.malformed) == (texts[:2000], [("x", 2000, "corrupt")])


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (
            pa.table({"body": SENTENCES}),
            r"x has no column 'text' \(columns: body: string\); .*fields: \{text: COLUMN\}",
        ),
        (pa.table({"text": [1, 2]}), r"the column 'text' of x is int64, not a string"),
        (pa.table({"text": [["a"]]}), r"the column 'text' of x is list<.*>, not a string"),
        (
            pa.table({"text": pa.ExtensionArray.from_storage(pa.json_(), pa.array(["1"]))}),
            r"the column 'text' of x has the extension type .*; write it as a plain string",
        ),
    ],
    ids=["no text", "integers", "lists", "extension type"],
)
def test_parquet_with_a_wrong_schema_is_an_error_that_says_what_to_write(
    ingest: Ingest, table: pa.Table, problem: str
) -> None:
    with pytest.raises(DataError, match=problem):
        ingest({"x": parquet(table)}, "parquet")


def test_parquet_nulls_and_bytes_that_are_not_utf_8_are_malformed(ingest: Ingest) -> None:
    raw = pa.array([b"a", b"\xff", None, b"d"], pa.binary()).view(pa.string())

    found = ingest({"x": parquet(pa.table({"text": raw}))}, "parquet")

    assert found.texts == ["a", "d"]
    assert sorted(found.malformed) == [("x", 1, "utf-8"), ("x", 2, "no-text")]


def test_a_small_parquet_that_repeats_a_long_string_is_read_in_parts(ingest: Ingest) -> None:
    long = "z" * 1_000_000
    table = pa.table({"text": pa.array([0, 0, 0, 1] * 25, pa.int32()).cast(pa.int32())})
    table = pa.table({"text": pa.DictionaryArray.from_arrays(table["text"].chunk(0), pa.array([long, "b"]))})

    found = ingest({"x": parquet(table, compression="zstd")}, "parquet", max_document_bytes=999_999)

    assert found.texts == ["b"] * 25
    assert [reason for _, _, reason in found.malformed] == ["too-large"] * 75


# -- WARC ------------------------------------------------------------------------------------------------------------


def page(
    text: str, kind: str = "text/html; charset=utf-8", status: str = "200 OK", length: int | str | None = None
) -> bytes:
    html = f"<html><body><p>{text}</p></body></html>".encode()
    body = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n\r\n".encode() + html
    head = "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://mill.example/\r\n"
    return f"{head}Content-Length: {len(body) if length is None else length}\r\n\r\n".encode() + body + b"\r\n\r\n"


@pytest.mark.parametrize("length", [5, 9, 100_000, "-1", "", "12x", 10**30, 10**12])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_warc_record_with_a_wrong_length_is_malformed_and_the_next_is_read(
    ingest: Ingest, length: int | str, pack: Callable[[bytes], bytes]
) -> None:
    parts = [page("水車"), page("broken", length=length), page("الطاحونة"), page("🌾")]

    found = ingest({"x.warc": b"".join(map(pack, parts))}, "warc", extract="all")

    assert found.texts == ["水車", "الطاحونة", "🌾"]
    assert found.malformed == [("x.warc", 1, "bad-warc")]
    assert f"byte {len(parts[0])}" in found.messages[0]


def test_a_warc_that_ends_inside_a_record_is_truncated(ingest: Ingest) -> None:
    found = ingest({"x": page("a") + page("b")[:-30]}, "warc", extract="all")

    assert (found.texts, found.malformed) == (["a"], [("x", 1, "truncated")])


def test_a_warc_record_followed_by_no_record_has_a_length_that_cannot_be_trusted(ingest: Ingest) -> None:
    found = ingest({"x": page("a") + page("b") + b"garbage\r\nmore\r\n" + page("c")}, "warc", extract="all")

    assert (found.texts, found.malformed) == (["a", "c"], [("x", 1, "bad-warc")])


def test_what_is_no_page_is_skipped_and_counted_by_reason(ingest: Ingest) -> None:
    info = b"WARC/1.0\r\nWARC-Type: warcinfo\r\nContent-Length: 4\r\n\r\nabcd\r\n\r\n"
    parts = [info, page("a"), page("b", kind="image/png"), page("c", status="404 Not Found"), page("d")]

    found = ingest({"x": b"".join(parts)}, "warc", extract="all")

    assert [(row["text"], row["ordinal"]) for row in found.rows] == [("a", 1), ("d", 4)]
    assert found.skipped == {"HTTP status 4xx": 1, "content type image/png": 1, "record of type warcinfo": 1}


def test_text_files_that_are_not_utf_8_are_malformed(ingest: Ingest) -> None:
    found = ingest(
        {"a.txt": "水車".encode(), "b.txt": "水車".encode("shift-jis"), "c.txt": b"x" * 99},
        "text",
        max_document_bytes=98,
    )

    assert (found.texts, found.malformed) == (["水車"], [("b.txt", 0, "utf-8"), ("c.txt", 0, "too-large")])
