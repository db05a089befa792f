"""Files that are asked about: their documents, signed as the index's own were, and the twins of each."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.file_kinds import sources_at
from pipelines.index.backend import Backend
from pipelines.inputs import PackFiles
from pipelines.progress import Watch
from stages.index.manifest import Configuration
from stages.sources.base import Source
from stages.sources.rows import Malformed, Rows
from stages.text.minhash import Minhash

#: Text that is held and signed together.
_ROOM = 1 << 26

Emit = Callable[[dict[str, Any]], None]


@dataclass(slots=True)
class Asked:
    """How many documents were asked about, how many have a twin, a sketch none, and how many records are none."""

    documents: int = 0
    matched: int = 0
    without_sketch: int = 0
    malformed: int = 0


def sketcher(configuration: Configuration) -> Minhash:
    """A minhash stage that makes sketches as the index holds them."""
    fields = dict(configuration.sketch["parameters"])
    return Minhash(bands=fields.pop("permutations"), rows=1, **fields)


def ask(
    backend: Backend, configuration: Configuration, paths: Sequence[str], emit: Emit, question: "Question", watch: Watch
) -> Asked:
    """Look up every document of the files; `emit` is given each one with its twins, in order.

    Raises:
        DataError: a path matches no file, or a file cannot be read as its kind.
    """
    asked = Asked()
    stage = sketcher(configuration)
    for source, files in [(s, f) for path in paths for s, f in _files(path, question)]:
        looker = _Looker(backend, stage, emit, question, asked)
        rows = Rows("query", _ROOM, looker.documents, looker.malformed)
        total = len(files)
        for done, file in enumerate(files):
            watch.step(f"query {source.path}", done, total, 0)
            rows.begin(file.path)
            source.read(file, rows)
        rows.flush()
        watch.step(f"query {source.path}", total, total, looker.nbytes)
    return asked


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: at most so many twins a document, at least so alike; `kind` where names do not tell."""

    most: int = 3
    threshold: float = 0.0
    kind: str | None = None


def _files(path: str, question: Question) -> Iterator[tuple[Source, PackFiles]]:
    """The files at a path, by the kind of source that reads them."""
    for source, table in sources_at("query", path, question.kind):
        yield source, PackFiles(table)


class _Looker:
    """Takes groups of rows as ingest does, and looks them up instead of keeping them."""

    def __init__(self, backend: Backend, stage: Minhash, emit: Emit, question: Question, asked: Asked) -> None:
        self.nbytes = 0
        self._backend, self._stage, self._emit = backend, stage, emit
        self._question, self._asked = question, asked

    def malformed(self, record: Malformed) -> None:
        """Count a record that is no document, and name it."""
        self._asked.malformed += 1
        self._emit({"path": record.path, "ordinal": record.ordinal, "malformed": record.message})

    def documents(self, group: pa.RecordBatch) -> int:
        """Look up a group of documents; gives the room for the next."""
        from stages.kernels.minhash import sign  # noqa: PLC0415 - numba is for those who sign

        self.nbytes += group["text"].nbytes
        signatures, _, tokens = sign(group["text"], self._stage)
        there = np.flatnonzero(tokens > 0)
        twins = self._backend.query(signatures[there], self._question.most, self._question.threshold)
        by_row: dict[int, list[dict[str, Any]]] = {}
        for twin in twins.to_pylist():
            by_row.setdefault(int(there[twin.pop("asked")]), []).append(twin)
        places = group.select(["path", "ordinal", "id"]).to_pylist()
        for row, (place, count) in enumerate(zip(places, tokens.tolist(), strict=True)):
            found = by_row.get(row, [])
            self._emit({**place, "sketched": count > 0, "matches": found})
            self._asked.documents += 1
            self._asked.matched += bool(found)
            self._asked.without_sketch += count == 0
        return _ROOM
