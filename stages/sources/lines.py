"""Lines of a stream of bytes, none of them held when longer than a limit."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line that was longer than the limit and was passed over."""

    bytes: int


def lines(blocks: Iterable[bytes], max_bytes: int) -> Iterator[list[bytes | TooLong]]:
    """Lists of complete lines without their line feed; the last one may lack it.

    Where `blocks` ends with an error, so does this, after the last complete line.
    """
    kept: list[bytes] = []  # pieces of a line that has not ended
    size = 0
    for block in blocks:
        if size + len(block) <= max_bytes and b"\n" not in block:
            kept.append(block)
            size += len(block)
            continue
        first, *rest = block.split(b"\n")
        if not rest:
            kept.clear()
            size += len(first)
            continue
        size += len(first)
        whole: list[bytes | TooLong] = [_line(kept, first, size, max_bytes)]
        last = rest.pop()
        whole += rest if len(block) <= max_bytes else [_line([], line, len(line), max_bytes) for line in rest]
        yield whole
        kept = [last]
        size = len(last)
    if size:
        yield [_line(kept, b"", size, max_bytes)]


def _line(kept: list[bytes], last: bytes, size: int, max_bytes: int) -> bytes | TooLong:
    if size > max_bytes:
        return TooLong(size)
    kept.append(last)
    return b"".join(kept)
