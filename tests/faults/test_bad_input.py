"""Bad records and bad streams: every one is counted, located and named, and nothing else is lost."""

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from stages.errors import DataError

Ingest = Callable[..., Any]
SENTENCES = ["The mill grinds.", "Le moulin moud.", "水車が回る。", "الطاحونة تدور.", "Ме́льница ме́лет 🌾"]


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
