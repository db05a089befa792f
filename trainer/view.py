"""What an arm trains on: rows of a token pack, and whether their order is the training order. Nothing is copied.

A row may stand more than once: a selection's epochs. The rows of a view without an order are a bag and kept ascending, so
that the same documents are the same view whoever lists them; the stream draws their order anew each epoch. An ordered view
(a curriculum) is read as given, each epoch again.

    view = View(np.flatnonzero(kept), ordered=False, name="curated", pack=pack.key)
    view.check(pack)
    view.save(path)
"""

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stages import fingerprint
from stages.errors import DataError
from trainer.flat_file import FlatFile, FlatWriter
from trainer.token_pack import TokenPack

MAGIC = b"tamisVW1"
WHAT = "a view"
_MANY = 1 << 20


class View:
    """Rows of a pack, [K] of int64, in training order when `ordered`.

    name: for people, not in the key; pack: the key of the pack that the rows count in, None where it is not known.

    Raises:
        ValueError: the rows are not a list of whole numbers.
    """

    def __init__(self, rows: NDArray[np.integer[Any]], ordered: bool, name: str, pack: str | None = None) -> None:  # noqa: FBT001 - the second of a view's two facts
        given = np.asarray(rows)
        if given.ndim != 1 or (given.size and not np.issubdtype(given.dtype, np.integer)):
            raise ValueError(
                f"the rows of the view {name!r} are {given.dtype} of shape {given.shape}, not a list of rows"
            )
        held = given.astype(np.int64, copy=False)
        if not ordered and (held[1:] < held[:-1]).any():
            held = np.sort(held)
        self.rows: NDArray[np.int64] = held
        self.ordered = ordered
        self.name = name
        self.pack = pack

    @cached_property
    def key(self) -> str:
        """A key of the rows, and of their order where it counts."""
        rows = hashlib.sha256(np.ascontiguousarray(self.rows, "<i8").data).hexdigest()
        return fingerprint.key({"rows": rows, "ordered": self.ordered})

    def check(self, pack: TokenPack) -> None:
        """See whether the view can be read from this pack.

        Raises:
            DataError: it is empty, it counts in another pack, or it has documents whose tokens are unknown.
        """
        if not len(self.rows):
            raise DataError(f"the view {self.name!r} has no documents, so nothing can be trained on it", view=self.name)
        low, high = int(self.rows.min()), int(self.rows.max())
        if self.pack not in {None, pack.key} or low < 0 or high >= pack.documents:
            why = (
                f"it names row {low if low < 0 else high} and the pack has {pack.documents} documents"
                if low < 0 or high >= pack.documents
                else f"it was made for {self.pack} and this is {pack.key}"
            )
            raise DataError(
                f"the view {self.name!r} belongs to another pack of tokens: {why}; make the view again", view=self.name
            )
        unknown = sum(
            int((pack.lengths_of(self.rows[begin : begin + _MANY]) < 0).sum())
            for begin in range(0, len(self.rows), _MANY)
        )
        if unknown:
            raise DataError(
                f"the view {self.name!r} has {unknown} documents whose tokens are unknown; leave them out",
                view=self.name,
            )

    def save(self, path: Path) -> None:
        """Write the view; it appears whole or not at all.

        Raises:
            StorageError: the file cannot be written.
        """
        with FlatWriter(path, MAGIC) as writer:
            writer.array("rows", self.rows)
            writer.finish({"ordered": self.ordered, "name": self.name, "pack": self.pack, "format": 1})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a view; its rows are the file's own memory.

        Raises:
            StorageError: the file is missing, cut, damaged or not a view.
        """
        file = FlatFile(Path(path), MAGIC, WHAT)
        file.verify()
        header = file.header
        return cls(file.map()["rows"], header["ordered"], header["name"], header["pack"])
