"""A fastText model's file (.bin or .ftz, versions 11 and 12), read without the library."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stages.errors import SpecError

MAGIC, VERSIONS = 793712314, (11, 12)
HIERARCHICAL, NEGATIVE, SOFTMAX, ONE_VS_ALL = 1, 2, 3, 4
SUPERVISED = 3
CENTROIDS = 256
END = b"</s>"
PREFIX = b"__label__"
#: The threshold of word sampling that files name, and supervised training does not use.
SAMPLING = 1e-4
ARGUMENTS = (
    "dim",
    "ws",
    "epoch",
    "min_count",
    "neg",
    "word_ngrams",
    "loss",
    "model",
    "bucket",
    "minn",
    "maxn",
    "lr_update_rate",
)

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Quantized:
    """A matrix of which each row is one centroid for every few columns, and a norm."""

    codes: Bytes  # rows, parts
    centroids: tuple[Floats, ...]  # for each part: 256, columns
    norms: Floats | None  # rows


@dataclass(frozen=True, slots=True)
class Model:
    """A supervised model. The input has a row for each word, then for each bucket of n-grams that is kept."""

    arguments: dict[str, int]
    data: Bytes  # the file, in which the dictionary's entries are
    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    words: int  # the first entries are words, the others labels
    labels: tuple[str, ...]
    label_counts: NDArray[np.int64]
    pruned: NDArray[np.int32] | None  # the bucket of each kept row; None: all are kept
    input: Floats | Quantized
    output: Floats  # labels (or nodes of the tree), dim

    def rows(self, first: int, last: int) -> Floats:
        """Rows of the input, as the library adds them up."""
        if not isinstance(self.input, Quantized):
            return self.input[first:last]
        codes = self.input.codes[first:last]
        parts = [table[codes[:, m]] for m, table in enumerate(self.input.centroids)]
        rows = np.concatenate(parts, axis=1)
        return rows if self.input.norms is None else self.input.norms[first:last, None] * rows

    @property
    def row_count(self) -> int:
        """Rows of the input."""
        return len(self.input.codes if isinstance(self.input, Quantized) else self.input)


class _Reader:
    """Numbers, one after the other."""

    def __init__(self, data: Bytes, name: str) -> None:
        self.data, self.at, self.name = data, 0, name

    def array(self, kind: str, count: int) -> NDArray[Any]:
        size = np.dtype(kind).itemsize * count
        if count < 0 or self.at + size > len(self.data):
            raise broken(self.name, "it ends too early")
        values = np.ndarray((count,), kind, self.data, self.at)
        self.at += size
        return values

    def one(self, kind: str) -> int:
        return int(self.array(kind, 1)[0])


def broken(name: str, why: str) -> SpecError:
    """The error of a file that is no model of fastText that this version reads."""
    return SpecError(f"{name!r} is no fastText classifier that tamis can read: {why}; name another file", path=name)


def read(path: Path) -> Model:
    """The model in a file.

    Raises:
        SpecError: it is none, or one of a kind that is not read.
    """
    if not path.stat().st_size:
        raise broken(path.name, "it is empty")
    return parse(np.memmap(path, np.uint8, "r"), path.name)


def parse(data: Bytes, name: str) -> Model:
    """The model in the bytes of a file.

    Raises:
        SpecError: it is none, or one of a kind that is not read.
    """
    from stages.kernels.fasttext_lines import entries  # noqa: PLC0415 - numba is slow to import

    data = np.asarray(data).view(np.ndarray)
    data.setflags(write=False)  # one type for the kernels, wherever the bytes are from
    reader = _Reader(data, name)
    if reader.one("<i4") != MAGIC or (version := reader.one("<i4")) not in VERSIONS:
        raise broken(name, "it does not begin like one")
    arguments = dict(zip(ARGUMENTS, reader.array("<i4", 12).tolist(), strict=True))
    reader.array("<f8", 1)
    if arguments["model"] != SUPERVISED:
        raise broken(name, "it holds word vectors, not a classifier")
    if version == VERSIONS[0]:
        arguments["maxn"] = 0
    size, words, labels = reader.array("<i4", 3).tolist()
    reader.one("<i8")
    pruned = reader.one("<i8")
    begins, ends, counts, _, reader.at = entries(reader.data, reader.at, size)
    if reader.at < 0 or words + labels != size:
        raise broken(name, "its dictionary is damaged")
    index = reader.array("<i4", 2 * pruned).reshape(-1, 2) if pruned >= 0 else None
    matrix = _quantized(reader) if (packed := reader.one("?")) else _dense(reader)
    if reader.one("?") and packed:
        raise broken(name, "its output matrix is quantized")
    names = [bytes(reader.data[b:e]) for b, e in zip(begins[words:], ends[words:], strict=True)]
    own = tuple(n.removeprefix(PREFIX).decode() for n in names)
    kept = None if index is None else index[np.argsort(index[:, 1]), 0]
    return Model(arguments, reader.data, begins, ends, words, own, counts[words:], kept, matrix, _dense(reader))


def _dense(reader: _Reader) -> Floats:
    rows, columns = reader.one("<i8"), reader.one("<i8")
    return reader.array("<f4", rows * columns).reshape(rows, columns)


def _quantized(reader: _Reader) -> Quantized:
    normed, rows, columns = reader.one("?"), reader.one("<i8"), reader.one("<i8")
    codes = reader.array("u1", reader.one("<i4")).reshape(rows, -1)
    centroids = _centroids(reader)
    if sum(c.shape[1] for c in centroids) != columns or len(centroids) != codes.shape[1]:
        raise broken(reader.name, "its quantized matrix is damaged")
    if not normed:
        return Quantized(codes, centroids, None)
    norm_codes = reader.array("u1", rows)
    (norms,) = _centroids(reader)
    return Quantized(codes, centroids, norms[norm_codes, 0])


def _centroids(reader: _Reader) -> tuple[Floats, ...]:
    """For each part of a row its 256 centroids."""
    columns, parts, width, last = reader.array("<i4", 4).tolist()
    flat = reader.array("<f4", columns * CENTROIDS)
    cut = CENTROIDS * width
    own = [flat[m * cut : (m + 1) * cut].reshape(CENTROIDS, width) for m in range(parts - 1)]
    return (*own, flat[(parts - 1) * cut :].reshape(CENTROIDS, last))


def content(
    arguments: dict[str, int],
    words: list[bytes],
    counts: NDArray[np.int64],
    labels: list[str],
    label_counts: NDArray[np.int64],
    tokens: int,
    matrices: tuple[Floats, Floats],
) -> bytes:
    """The bytes of a model's file: version 12, nothing quantized or pruned. `arguments` are those of ARGUMENTS."""
    names = [*words, *(PREFIX + label.encode() for label in labels)]
    kinds = [0] * len(words) + [1] * len(labels)
    numbers = np.concatenate([counts, label_counts]).tolist()
    dictionary = b"".join(
        name + b"\0" + int(n).to_bytes(8, "little") + bytes([kind])
        for name, n, kind in zip(names, numbers, kinds, strict=True)
    )
    head = [MAGIC, VERSIONS[-1], *(arguments[name] for name in ARGUMENTS)]
    parts = [
        np.array(head, "<i4").tobytes(),
        np.array([SAMPLING], "<f8").tobytes(),
        np.array([len(names), len(words), len(labels)], "<i4").tobytes(),
        np.array([tokens, -1], "<i8").tobytes(),
        dictionary,
    ]
    for matrix in matrices:
        parts += [b"\0", np.array(matrix.shape, "<i8").tobytes(), np.ascontiguousarray(matrix, "<f4").tobytes()]
    return b"".join(parts)
