"""One JSON object a line: plain, gzip or zstd."""

from collections.abc import Callable
from typing import Any, Literal

import orjson

from stages.sources.base import Input, Source
from stages.sources.decompress import Flaw, plain
from stages.sources.encoding import utf8
from stages.sources.lines import TooLong, lines
from stages.sources.record import LARGE_FLOAT, Refused, exact, mapper
from stages.sources.rows import Row, Rows


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
        to_row = mapper(self.fields, self.max_document_bytes)
        add = rows.add
        ordinal = number = 0
        try:
            for batch in lines(utf8(plain(file.blocks(), self.max_file_bytes)), self.max_record_bytes):
                for line in batch:
                    number += 1
                    if not line or line.isspace():
                        continue
                    try:
                        add(_row(line, ordinal, to_row))
                    except Refused as why:
                        where = f"{file.path}, line {number} (record {ordinal})"
                        rows.malformed(ordinal, why.reason, f"{where}: {why.message}")
                    ordinal += 1
        except Flaw as flaw:
            rows.malformed(ordinal, flaw.reason, f"{file.path}, after {ordinal} records: {flaw.message}")


def _row(line: bytes | TooLong, ordinal: int, to_row: Callable[[int, dict[str, Any]], Row]) -> Row:
    try:
        record = orjson.loads(line)  # type: ignore[arg-type]  # what is no line is refused like bad JSON
    except orjson.JSONDecodeError as error:
        raise _refused(line, error) from error
    if record.__class__ is not dict:
        raise Refused("not-an-object", f"it is a JSON {_json_name(record)}, not an object; write one object a line")
    row = to_row(ordinal, record)
    if row[-1] is not None and LARGE_FLOAT.search(row[-1]):
        return to_row(ordinal, exact(line))  # type: ignore[arg-type]  # a record came out of it, so it is a line
    return row


def _refused(line: bytes | TooLong, error: orjson.JSONDecodeError) -> Refused:
    if isinstance(line, TooLong):
        return Refused("too-large", f"it has {line.bytes} bytes, more than a record may have")
    problem = str(error)
    if "depth limit" in problem or "ecursion" in problem:
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
