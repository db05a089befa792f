"""fastText classifiers, trained in one thread by tamis's kernels: equal texts, labels and seeds give equal bytes.

The file is fastText's own, for other tools to read. The order of the texts in the table does not matter: they are read in
the order of a hash of seed, text and label, which also mixes the labels (fastText reads its lines as they come).
"""

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners.quality_settings import Settings
from stages.classifiers.fasttext_file import END, SOFTMAX, SUPERVISED, content, parse
from stages.classifiers.fasttext_lines import lines_of, prefix_bytes, spaces_of
from stages.classifiers.softmax import FasttextScorer
from stages.errors import DataError, SpecError

#: Of the library: words after which the learning rate is taken up anew, and noise words that a softmax does not use.
UPDATE_RATE, NEGATIVES = 100, 5


def fit_fasttext(table: pa.Table, labels: Sequence[str], settings: Settings, seed: int) -> FasttextScorer:
    """A classifier of the columns `text` and `label`.

    Raises:
        DataError: a label has no text with a word, or is no single word.
        SpecError: the training diverges.
    """
    from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
    from stages.kernels.fasttext_training import count_words, descend, line_rows  # noqa: PLC0415 - the same

    odd = [label for label in labels if len(label.split()) != 1 or "\0" in label]
    if odd:
        raise DataError(f"fastText's labels are single words, and there is one {odd[0]!r}; rename it")
    texts, targets = _lines(table, labels, seed)
    data, offsets = buffers(texts)
    begins, ends, counts, tokens = count_words(data, offsets, spaces_of(joined=True), prefix_bytes())
    enough = counts >= settings.min_count
    words = [bytes(data[b:e]) for b, e in zip(begins[enough], ends[enough], strict=True)]
    words, counts = _ordered([*words, END], np.append(counts[enough], len(texts)))
    label_counts = np.bincount(targets, minlength=len(labels)).astype(np.int64)
    arguments = _arguments(settings, len(texts))
    input_, output = _first_weights(len(words) + arguments["bucket"], len(labels), settings.dim, seed)

    def file() -> NDArray[np.uint8]:
        inner = content(arguments, words, counts, list(labels), label_counts, tokens + len(texts), (input_, output))
        return np.frombuffer(inner, np.uint8)

    lines = lines_of(parse(file(), "model.bin"), joined=True)
    rows, starts, read = line_rows(data, offsets, lines.arguments, *lines.scratch(offsets))
    fine = descend(
        rows, starts, targets, read + 1, input_, output, settings.lr, settings.epochs(len(texts)), UPDATE_RATE
    )
    if not fine:
        raise SpecError(f"the training diverges with a learning rate of {settings.lr}; give a lower one")
    return FasttextScorer(file())


def _lines(table: pa.Table, labels: Sequence[str], seed: int) -> tuple[pa.StringArray, NDArray[np.int64]]:
    """The texts that have a word and a label, in the order of a hash, and the place of each one's label."""
    place = {label: i for i, label in enumerate(labels)}
    rows = [
        (hashlib.blake2b(f"{seed}\0{label}\0{text}".encode(), digest_size=16).digest(), text, place[label])
        for text, label in zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True)
        if text is not None and label is not None and text.strip().strip("\0 \t\n\r\v\f")
    ]
    rows.sort(key=lambda row: row[0])
    targets = np.array([row[2] for row in rows], np.int64)
    if missing := [label for label, i in place.items() if not (targets == i).any()]:
        raise DataError(f"the label {missing[0]!r} has no text with a word; give it texts, or leave it out")
    return pa.array([row[1] for row in rows], pa.string()), targets


def _ordered(words: list[bytes], counts: NDArray[np.int64]) -> tuple[list[bytes], NDArray[np.int64]]:
    """Words by falling count; those with equal counts by their bytes, so that the order of the texts does not show."""
    order = sorted(range(len(words)), key=lambda k: (-int(counts[k]), words[k]))
    return [words[k] for k in order], counts[order]


def _arguments(settings: Settings, texts: int) -> dict[str, int]:
    """What a model's file says of how it was made; a model of single words has no buckets."""
    return {
        "dim": settings.dim,
        "ws": settings.ws,
        "epoch": settings.epochs(texts),
        "min_count": settings.min_count,
        "neg": NEGATIVES,
        "word_ngrams": settings.word_ngrams,
        "loss": SOFTMAX,
        "model": SUPERVISED,
        "bucket": settings.bucket if settings.word_ngrams > 1 else 0,
        "minn": 0,
        "maxn": 0,
        "lr_update_rate": UPDATE_RATE,
    }


def _first_weights(rows: int, labels: int, dim: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The input, uniform in (-1/dim, 1/dim), and the output, all zeros."""
    source = np.random.Generator(np.random.PCG64([seed, rows, dim]))
    input_ = source.random((rows, dim), np.float32)
    input_ *= np.float32(2 / dim)
    input_ -= np.float32(1 / dim)
    return input_, np.zeros((labels, dim), np.float32)
