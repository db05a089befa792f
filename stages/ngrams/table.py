"""The file of a table of n-grams, mapped into memory: workers of one machine share it, and opening it reads nothing.

8 bytes "tamisng1", 8 bytes little-endian length of a JSON header, the header, zeros up to a multiple of 4096,
then the slots (see `stages.kernels.ngram_table`)
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import DataError
from stages.kernels.arrow import frozen

MAGIC = b"tamisng1"
PAGE = 4096
#: Slots for each n-gram.
ROOM = 1.5

Rows = tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.float32]]


class Table:
    """N-grams of order 1 to `order` with base-10 logarithms of probabilities and backoffs."""

    def __init__(self, slots: NDArray[np.uint64], order: int, counts: Sequence[int]) -> None:
        self.slots: NDArray[np.uint64] = frozen(slots)
        self.values: NDArray[np.float32] = self.slots.view(np.float32)
        self.order = order
        #: N-grams of each order.
        self.counts = tuple(counts)

    @classmethod
    def of(cls, sections: Iterable[Rows], counts: Sequence[int]) -> "Table":
        """A table of n-grams: keys, logarithms of probabilities and of backoffs, in any number of pieces.

        Raises:
            DataError: an n-gram is there twice.
        """
        from stages.kernels.ngram_table import insert  # noqa: PLC0415 - loads numba

        capacity = int(sum(counts) * ROOM) + 8
        slots = np.zeros(2 * capacity, np.uint64)
        for keys, logs, backoffs in sections:
            twice = insert(slots, slots.view(np.float32), frozen(keys), frozen(logs), frozen(backoffs))
            if twice >= 0:
                raise DataError(
                    "two n-grams of the model are the same or have the same 64-bit hash; remove one and build it again"
                )
        return cls(slots, len(counts), counts)

    def write(self, path: Path) -> None:
        """Write the file; equal tables give equal bytes."""
        header = json.dumps({"order": self.order, "counts": list(self.counts)}, sort_keys=True).encode()
        head = MAGIC + len(header).to_bytes(8, "little") + header
        with path.open("wb") as file:
            file.write(head.ljust(-(-len(head) // PAGE) * PAGE, b"\0"))
            file.write(self.slots.data)

    @classmethod
    def open(cls, path: Path) -> "Table":
        """Map a file that `write` wrote.

        Raises:
            DataError: it is none, or not whole.
        """
        with path.open("rb") as file:
            start = file.read(16)
            header = _header(file.read(int.from_bytes(start[8:], "little")) if start.startswith(MAGIC) else b"")
        size = path.stat().st_size
        first = -(-(16 + int.from_bytes(start[8:], "little")) // PAGE) * PAGE
        if header is None or (size - first) != 16 * (int(sum(header["counts"]) * ROOM) + 8):
            raise DataError(
                f"{str(path)!r} is no whole table of n-grams; restore it or fit the model again", path=str(path)
            )
        slots: NDArray[np.uint64] = np.memmap(path, np.uint64, "r", first, (size - first) // 8)
        return cls(np.asarray(slots), header["order"], header["counts"])


def _header(data: bytes) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(data)
    except ValueError:
        return None
    return found if isinstance(found, dict) and found.keys() >= {"order", "counts"} else None
