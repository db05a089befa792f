"""The tables with which the kernels turn a line into rows of a fastText model's input."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.classifiers.fasttext_file import END, PREFIX, Model

#: Places of two numbers in the kernels' `sizes`.
MAXN, NGRAMS = 4, 5
#: What separates words in fastText.
SEPARATORS = b" \n\r\t\v\f\0"
#: What else ends a line for `str.splitlines`, in ASCII.
LINE_ENDS = b"\x1c\x1d\x1e"


@dataclass(frozen=True, slots=True)
class Lines:
    """Tables of a model; `arguments` is what `rows_of` takes after a span of text, and before its two scratch arrays."""

    arguments: tuple[Any, ...]
    order: NDArray[np.int64] | None  # for each row of the kernels, the model's; None: the same

    def scratch(self, offsets: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """Arrays with room for the rows and the words of the longest of the texts between the offsets."""
        size = int(np.diff(offsets).max(initial=0))
        words = size // 2 + 2
        sizes = self.arguments[2]
        rows = words * max(1, int(sizes[NGRAMS])) + (size + 2 * words) * int(sizes[MAXN])
        return np.empty(rows, np.int32), np.empty(words, np.int32)


def lines_of(model: Model, *, joined: bool) -> Lines:
    """The tables of a model; `joined`: every line break of `str.splitlines` separates words too."""
    from stages.kernels.fasttext_lines import word_table  # noqa: PLC0415 - numba is slow to import

    table, hashes = word_table(model.data, model.begins, model.ends, 1 << max(4, (2 * len(model.begins)).bit_length()))
    end = next((k for k in range(model.words) if bytes(model.data[model.begins[k] : model.ends[k]]) == END), -1)
    bits, ranks, order = _kept(model)
    a = model.arguments
    sizes = [model.words, len(model.begins), a["bucket"], a["minn"], a["maxn"], a["word_ngrams"], end]
    sizes += [-1 if model.pruned is None else len(model.pruned), int(joined)]
    arguments = (
        spaces_of(joined=joined),
        prefix_bytes(),
        np.array(sizes, np.int64),
        model.data,
        model.begins,
        model.ends,
    )
    return Lines((*arguments, table, hashes, bits, ranks), order)


def spaces_of(*, joined: bool) -> NDArray[np.bool_]:
    """For each byte whether it separates words."""
    spaces = np.zeros(256, np.bool_)
    spaces[list(SEPARATORS + (LINE_ENDS if joined else b""))] = True
    return spaces


def prefix_bytes() -> NDArray[np.uint8]:
    """What labels begin with."""
    return np.frombuffer(PREFIX, np.uint8)


def _kept(model: Model) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64] | None]:
    """A bit for each bucket that is kept, the row of the first one in each 64, and which rows those are of the model."""
    if model.pruned is None:
        return np.zeros(1, np.uint64), np.zeros(1, np.int64), None
    blocks = model.arguments["bucket"] // 64 + 1
    flags = np.zeros(blocks * 64, np.uint8)
    flags[model.pruned] = 1
    bits = np.packbits(flags, bitorder="little").view("<u8").astype(np.uint64)
    ranks = np.zeros(blocks, np.int64)
    np.cumsum(flags.reshape(-1, 64).sum(axis=1, dtype=np.int64)[:-1], out=ranks[1:])
    order = np.concatenate([np.arange(model.words), model.words + np.argsort(model.pruned, kind="stable")])
    return bits, ranks + model.words, order
