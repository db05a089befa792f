"""The encoding of text files: UTF-8, with or without a byte order mark."""

from collections.abc import Iterator
from itertools import chain

from stages.sources.decompress import Flaw

_UTF8_MARK = b"\xef\xbb\xbf"
_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """The blocks without a UTF-8 byte order mark at the start.

    Raises:
        Flaw: `utf-16`; lines cannot be told apart in it, so the file is one malformed record.
    """
    first = next(blocks, b"")
    while len(first) < len(_UTF8_MARK) and (more := next(blocks, b"")):
        first += more
    if first.startswith(_UTF16_MARKS):
        raise Flaw("utf-16", "it begins with a UTF-16 or UTF-32 byte order mark; convert it to UTF-8")
    return chain((first.removeprefix(_UTF8_MARK),), blocks)
