"""The two ideas under every source: bytes are decompressed in bounded blocks, lines are cut from them whole."""

import gzip
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.sources.decompress import BLOCK, Flaw, plain
from stages.sources.encoding import utf8
from stages.sources.lines import TooLong, line_blocks

TEXTS = st.lists(st.binary(max_size=2000) | st.just("水車 Ме́льница 🌾\n".encode() * 50), max_size=6)


def cut(data: bytes, size: int) -> Iterator[bytes]:
    return (data[i : i + size] for i in range(0, len(data), size))


def read(data: bytes, size: int = 1 << 16, max_bytes: int = 10**9) -> tuple[bytes, str]:
    """What a stream gives, and the reason of the flaw that ended it."""
    found = b""
    try:
        for block in plain(cut(data, size), max_bytes):
            assert len(block) <= BLOCK
            found += block
    except Flaw as flaw:
        return found, flaw.reason
    return found, ""


@settings(deadline=None)
@given(TEXTS, st.integers(1, 3000), st.sampled_from(["gzip", "zstd"]))
def test_any_members_in_any_blocks_give_their_bytes_joined(parts: list[bytes], size: int, kind: str) -> None:
    pack = gzip.compress if kind == "gzip" else zstandard.compress

    assert read(b"".join(map(pack, parts)), size) == (b"".join(parts), "")


@settings(deadline=None)
@given(TEXTS, st.integers(1, 3000), st.data(), st.sampled_from(["gzip", "zstd"]))
def test_a_stream_cut_anywhere_gives_a_beginning_of_its_bytes(
    parts: list[bytes], size: int, data: st.DataObject, kind: str
) -> None:
    pack = gzip.compress if kind == "gzip" else zstandard.compress
    packed = [pack(p) for p in [b"first", *parts]]
    whole = b"".join(packed)
    end = data.draw(st.integers(4, len(whole)))
    borders = {sum(map(len, packed[:i])) for i in range(1, len(packed) + 1)}

    found, flaw = read(whole[:end], size)

    assert b"".join([b"first", *parts]).startswith(found)
    assert flaw == ("" if end in borders else "truncated")


def test_gzip_headers_with_name_comment_extra_field_and_check_are_passed_over() -> None:
    body = gzip.compress(b"mill")[10:]
    header = b"\x1f\x8b\x08" + bytes([2 | 4 | 8 | 16]) + bytes(6) + b"\x03\x00abc" + b"n" * 300 + b"\0" + b"c\0" + b"hh"

    assert read(header + body, 7) == (b"mill", "")


@given(
    st.binary(max_size=300).filter(lambda b: b[:2] != b"\x1f\x8b" and b[:4] != b"\x28\xb5\x2f\xfd"), st.integers(1, 50)
)
def test_anything_else_is_plain(data: bytes, size: int) -> None:
    assert read(data, size) == (data, "")


def test_no_block_is_large_whatever_the_data_claim() -> None:
    data = bytes(50_000_000)

    assert read(zstandard.compress(data), max_bytes=10**9) == (data, "")
    assert read(gzip.compress(data), max_bytes=20_000_000)[1] == "bomb"


@settings(deadline=None)
@given(
    parts=st.lists(st.binary(max_size=30), max_size=20),
    size=st.integers(1, 40),
    limit=st.integers(1, 25),
    end=st.booleans(),
)
def test_lines_are_those_of_split_but_for_the_long_ones(
    parts: list[bytes], size: int, limit: int, *, end: bool
) -> None:
    data = b"\n".join(parts) + (b"\n" if end else b"")
    expected = data.split(b"\n")
    if not expected[-1]:
        expected.pop()

    found: list[bytes | int] = []
    for block in line_blocks(cut(data, size), limit):
        if isinstance(block, TooLong):
            found.append(block.bytes)
        else:
            lines = block.split(b"\n")
            found += lines[:-1] if not lines[-1] else lines

    assert [len(f) if isinstance(f, bytes) else f for f in found] == [len(line) for line in expected]
    assert all(f == line or (f == len(line) > limit) for f, line in zip(found, expected, strict=True))


def test_whole_lines_before_a_flaw_are_given_and_the_rest_is_not() -> None:
    def blocks() -> Iterator[bytes]:
        yield b"a\nb"
        yield b"c\nd"
        raise Flaw("truncated", "here")

    found = []
    with pytest.raises(Flaw):
        found.extend(line_blocks(blocks(), 100))

    assert found == [b"a\nbc\n"]


@given(st.integers(1, 5))
def test_only_the_mark_at_the_very_start_is_stripped(size: int) -> None:
    assert b"".join(utf8(cut(b"\xef\xbb\xbf\xef\xbb\xbfx", size))) == b"\xef\xbb\xbfx"
    assert b"".join(utf8(cut(b"\xef", size))) == b"\xef"
