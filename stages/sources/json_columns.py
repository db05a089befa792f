"""Many JSON lines at once -> columns, by Arrow's reader, which makes no Python object of any of them.

It is used only where its answer is the careful reader's, word for word: every line is one object, no field is
unknown or nested, every value is a string or null, every text is there and short enough, all bytes are UTF-8.
Otherwise it declines and the careful reader takes the lines one by one.
"""

from collections.abc import Callable, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import json

from stages.document import MAPPED
from stages.sources.rows import ROWS

#: Fewer bytes are read faster line by line, more are too many for Arrow.
MIN_BYTES = 1 << 15
MAX_BYTES = 1 << 30

_FEED, _OPEN, _CLOSE = b"\n{}"
#: Bytes searched for line feeds at once: they and the answers stay in the processor's cache.
_AT_ONCE = 1 << 18

Reader = Callable[[bytes, int], pa.RecordBatch | None]


def reader(fields: Mapping[str, str], max_document_bytes: int) -> Reader:
    """A function from (lines, ordinal of the first) to a batch of `ROWS`, or None where it declines."""
    names = [fields.get(column, column) for column in MAPPED]
    if len(set(names)) < len(names) or any("." in name for name in names):
        return lambda _lines, _first: None
    parse = json.ParseOptions(
        explicit_schema=pa.schema([(name, pa.string()) for name in names]), unexpected_field_behavior="error"
    )
    of_column = dict(zip(MAPPED, names, strict=True))

    def read(lines: bytes, first: int) -> pa.RecordBatch | None:
        count = _objects(lines)
        if not count:
            return None
        options = json.ReadOptions(use_threads=False, block_size=len(lines) + 1)
        try:
            table = json.read_json(pa.py_buffer(lines), read_options=options, parse_options=parse).combine_chunks()
            table.validate(full=True)
        except pa.ArrowInvalid:
            return None
        text = table[of_column["text"]]
        if table.num_rows != count or text.null_count or pc.max(pc.binary_length(text)).as_py() > max_document_bytes:
            return None
        columns = {column: table[name].chunk(0) for column, name in of_column.items()}
        columns["ordinal"] = pa.array(np.arange(first, first + count))
        columns["meta"] = pa.nulls(count, pa.string())
        return pa.RecordBatch.from_arrays([columns[name] for name in ROWS.names], schema=ROWS)

    return read


def _objects(lines: bytes) -> int:
    """The number of lines when each begins with `{` and ends with `}`, else 0.

    No JSON object can then reach over a line's end, because `}` is never followed by `{` inside one.
    """
    if not MIN_BYTES <= len(lines) <= MAX_BYTES or lines[:1] != b"{":
        return 0
    octets = np.frombuffer(lines, np.uint8)
    feeds = np.concatenate(
        [start + np.flatnonzero(octets[start : start + _AT_ONCE] == _FEED) for start in range(0, len(lines), _AT_ONCE)]
    )
    inner = feeds[:-1] if octets[-1] == _FEED else feeds
    ends = np.append(inner, len(lines) - (len(feeds) > len(inner)))
    return len(ends) if (octets[ends - 1] == _CLOSE).all() and (octets[inner + 1] == _OPEN).all() else 0
