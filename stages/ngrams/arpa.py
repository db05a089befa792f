r"""Reading an ARPA file into a table: `\data\` with the counts, a section of lines for each order, `\end\`."""

import gzip
import mmap
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stages.errors import DataError
from stages.kernels.arrow import frozen
from stages.ngrams.table import Rows, Table

_HEADER = re.compile(rb"\s*\\data\\\s*\n((?:ngram\s+\d+\s*=\s*\d+\s*\n)+)\s*")
_COUNT = re.compile(rb"ngram\s+(\d+)\s*=\s*(\d+)")
_SECTION = re.compile(rb"\s*\\(\d+)-grams:[ \t\r]*\n")
_END = re.compile(rb"\s*\\end\\")
_HEAD = 65_536
#: The highest order that is read.
MAX_ORDER = 6


def read(path: Path) -> Table | None:
    """The n-grams of an ARPA file, plain or gzip; None where an n-gram's end is not among those of the order below.

    Some tools prune so (SRILM by entropy). kenlm makes up what is missing; a table does not.

    Raises:
        DataError: it is none, it is cut off, or has an order above 6.
    """
    data = _content(path)
    head = data[:_HEAD].tobytes()
    start = _HEADER.search(head)
    if start is None:
        raise DataError(f"{str(path)!r} is no ARPA file: it does not begin with \\data\\; name another", path=str(path))
    found = [(int(k), int(n)) for k, n in _COUNT.findall(start[1])]
    counts = [n for _, n in found]
    if [k for k, _ in found] != list(range(1, len(found) + 1)) or len(found) > MAX_ORDER:
        raise DataError(
            f"{str(path)!r} has n-grams of the orders {[k for k, _ in found]}; orders from 1 to at most {MAX_ORDER} "
            "without a gap can be read",
            path=str(path),
        )
    from stages.kernels.ngram_table import holds  # noqa: PLC0415 - loads numba

    ends: list[NDArray[np.uint64]] = []
    table = Table.of(_sections(path, data, start.end(), counts, ends), counts)
    return table if all(holds(table.slots, frozen(keys)) for keys in ends) else None


def _content(path: Path) -> NDArray[np.uint8]:
    try:
        with path.open("rb") as file:
            if file.read(2) == b"\x1f\x8b":
                file.seek(0)
                with gzip.open(file) as plain:
                    return np.frombuffer(plain.read(), np.uint8)
            if path.stat().st_size == 0:
                return np.empty(0, np.uint8)
            return np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
    except (OSError, EOFError) as error:
        raise DataError(
            f"the model {str(path)!r} cannot be read ({error}); name a file that is there and whole", path=str(path)
        ) from error


def _sections(
    path: Path, data: NDArray[np.uint8], place: int, counts: list[int], ends: list[NDArray[np.uint64]]
) -> Iterator[Rows]:
    """The rows of each order; `ends` gets the keys of what the n-grams of the orders from 2 on end in."""
    from stages.kernels.ngram_text import read_lines  # noqa: PLC0415 - loads numba

    for order, wanted in enumerate(counts, 1):
        title = _SECTION.match(data[place : place + 64].tobytes())
        if title is None or int(title[1]) != order:
            raise _cut(path, f"the section \\{order}-grams: is not where it should be")
        place += title.end()
        keys, logs, backoffs, own, rows, place = read_lines(frozen(data), place, len(data), order, wanted)
        if rows < wanted:
            raise _cut(path, f"it names {wanted} {order}-grams and has {rows}")
        if order > 1:
            ends.append(own)
        yield keys, logs, backoffs
    if _END.match(data[place : place + 64].tobytes()) is None:
        raise _cut(path, "it does not end with \\end\\")


def _cut(path: Path, why: str) -> DataError:
    return DataError(
        f"the ARPA file {str(path)!r} is cut off or damaged: {why}; copy it again or fit the model again",
        path=str(path),
    )
