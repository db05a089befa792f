"""Whole lines of a stream of bytes, none of them held when longer than a limit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from stages.sources.decompress import Flaw

#: Bytes of lines handed on at once, about.
BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line that was longer than the limit and was passed over."""

    bytes: int


def line_blocks(blocks: Iterable[bytes], max_bytes: int) -> Iterator[bytes | TooLong]:
    """Blocks of whole lines with their line feeds, which only the last one may lack.

    A line of more than `max_bytes` that reaches over several blocks comes as `TooLong`; one inside a block is left
    to the reader. Where `blocks` ends with a flaw, so does this, after the last whole line.
    """
    kept: list[bytes] = []  # pieces of a line that has not ended
    size = 0
    for block in _joined(blocks):
        first = block.find(b"\n") + 1
        if not first:
            size += len(block)
            kept.append(block)
            if size > max_bytes:
                kept.clear()
            continue
        start = 0
        if size + first - 1 > max_bytes and size:
            yield TooLong(size + first - 1)
            kept, start = [], first
        end = block.rfind(b"\n") + 1
        if end > start:
            kept.append(block[start:end])
            yield b"".join(kept)
        kept = [block[end:]]
        size = len(kept[0])
    if size > max_bytes:
        yield TooLong(size)
    elif size:
        yield b"".join(kept)


def _joined(blocks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in blocks of `BLOCK` or a little more."""
    pieces: list[bytes] = []
    size = 0
    try:
        for block in blocks:
            pieces.append(block)
            size += len(block)
            if size >= BLOCK:
                yield b"".join(pieces)
                pieces, size = [], 0
    except Flaw:
        yield b"".join(pieces)
        raise
    yield b"".join(pieces)
