"""Stored bytes -> the bytes that were meant: plain, gzip (any number of members) or zstd (any number of frames).

The kind is told by the first bytes, never by the file's name. Output comes in bounded blocks whatever the input
claims, so a bomb costs time but no memory. A flaw ends the stream with a `Flaw` after everything that could be
read; where the compressed data itself is corrupt, that is up to the last slice of `SLICE` compressed bytes.

gzip: RFC 1952, checked here (length and CRC-32 of every member); the deflate streams are ISA-L's work.
zstd: RFC 8878. A frame that wants a window over 128 MB is refused by the library, which bounds its memory.
"""

from collections.abc import Iterator

import zstandard
from isal import igzip_lib, isal_zlib

#: Compressed bytes given to a decompressor at once. A zstd block of 4 bytes can become 128 KB, so this bounds
#: the output of one call at 64 MB for zstd; gzip's is bounded by `BLOCK`.
SLICE = 16_384
ZSTD_SLICE = 2_048
BLOCK = 1 << 20

GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
MAGIC_BYTES = 4
_HEADER_BYTES = 10
_TRAILER_BYTES = 8
_HEADER_LIMIT = 1 << 20  # a file name or comment longer than this is no header
_FHCRC, _FEXTRA, _FNAME, _FCOMMENT = 2, 4, 8, 16


class Flaw(Exception):  # noqa: N818  # it ends a stream and becomes a malformed record; nobody sees it as an error
    """Where and why a stream of bytes cannot be read further."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def plain(blocks: Iterator[bytes], max_bytes: int) -> Iterator[bytes]:
    """The decompressed bytes of a file given in blocks, at most `max_bytes` of them.

    Raises:
        Flaw: `truncated`, `crc`, `corrupt`, `trailing-garbage` or `bomb`, after everything that could be read.
    """
    feed = _Feed(blocks)
    magic = feed.peek(MAGIC_BYTES)
    if magic[:2] == GZIP_MAGIC:
        stream = _gzip(feed)
    elif magic == ZSTD_MAGIC or _skippable(magic):
        stream = _zstd(feed)
    else:
        yield from feed.rest()
        return
    given = 0
    for block in stream:
        given += len(block)
        if given > max_bytes:
            raise Flaw(
                "bomb",
                f"{feed.position} compressed bytes hold more than {max_bytes} bytes; the rest of the file was not "
                "read; raise the source's max_file_bytes if the file is meant so",
            )
        yield block


class _Feed:
    """Compressed bytes in the order of the file, taken in pieces of any size."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self._blocks = blocks
        self._data = memoryview(b"")
        self._start = 0  # position in the file of the block's first byte
        self._at = 0

    @property
    def position(self) -> int:
        """Bytes taken so far."""
        return self._start + self._at

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end of the file, without taking them."""
        while len(self._data) - self._at < count:
            more = next(self._blocks, b"")
            if not more:
                break
            self._start += self._at
            self._data = memoryview(bytes(self._data[self._at :]) + more if self._at < len(self._data) else more)
            self._at = 0
        return bytes(self._data[self._at : self._at + count])

    def take(self, count: int) -> memoryview:
        """Up to `count` bytes of the current block; empty at the end of the file."""
        if self._at >= len(self._data):
            self.peek(1)
        piece = self._data[self._at : self._at + count]
        self._at += len(piece)
        return piece

    def back(self, count: int) -> None:
        """Give back the last `count` bytes of the last piece taken."""
        self._at -= count

    def rest(self) -> Iterator[bytes]:
        """Everything that is left, in blocks."""
        while piece := self.take(BLOCK):
            yield bytes(piece)


def _gzip(feed: _Feed) -> Iterator[bytes]:
    member = 0
    while feed.peek(1):
        start = feed.position
        magic = feed.peek(2)
        if len(magic) == 1 and GZIP_MAGIC.startswith(magic):
            raise Flaw("truncated", f"the file ends inside the header of a gzip member at byte {start}")
        if magic != GZIP_MAGIC:
            if member and _only_zeros(feed):
                return  # padding, as gzip(1) accepts it
            raise Flaw("trailing-garbage", f"bytes from {start} on, after gzip member {member}, are not gzip data")
        member += 1
        where = f"in gzip member {member}, which starts at byte {start}"
        _skip_header(feed, where)
        yield from _member(feed, where)


def _member(feed: _Feed, where: str) -> Iterator[bytes]:
    inflate = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_DEFLATE)
    crc = size = 0
    while not inflate.eof:
        piece: memoryview | bytes = b""
        if inflate.needs_input and not (piece := feed.take(SLICE)):
            raise Flaw("truncated", f"the file ends {where}, after {size} of its decompressed bytes")
        try:
            block = inflate.decompress(piece, BLOCK)
        except igzip_lib.error as error:  # type: ignore[misc]  # its stub calls the class an instance
            raise Flaw("corrupt", f"corrupt data before byte {feed.position} {where}: {error}") from error
        if block:
            crc = isal_zlib.crc32(block, crc)
            size += len(block)
            yield block
    feed.back(len(inflate.unused_data))
    trailer = feed.peek(_TRAILER_BYTES)
    if len(trailer) < _TRAILER_BYTES:
        raise Flaw("truncated", f"the file ends inside the check sum {where}; its {size} decompressed bytes were read")
    feed.take(_TRAILER_BYTES)
    if trailer != crc.to_bytes(4, "little") + (size & 0xFFFFFFFF).to_bytes(4, "little"):
        raise Flaw("crc", f"the check sum does not match the {size} decompressed bytes {where}")


def _skip_header(feed: _Feed, where: str) -> None:
    header = feed.peek(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES:
        raise Flaw("truncated", f"the file ends inside the header {where}")
    if header[2] != 8:  # noqa: PLR2004  # deflate, the only method there is
        raise Flaw("corrupt", f"unknown compression method {header[2]} {where}")
    flags = header[3]
    feed.take(_HEADER_BYTES)
    if flags & _FEXTRA:
        extra = feed.peek(2)
        _drop(feed, 2 + int.from_bytes(extra, "little"), where)
    for flag in (_FNAME, _FCOMMENT):
        if flags & flag:
            _drop_text(feed, where)
    if flags & _FHCRC:
        _drop(feed, 2, where)


def _drop(feed: _Feed, count: int, where: str) -> None:
    if len(feed.peek(count)) < count:
        raise Flaw("truncated", f"the file ends inside the header {where}")
    feed.take(count)


def _drop_text(feed: _Feed, where: str) -> None:
    length = 64
    while (end := feed.peek(length).find(b"\0")) < 0:
        if len(feed.peek(length)) < length:
            raise Flaw("truncated", f"the file ends inside the header {where}")
        if length > _HEADER_LIMIT:
            raise Flaw("corrupt", f"a name without end in the header {where}")
        length *= 2
    feed.take(end + 1)


def _only_zeros(feed: _Feed) -> bool:
    """Whether nothing but zero bytes follows; takes them."""
    while piece := feed.take(BLOCK):
        if bytes(piece).count(0) != len(piece):
            return False
    return True


def _zstd(feed: _Feed) -> Iterator[bytes]:
    frame = 0
    while magic := feed.peek(MAGIC_BYTES):
        start = feed.position
        if magic != ZSTD_MAGIC and not _skippable(magic):
            if len(magic) < MAGIC_BYTES and ZSTD_MAGIC.startswith(magic):
                raise Flaw("truncated", f"the file ends inside the header of a zstd frame at byte {start}")
            raise Flaw("trailing-garbage", f"bytes from {start} on, after zstd frame {frame}, are not zstd data")
        frame += 1
        where = f"in zstd frame {frame}, which starts at byte {start}"
        yield from _skip_frame(feed, where) if _skippable(magic) else _frame(feed, where)


def _frame(feed: _Feed, where: str) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor().decompressobj()
    size = 0
    while not frame.eof:
        piece = feed.take(ZSTD_SLICE)
        if not piece:
            raise Flaw("truncated", f"the file ends {where}, after {size} of its decompressed bytes")
        try:
            block = frame.decompress(piece)
        except zstandard.ZstdError as error:
            reason = "crc" if "checksum" in str(error) else "corrupt"
            raise Flaw(reason, f"corrupt data before byte {feed.position} {where}: {error}") from error
        size += len(block)
        for at in range(0, len(block), BLOCK):
            yield block[at : at + BLOCK]
    feed.back(len(frame.unused_data))


def _skip_frame(feed: _Feed, where: str) -> Iterator[bytes]:
    header = feed.peek(8)
    left = 8 + int.from_bytes(header[4:], "little")
    while left:
        piece = feed.take(min(left, BLOCK))
        if not piece:
            raise Flaw("truncated", f"the file ends {where}")
        left -= len(piece)
    yield from ()


def _skippable(magic: bytes) -> bool:
    """A skippable frame begins with one of 0x184D2A50 to 0x184D2A5F, little-endian."""
    return len(magic) == MAGIC_BYTES and magic[0] & 0xF0 == 0x50 and magic[1:] == b"\x2a\x4d\x18"  # noqa: PLR2004  # a skippable frame, RFC 8878
