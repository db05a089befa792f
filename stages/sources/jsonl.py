"""One JSON object a line: plain, gzip or zstd."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import orjson

from stages.sources import json_columns
from stages.sources.base import Input, Small, Source
from stages.sources.decompress import Flaw, plain
from stages.sources.encoding import utf8
from stages.sources.lines import TooLong, line_blocks
from stages.sources.record import LARGE_FLOAT, Refused, exact, mapper
from stages.sources.rows import Row, Rows

#: After so many blocks that Arrow's reader declined, the rest of a file is read line by line at once.
DECLINED_BLOCKS = 3


#: A line that is not empty; runs of empty ones are passed over at once.
_LINE = re.compile(rb"[^\n]+")


class Jsonl(Source):
    """JSON lines: one object a line; plain, gzip (any number of members) or zstd, told by content.

    Blank lines are not records. A record's ordinal counts the lines that are not blank. Of duplicate keys the last
    one counts. Bad JSON, bad UTF-8, lone surrogates, NaN, nesting beyond 1,024, other values than objects, a missing
    text and a text that is not a string are malformed; a file in UTF-16 is one malformed record, because where its
    lines end is not known.
    """

    kind: Literal["jsonl"] = "jsonl"

    def read(self, file: Input, rows: Rows) -> None:
        """Add every line of `file`."""
        many = json_columns.reader(self.fields, self.max_document_bytes)
        one = _OneByOne(self, file, rows)
        declined = 0
        try:
            for block in line_blocks(utf8(plain(file.blocks(), self.max_file_bytes)), self.max_record_bytes):
                if declined < DECLINED_BLOCKS and isinstance(block, bytes):
                    batch = many(block, one.ordinal)
                    if batch is not None:
                        rows.add_batch(batch)
                        one.ordinal += batch.num_rows
                        one.number += batch.num_rows
                        declined = 0
                        continue
                    declined += 1
                one.read(block)
        except Flaw as flaw:
            message = f"{file.path}, after {one.ordinal} records: {flaw.message}"
            rows.malformed(one.ordinal, flaw.reason, message)

    def read_many(self, files: Sequence[Small], rows: Rows) -> None:
        """Add every line of small files, as one text where all of it is plain and good."""
        texts = [data if data[-1:] == b"\n" else data + b"\n" for _, data in files]
        batch = None
        if all([text[:1] == b"{" for text in texts]):  # noqa: C419  # a list is twice as fast for a million files
            batch = json_columns.reader(self.fields, self.max_document_bytes)(b"".join(texts), 0)
        if batch is None:
            super().read_many(files, rows)
        else:
            rows.add_files([path for path, _ in files], [text.count(b"\n") for text in texts], batch)


class _OneByOne:
    """The careful reader of one file's lines."""

    def __init__(self, source: Jsonl, file: Input, rows: Rows) -> None:
        self.ordinal = 0
        self.number = 0  # of lines, blank ones too
        self._to_row = mapper(source.fields, source.max_document_bytes)
        self._max_bytes = source.max_record_bytes
        self._path = file.path
        self._rows = rows

    def read(self, block: bytes | TooLong) -> None:
        """Add the lines of a block."""
        if isinstance(block, TooLong):
            self.number += 1
            self._refuse(_too_long(block.bytes))
            return
        if block.isspace():
            self.number += block.count(b"\n")
            return
        limit = self._max_bytes
        at, number = 0, self.number + 1
        for found in _LINE.finditer(block):
            line = found[0]
            number += block.count(b"\n", at, found.start())
            at = found.start()
            if line.isspace():
                continue
            self.number = number
            try:
                if len(line) > limit:
                    raise _too_long(len(line))
                self._rows.add(_row(line, self.ordinal, self._to_row))
            except Refused as why:
                self._refuse(why)
            else:
                self.ordinal += 1
        self.number = number - 1 + block.count(b"\n", at) + (not block.endswith(b"\n"))

    def _refuse(self, why: Refused) -> None:
        where = f"{self._path}, line {self.number} (record {self.ordinal})"
        self._rows.malformed(self.ordinal, why.reason, f"{where}: {why.message}")
        self.ordinal += 1


def _row(line: bytes, ordinal: int, to_row: Callable[[int, dict[str, Any]], Row]) -> Row:
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise _not_json(line, error) from error
    if record.__class__ is not dict:
        raise Refused("not-an-object", f"it is a JSON {_json_name(record)}, not an object; write one object a line")
    row = to_row(ordinal, record)
    if row[-1] is not None and LARGE_FLOAT.search(row[-1]):
        return to_row(ordinal, exact(line))
    return row


def _too_long(size: int) -> Refused:
    return Refused("too-large", f"it has {size} bytes, more than a record may have (see max_document_bytes)")


def _not_json(line: bytes, error: orjson.JSONDecodeError) -> Refused:
    problem = str(error)
    if "depth limit" in problem:
        return Refused("too-deep", f"its JSON is nested too deeply ({problem})")
    try:
        line.decode()
    except UnicodeDecodeError as bad:
        return Refused("utf-8", f"its bytes are not UTF-8 ({bad.reason} at byte {bad.start} of the line)")
    if "surrogate" in problem:
        return Refused("surrogate", f"it holds half of a surrogate pair, which is no character ({problem})")
    return Refused("bad-json", f"it is not JSON ({problem})")


def _json_name(value: Any) -> str:
    names = {list: "array", str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}
    return names[type(value)]
