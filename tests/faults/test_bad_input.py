"""Bad data: every record is a document or a counted, located malformed record, and nothing is lost."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from pipelines.ingest import IngestPack
from pipelines.inputs import check, freeze, packs
from pipelines.store import Store
from stages.catalog import parse
from stages.document import doc_id
from stages.errors import DataError, SpecError
from stages.sources.base import Source

SENTENCES = ["The mill grinds.", "Le moulin moud.", "水車が回る。", "الطاحونة تدور.", "Ме́льница ме́лет 🌾"]


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


def jsonl(*texts: str) -> bytes:
    return "".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts).encode()


GOOD = jsonl(*SENTENCES)


# -- gzip ------------------------------------------------------------------------------------------------------------


def test_concatenated_gzip_members_are_one_file(ingest: Ingest) -> None:
    data = gzip.compress(jsonl("a", "b")) + gzip.compress(b"") + gzip.compress(jsonl("c"))

    found = ingest({"x.jsonl.gz": data})

    assert (found.texts, found.malformed) == (["a", "b", "c"], [])


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 300, 5000])
def test_a_truncated_gzip_keeps_whole_records_and_counts_the_break_once(ingest: Ingest, cut: int) -> None:
    texts = [f"{i} {SENTENCES[i % 5]} {zlib.crc32(str(i).encode()):x}" for i in range(2000)]
    data = gzip.compress(jsonl(*texts))

    found = ingest({"x.gz": data[:-cut]})

    assert found.texts == texts[: len(found.texts)]
    assert found.malformed == [("x.gz", len(found.texts), "truncated")]
    assert len(found.texts) in (range(2000, 2001) if cut < 9 else range(1000, 2001))
    assert "x.gz" in found.messages[0]
    assert "gzip member 1" in found.messages[0]


def test_a_broken_check_sum_is_one_malformed_record_after_all_the_others(ingest: Ingest) -> None:
    data = bytearray(gzip.compress(GOOD))
    data[-6] ^= 1

    found = ingest({"x.gz": bytes(data)})

    assert (found.texts, found.malformed) == (SENTENCES, [("x.gz", 5, "crc")])


def test_a_wrong_length_in_the_trailer_is_found_too(ingest: Ingest) -> None:
    data = bytearray(gzip.compress(GOOD))
    data[-1] ^= 1

    assert ingest({"x.gz": bytes(data)}).malformed == [("x.gz", 5, "crc")]


def test_corrupt_deflate_data_is_one_malformed_record(ingest: Ingest) -> None:
    first, second = gzip.compress(GOOD), bytearray(gzip.compress(GOOD))
    second[10] = 0xFF  # the block type 3, which does not exist

    found = ingest({"x.gz": first + bytes(second)})

    assert (found.texts, found.malformed) == (SENTENCES, [("x.gz", 5, "corrupt")])


def test_garbage_after_the_last_member_is_one_malformed_record(ingest: Ingest) -> None:
    found = ingest({"x.gz": gzip.compress(GOOD) + b"<html>404</html>"})

    assert (found.texts, found.malformed) == (SENTENCES, [("x.gz", 5, "trailing-garbage")])


def test_zero_padding_after_the_last_member_is_fine_as_for_gzip(ingest: Ingest) -> None:
    assert ingest({"x.gz": gzip.compress(GOOD) + bytes(1000)}).malformed == []


def test_gzip_is_told_by_its_bytes_not_by_its_name(ingest: Ingest) -> None:
    found = ingest({"a.txt": gzip.compress(jsonl("a")), "b.gz": jsonl("b"), "c": zstandard.compress(jsonl("c"))})

    assert (found.texts, found.malformed) == (["a", "b", "c"], [])


# -- zstd ------------------------------------------------------------------------------------------------------------


def zstd(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


def test_zstd_frames_and_skippable_frames_are_one_file(ingest: Ingest) -> None:
    skippable = b"\x50\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"index"

    found = ingest({"x.zst": zstd(jsonl("a")) + skippable + zstd(jsonl("b"))})

    assert (found.texts, found.malformed) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("break_it", "reason"),
    [
        (lambda z: z[:-3], "truncated"),
        (lambda z: z[:-1] + bytes([z[-1] ^ 1]), "crc"),
        (lambda z: z + b"garbage", "trailing-garbage"),
        (lambda z: z + z[:3], "truncated"),
    ],
    ids=["cut", "check sum", "garbage", "cut header"],
)
def test_a_flaw_at_the_end_of_zstd_is_one_malformed_record(
    ingest: Ingest, break_it: Callable[[bytes], bytes], reason: str
) -> None:
    found = ingest({"x.zst": break_it(zstd(GOOD))})

    assert found.malformed == [("x.zst", len(found.texts), reason)]
    assert found.texts == SENTENCES[: len(found.texts)]


# -- bombs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_line_far_over_the_limit_is_passed_over_and_its_neighbours_stay(
    ingest: Ingest, pack: Callable[[bytes], bytes]
) -> None:
    data = jsonl("before") + b'{"text": "' + b"a" * 40_000_000 + b'"}\n' + jsonl("after")

    found = ingest({"x": pack(data)}, max_document_bytes=100_000)

    assert (found.texts, found.malformed) == (["before", "after"], [("x", 1, "too-large")])
    assert "line 2" in found.messages[0]


def test_a_text_over_the_limit_in_a_line_below_it_is_too_large(ingest: Ingest) -> None:
    found = ingest({"x": jsonl("é" * 50, "é" * 51)}, max_document_bytes=100)

    assert (found.texts, found.malformed) == (["é" * 50], [("x", 1, "too-large")])


def test_decompression_stops_at_the_cap_of_a_file(ingest: Ingest) -> None:
    found = ingest({"x.gz": gzip.compress(jsonl("a") + b"\n" * 30_000_000 + jsonl("b"))}, max_file_bytes=10_000_000)

    assert (found.texts, found.malformed) == (["a"], [("x.gz", 1, "bomb")])


# -- JSON ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "cut', "bad-json"),
        (b"not json", "bad-json"),
        (b"\x00\x00", "bad-json"),
        (b'{"text": "a\x00b"}', "bad-json"),
        (b'{"text": "a", "x": NaN}', "bad-json"),
        (b'{"text": "a", "x": Infinity}', "bad-json"),
        (b'{"text": "a"} {"text": "b"}', "bad-json"),
        (b'{"text": "a", "x": ' + b"9" * 5000 + b"}", "bad-json"),
        (b'{"text": "\xff\xfe"}', "utf-8"),
        (b'{"text": "\xed\xa0\x80"}', "utf-8"),
        (b'{"text": "\\ud800"}', "surrogate"),
        (b'{"text": "\\udc00 x"}', "surrogate"),
        (b'{"text": "a", "x": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", "too-deep"),
        (b'["text"]', "not-an-object"),
        (b'"text"', "not-an-object"),
        (b"17", "not-an-object"),
        (b"null", "not-an-object"),
        (b"{}", "no-text"),
        (b'{"text": null}', "no-text"),
        (b'{"Text": "a"}', "no-text"),
        (b'{"text": 5}', "text-not-string"),
        (b'{"text": ["a"]}', "text-not-string"),
        (b'{"text": {"a": 1}}', "text-not-string"),
        (b'{"text": true}', "text-not-string"),
    ],
)
def test_a_bad_line_is_quarantined_with_its_reason_and_place(ingest: Ingest, line: bytes, reason: str) -> None:
    found = ingest({"sub/x.jsonl": jsonl("before") + b"\n" + line + b"\n" + jsonl("after")})

    assert found.texts == ["before", "after"]
    assert found.malformed == [("sub/x.jsonl", 1, reason)]
    assert found.messages[0].startswith("sub/x.jsonl, line 3 (record 1): ")
    assert [row["ordinal"] for row in found.rows] == [0, 2]


@pytest.mark.parametrize("bad", [b'{"text": "a"}{"text": "b"}', b'{"text":\n"a"}', b'{"text": "\xff"}', b"[1]"])
def test_a_bad_line_among_many_is_found_by_the_fast_reader_too(ingest: Ingest, bad: bytes) -> None:
    texts = [f"{i} {SENTENCES[i % 5]}" * 20 for i in range(3000)]
    lines = jsonl(*texts).splitlines()

    found = ingest({"x": b"\n".join([*lines[:1500], bad, *lines[1500:]])})

    assert found.texts == texts
    assert found.documents_in == 3000 + len(bad.splitlines())


def test_nul_bidi_and_private_characters_inside_a_text_are_kept(ingest: Ingest) -> None:
    text = "a\0b \u202eabc\u202c \ue000 \ufffe \U0010ffff e\u0301"

    assert ingest({"x": jsonl(text)}).texts == [text]


def test_of_duplicate_keys_the_last_counts(ingest: Ingest) -> None:
    assert ingest({"x": b'{"text": "a", "text": "b"}\n'}).texts == ["b"]


def test_huge_integers_are_kept_digit_by_digit(ingest: Ingest) -> None:
    big = 2**200 + 1

    [row] = ingest({"x": b'{"id": %d, "text": "a", "n": {"m": [%d]}}\n' % (big, big)}).rows

    assert row["id"] == str(big)
    assert json.loads(row["meta"]) == {"n": {"m": [big]}}


def test_duplicate_ids_of_the_user_are_two_documents(ingest: Ingest) -> None:
    found = ingest({"x": b'{"id": "1", "text": "a"}\n{"id": "1", "text": "b"}\n'})

    assert [(row["id"], row["text"]) for row in found.rows] == [("1", "a"), ("1", "b")]


# -- encodings, empty files ------------------------------------------------------------------------------------------


def test_a_utf_8_byte_order_mark_is_stripped(ingest: Ingest) -> None:
    assert ingest({"x": b"\xef\xbb\xbf" + GOOD, "y.gz": gzip.compress(b"\xef\xbb\xbf" + GOOD)}).texts == SENTENCES * 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_a_file_in_utf_16_is_malformed_and_its_neighbours_stay(ingest: Ingest, encoding: str) -> None:
    mark = b"" if encoding == "utf-16" else "\ufeff".encode(encoding)

    found = ingest({"a": jsonl("a"), "b": mark + GOOD.decode().encode(encoding), "c": jsonl("c")})

    assert (found.texts, found.malformed) == (["a", "c"], [("b", 0, "utf-16")])


@pytest.mark.parametrize("kind", ["jsonl", "text", "warc", "parquet"])
def test_empty_files_hold_no_records(ingest: Ingest, kind: str) -> None:
    found = ingest({"a": b"", "b": b""}, kind=kind)

    assert (found.documents_in, found.texts, found.malformed) == (0, [], [])


def test_blank_lines_are_not_records(ingest: Ingest) -> None:
    found = ingest({"x": b"\n\r\n \t\n" + jsonl("a") + b"\n\n" + jsonl("b").rstrip() + b"\r\n   "})

    assert [(row["text"], row["ordinal"]) for row in found.rows] == [("a", 0), ("b", 1)]
    assert found.documents_in == 2


def test_a_last_line_without_a_line_feed_is_a_record(ingest: Ingest) -> None:
    assert ingest({"x": GOOD.rstrip(b"\n")}).texts == SENTENCES


def test_more_malformed_records_than_allowed_stop_the_run_and_name_the_last(ingest: Ingest) -> None:
    with pytest.raises(
        DataError, match=r"2 malformed records \(bad-json 2\), more than max_malformed = 1; .*x, line 3"
    ):
        ingest({"x": b"1{\n" + jsonl("a") + b"2{\n"}, max_malformed=1)


def test_as_many_malformed_records_as_allowed_do_not_stop_it(ingest: Ingest) -> None:
    assert ingest({"x": b"1{\n2{\n"}, max_malformed=2).documents_in == 2


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
        import os  # noqa: PLC0415

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
