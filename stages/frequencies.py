"""How often words occur in some texts: the table that `learn frequencies` makes and `difficulty` reads.

A Parquet file of `word` (the hash of a word, sorted) and `count`, and in its metadata how many words and how many
distinct ones the texts had, those that the table leaves out among them.
"""

import unicodedata
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stages.errors import StorageError

if TYPE_CHECKING:
    from stages.kernels.lexical import Rarities

#: The kind of artifact, and the name of its file.
KIND, FILE = "frequencies", "frequencies"
_SCHEMA = pa.schema([("word", pa.uint64()), ("count", pa.int64())])
#: What is changed when the words or their hashes are.
_WORDS = "lower case, digits and accents kept, hashes of version 1"


@dataclass(frozen=True, slots=True)
class Frequencies:
    """Counts of words by hash, sorted, and how many words and distinct words were counted in all."""

    hashes: NDArray[np.uint64]
    counts: NDArray[np.int64]
    words: int
    distinct: int

    def rarity(self) -> NDArray[np.float64]:
        """-ln p of each word in nats, p = (count + 1) / (words + distinct + 1)."""
        return np.asarray(self._log_all() - np.log(self.counts + 1.0))

    def unseen(self) -> float:
        """-ln p of every other word, in nats."""
        return self._log_all()

    def _log_all(self) -> float:
        return float(np.log(self.words + self.distinct + 1.0))


def identity() -> dict[str, Any]:
    """What hashes of words depend on."""
    return {"words": _WORDS, "unicode": unicodedata.unidata_version}


def write(found: Frequencies, path: Path) -> None:
    """Write a table."""
    totals = {"words": str(found.words), "distinct": str(found.distinct)}
    table = pa.table([found.hashes, found.counts], schema=_SCHEMA.with_metadata(totals))
    pq.write_table(table, path, compression="zstd", use_dictionary=False)


def load(path: Path) -> Frequencies:
    """The table in a file.

    Raises:
        StorageError: it is no such table.
    """
    try:
        table = pq.read_table(path)
        totals = {k.decode(): v for k, v in (table.schema.metadata or {}).items()}
        words, counts = table["word"].to_numpy(), table["count"].to_numpy()
        return Frequencies(words, counts, int(totals["words"]), int(totals["distinct"]))
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        raise StorageError(
            f"{str(path)!r} is no table of frequencies ({error}); fit it again with: tamis learn frequencies",
            path=str(path),
        ) from error


def read(path: Path) -> "Rarities":
    """How rare the words of a table are, for the kernel.

    Raises:
        StorageError: the file is no such table.
    """
    from stages.kernels.lexical import Rarities  # noqa: PLC0415 - numba is slow to import

    found = load(path)
    return Rarities(found.hashes, found.rarity(), found.unseen())
