"""WARC records of a stream of bytes (ISO 28500): headers and a body of bounded size, one after the other.

Lengths are checked: after a body comes the next record or the end of the file. Where it does not, the record is
broken, and reading goes on at the next line that begins with `WARC/1.`, be it inside the body.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from stages.sources.decompress import Flaw

_VERSION = b"WARC/1."
_NEXT = b"\nWARC/1."
_HEAD_LIMIT = 1 << 18  # a longer header is none
_LENGTH_DIGITS = 18  # a length of 64 bits


@dataclass(frozen=True, slots=True)
class WarcRecord:
    """One record: header fields by lower-case name, the body, and where it begins in the decompressed file."""

    position: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    broken: tuple[str, str] | None = None  # reason and message, where it cannot be used; it has no body then


def records(blocks: Iterator[bytes], max_body: int) -> Iterator[WarcRecord]:
    """Every record, broken ones too; no more than `max_body` bytes and a block are held.

    Raises:
        Flaw: of `blocks`, or `truncated` where the file ends inside a record; after all records before it.
    """
    stream = _Stream(blocks)
    while stream.skip_line_ends():
        start = stream.position
        head = stream.head()
        if head is None:
            yield _broken(stream, start, f"no record begins at byte {start} of the decompressed file")
            continue
        headers = fields(head)
        length = headers.get("content-length", "")
        if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS):
            yield _broken(stream, start, f"the record at byte {start} has the Content-Length {length!r}")
        elif int(length) > max_body:
            yield _too_large(stream, start, int(length))
        elif stream.ends_after(int(length)):
            yield WarcRecord(start, headers, stream.take(int(length)))
        elif stream.find(_NEXT) < 0 and stream.held < int(length):
            raise stream.cut_short(f"the file ends inside the record at byte {start}, whose Content-Length is {length}")
        else:
            yield _broken(stream, start, f"the record at byte {start} does not end after its Content-Length {length}")


def fields(head: bytes) -> dict[str, str]:
    """Header lines by lower-case name; the first line, a version or status, is left out."""
    found: dict[str, str] = {}
    name = ""
    for line in head.split(b"\n")[1:]:
        text = line.rstrip(b"\r").decode("utf-8", "replace")
        if text[:1] in {" ", "\t"} and name:
            found[name] += " " + text.strip()
            continue
        key, colon, value = text.partition(":")
        if colon:
            name = key.strip().lower()
            found.setdefault(name, value.strip())
    return found


def _broken(stream: "_Stream", start: int, message: str) -> WarcRecord:
    stream.resynchronize()
    return WarcRecord(start, broken=("bad-warc", message))


def _too_large(stream: "_Stream", start: int, length: int) -> WarcRecord:
    """Pass over a body that is not held; a record that begins inside it shows that the length is wrong."""
    whole = stream.drop_until(_NEXT, length)
    if whole:
        return WarcRecord(start, broken=("too-large", f"the record at byte {start} has {length} bytes"))
    return WarcRecord(start, broken=("bad-warc", f"the record at byte {start} ends before its Content-Length {length}"))


class _Stream:
    """Bytes held from the current position on, more of them on demand."""

    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.position = 0
        self._blocks = blocks
        self._held = bytearray()
        self._flaw: Flaw | None = None

    @property
    def held(self) -> int:
        """Bytes held."""
        return len(self._held)

    def skip_line_ends(self) -> bool:
        """Pass over line ends; False at the end of the file."""
        while self._fill(1):
            rest = self._held.lstrip(b"\r\n")
            self._drop(len(self._held) - len(rest))
            if rest:
                return True
        if self._flaw:
            raise self._flaw
        return False

    def head(self) -> bytes | None:
        """Take the header up to its blank line; None where there is none."""
        if not self._fill(len(_VERSION)) or not self._held.startswith(_VERSION):
            return None
        size = 4096
        while True:
            more = self._fill(size)
            ends = [e for e in (self._held.find(b"\r\n\r\n", 0, size), self._held.find(b"\n\n", 0, size)) if e >= 0]
            if ends:
                end = min(ends)
                return self.take(end + (4 if self._held[end] == ord("\r") else 2))
            if not more or size > _HEAD_LIMIT:
                return None
            size *= 2

    def ends_after(self, length: int) -> bool:
        """Whether a record of `length` bytes is followed by another or by the end of a whole file."""
        if not self._fill(length):
            return False
        probe = length
        while True:
            more = self._fill(probe + 64)
            after = bytes(self._held[probe : probe + 64]).lstrip(b"\r\n")
            if after or not more:
                return after.startswith(_VERSION) or (not after and not more)
            probe += 64

    def take(self, length: int) -> bytes:
        """Take bytes that are held."""
        taken = bytes(self._held[:length])
        self._drop(length)
        return taken

    def find(self, mark: bytes) -> int:
        """Where `mark` is in what is held, or -1."""
        return self._held.find(mark)

    def resynchronize(self) -> None:
        """Go to the next record, or to the end of the file."""
        self._drop(min(1, len(self._held)))
        while (at := self._held.find(_NEXT)) < 0:
            self._drop(max(0, len(self._held) - len(_NEXT)))
            if not self._more():
                self._drop(len(self._held))
                return
        self._drop(at + 1)

    def drop_until(self, mark: bytes, length: int) -> bool:
        """Pass over `length` bytes; False, and stop there, where `mark` or the end of the file comes first."""
        left = length
        while True:
            at = self._held.find(mark, 0, left)
            if at >= 0:
                self._drop(at + 1)
                return False
            if len(self._held) >= left + len(mark):
                self._drop(left)
                return True
            passed = min(left, max(0, len(self._held) - len(mark)))
            self._drop(passed)
            left -= passed
            if not self._more():
                if len(self._held) < left:
                    raise self.cut_short(f"the file ends {left - len(self._held)} bytes before its last record does")
                self._drop(left)
                return True

    def cut_short(self, message: str) -> Flaw:
        """Why the file ends where it does."""
        return self._flaw or Flaw("truncated", message)

    def _fill(self, size: int) -> bool:
        """Hold at least `size` bytes; False where the file has fewer."""
        while len(self._held) < size:
            if not self._more():
                return False
        return True

    def _more(self) -> bool:
        try:
            block = next(self._blocks, b"")
        except Flaw as flaw:
            self._flaw = flaw
            block = b""
        self._held += block
        return bool(block)

    def _drop(self, count: int) -> None:
        del self._held[:count]
        self.position += count
