"""A record with named fields -> the columns of a document."""

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from stages.document import MAPPED
from stages.sources.rows import Row

#: Document columns besides the text that a record's fields are mapped onto, in the order of a `Row`.
COLUMNS = tuple(c for c in MAPPED if c != "text")

#: What orjson writes for an integer beyond 64 bits, which it reads as a float (and for large floats).
LARGE_FLOAT = re.compile(r"\de\+?(?:19|[2-9]\d|\d{3})")


class Refused(Exception):  # noqa: N818  # it becomes a malformed record; nobody sees it as an error
    """Why a record is not a document."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def mapper(fields: Mapping[str, str], max_document_bytes: int) -> Callable[[int, dict[str, Any]], Row]:
    """A function from (ordinal, record) to a row; it takes the record apart.

    Integers become their decimal text. What is neither text nor an integer stays in `meta`, with every field that
    is mapped onto no column. It raises `Refused`: `no-text`, `text-not-string`, `too-large`.
    """
    text_field = fields.get("text", "text")
    take_text = _taker(text_field)
    keys = tuple(fields.get(column, column) for column in COLUMNS)
    takers = [(key, _taker(key)) for key in keys]

    def row(ordinal: int, record: dict[str, Any]) -> Row:
        text = take_text(record)
        if text.__class__ is not str:
            raise _not_a_text(text, text_field, record)
        raw = text.encode()
        if len(raw) > max_document_bytes:
            message = f"its text has {len(raw)} bytes, more than max_document_bytes = {max_document_bytes}"
            raise Refused("too-large", message)
        values = [take(record) for _, take in takers]
        for at, value in enumerate(values):
            if value is not None and value.__class__ is not str:
                values[at] = _as_text(record, keys[at], value)
        return (ordinal, raw, *values, compact(record) if record else None)

    return row


def compact(record: Mapping[str, Any]) -> str:
    """A JSON object without spaces."""
    try:
        return orjson.dumps(record).decode()
    except TypeError:  # an integer beyond 64 bits, which only the slow reader keeps
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"))


def exact(line: bytes) -> dict[str, Any]:
    """The record of a line that orjson can read, with integers of any size kept whole.

    Raises:
        Refused: an integer has more digits than Python converts.
    """
    try:
        record: dict[str, Any] = json.loads(line)
    except ValueError as error:
        raise Refused("bad-json", f"it holds a number that cannot be read ({error})") from error
    return record


def _taker(field: str) -> Callable[[dict[str, Any]], Any]:
    """A function that takes the value of `field` out of a record; `a.b` is the field b of a where no field is called `a.b`."""
    parts = field.split(".")
    if len(parts) == 1:
        return lambda record: record.pop(field, None)

    def take(record: dict[str, Any]) -> Any:
        if field in record:
            return record.pop(field)
        place: Any = record
        for part in parts[:-1]:
            place = place.get(part) if isinstance(place, dict) else None
        return place.pop(parts[-1], None) if isinstance(place, dict) else None

    return take


def _as_text(record: dict[str, Any], key: str, value: Any) -> str | None:
    if value.__class__ is int:
        return str(value)
    record[key] = value
    return None


def _not_a_text(value: Any, field: str, record: Mapping[str, Any]) -> Refused:
    if value is None:
        there = ", ".join(sorted(record)[:12]) or "none"
        return Refused("no-text", f"it has no text in the field {field!r} (fields: {there})")
    return Refused("text-not-string", f"its field {field!r} is {type(value).__name__}, not a string")
