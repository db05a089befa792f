"""What an index is kept in: one protocol, and what goes in and comes out."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from pipelines.progress import Watch
from stages.index.search import FOUND
from stages.index.segment import U32

#: The columns of documents on their way into an index; `signature` is a binary of fixed size.
COMING = ("doc_id", "id", "source", "path", "url", "signature")
#: The twins that a backend found: the number of the sketch, the twin, and how alike they are by their sketches.
#: A backend that keeps members' bits alone names no twin: all but `asked` are null.
TWINS = pa.schema([pa.field("asked", pa.int64()), *FOUND, pa.field("jaccard", pa.float64())])


@dataclass(frozen=True, slots=True)
class Coming:
    """Documents of one run on their way into an index."""

    corpus: str
    run: str
    key: str  # of what was asked to be added: an index that has taken it in already has nothing to do
    documents: int  # at most so many, for progress
    batches: Callable[[], Iterator[pa.Table]]  # their columns are COMING; may be asked for again

    def add(self, documents: int, digest: str) -> dict[str, Any]:
        """What a manifest says of the add."""
        return {"corpus": self.corpus, "run": self.run, "key": self.key, "documents": documents, "digest": digest}


@dataclass(frozen=True, slots=True)
class Added:
    """What came of an add: `documents` are new; the others were there already or have been taken down before."""

    documents: int
    known: int
    taken_down: int


class Backend(Protocol):
    """An index in one kind of storage. Every change becomes true at once, by one more manifest."""

    def add(self, coming: Coming, watch: Watch) -> Added:
        """Take documents in; those that are in already are left alone."""

    def query(self, signatures: U32, most: int, threshold: float) -> pa.Table:
        """At most so many twins of each sketch, estimated at least so alike, the best first: the columns TWINS."""

    def remove(self, doc_ids: Sequence[str], corpus: str | None) -> list[dict[str, Any]]:
        """Take documents down, for good: no query names them again, and no add brings them back. Gives what it took.

        Raises:
            SpecError: a document is not in the index, or the storage cannot forget.
        """

    def info(self) -> dict[str, Any]:
        """Numbers of documents, sizes, and what is particular to this kind of storage."""
