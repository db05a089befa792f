"""Plain text: a file is a document, or its lines or paragraphs are."""

from collections.abc import Iterable, Iterator
from typing import Literal

from stages.sources.base import Input, Source
from stages.sources.decompress import Flaw, plain
from stages.sources.encoding import utf8
from stages.sources.lines import TooLong, line_blocks
from stages.sources.rows import Rows

Split = Literal["file", "lines", "paragraphs"]


class Text(Source):
    """Text files in UTF-8; plain, gzip or zstd, told by content.

    With `split: file` a file is one document, an empty file none. With `lines` or `paragraphs` (separated by blank
    lines) each is a document; blank ones are not records. A text that is not UTF-8 is malformed.
    """

    kind: Literal["text"] = "text"

    split: Split = "file"

    def read(self, file: Input, rows: Rows) -> None:
        """Add the texts of `file`."""
        ordinal = 0
        try:
            for text in self._texts(utf8(plain(file.blocks(), self.max_file_bytes))):
                self._add(text, ordinal, file.path, rows)
                ordinal += 1
        except Flaw as flaw:
            message = f"{file.path}, after {ordinal} records: {flaw.message}"
            rows.malformed(ordinal, flaw.reason, message)

    def _texts(self, blocks: Iterator[bytes]) -> Iterator[bytes | TooLong]:
        if self.split == "lines":
            return self._lines(blocks)
        if self.split == "paragraphs":
            return _paragraphs(self._lines(blocks, keep_blank=True), self.max_document_bytes)
        return _whole(blocks, self.max_document_bytes)

    def _lines(self, blocks: Iterator[bytes], *, keep_blank: bool = False) -> Iterator[bytes | TooLong]:
        for block in line_blocks(blocks, self.max_document_bytes):
            if isinstance(block, TooLong):
                yield block
                continue
            for line in block.removesuffix(b"\n").split(b"\n"):
                if keep_blank or (line and not line.isspace()):
                    yield line.removesuffix(b"\r")

    def _add(self, text: bytes | TooLong, ordinal: int, path: str, rows: Rows) -> None:
        where = f"{path} (record {ordinal})"
        size = text.bytes if isinstance(text, TooLong) else len(text)
        if isinstance(text, TooLong) or size > self.max_document_bytes:
            message = f"{where}: it has {size} bytes, more than max_document_bytes = {self.max_document_bytes}"
            rows.malformed(ordinal, "too-large", message)
            return
        try:
            text.decode()
        except UnicodeDecodeError as bad:
            rows.malformed(ordinal, "utf-8", f"{where}: its bytes are not UTF-8 ({bad.reason} at byte {bad.start})")
            return
        rows.add((ordinal, text, None, None, None, None, None, None, None, None))


def _whole(blocks: Iterable[bytes], max_bytes: int) -> Iterator[bytes | TooLong]:
    """The file as one text, unless it is empty; nothing is held of one that is too long."""
    pieces: list[bytes] = []
    size = 0
    for block in blocks:
        size += len(block)
        pieces.append(block)
        if size > max_bytes:
            pieces.clear()
    if size:
        yield TooLong(size) if size > max_bytes else b"".join(pieces)


def _paragraphs(lines: Iterable[bytes | TooLong], max_bytes: int) -> Iterator[bytes | TooLong]:
    """Runs of lines that are not blank, joined by line feeds."""
    held: list[bytes] = []
    size = -1
    for line in lines:
        if not isinstance(line, TooLong) and (not line or line.isspace()):
            if size >= 0:
                yield TooLong(size) if size > max_bytes else b"\n".join(held)
            held, size = [], -1
            continue
        size += 1 + (line.bytes if isinstance(line, TooLong) else len(line))
        if not isinstance(line, TooLong):
            held.append(line)
        if size > max_bytes:
            held.clear()
    if size >= 0:
        yield TooLong(size) if size > max_bytes else b"\n".join(held)
