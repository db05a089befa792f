"""Which source reads which of the files that a command is given by path."""

from collections.abc import Iterator
from pathlib import PurePosixPath

import numpy as np
import pyarrow as pa

from pipelines.inputs import freeze
from stages.catalog import parse
from stages.sources.base import Source

#: What reads a file, by the end of its name without compression; all others are JSON lines.
KINDS = {".parquet": "parquet", ".txt": "text", ".text": "text", ".md": "text", ".warc": "warc"}
COMPRESSED = (".gz", ".zst")


def kind_of(path: str) -> str:
    """The kind of source that reads a file of that name."""
    suffixes = [s.lower() for s in PurePosixPath(path).suffixes]
    while suffixes and suffixes[-1] in COMPRESSED:
        suffixes.pop()
    return KINDS.get(suffixes[-1] if suffixes else "", "jsonl")


def sources_at(name: str, path: str, kind: str | None = None) -> Iterator[tuple[Source, pa.Table]]:
    """The files at a path as `freeze` gives them, by the source that reads them: of `kind`, or as names tell.

    Raises:
        DataError: the path matches no file.
    """
    table = freeze(name, _source("jsonl", path))
    kinds = np.array([kind or kind_of(p) for p in table["path"].to_pylist()], object)
    for one in dict.fromkeys(kinds.tolist()):
        yield _source(one, path), table.filter(pa.array(kinds == one))


def _source(kind: str, path: str) -> Source:
    source = parse({"kind": kind, "path": path}, "source", f"the path {path!r}")
    assert isinstance(source, Source)
    return source
