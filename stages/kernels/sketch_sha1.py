"""SHA-1 hashes of n-grams, in Python: for parity with datasketch's own hash, not for speed."""

import hashlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.sketch_folds import ALONE, MARK, SEPARATOR, SKIPPED, WORD, ZERO, Folding, fold, switches_of


def grams(text: str, stage: Any) -> Iterator[int]:
    """The first eight bytes, little-endian, of the SHA-1 of each n-gram; of all tokens where they are fewer than one.

    Words are joined by one space, characters by nothing.
    """
    window: deque[str] = deque(maxlen=stage.ngram)
    joint = "" if stage.unit == "character" else " "
    full = False
    for token in characters(text, stage) if stage.unit == "character" else words(text, stage):
        window.append(token)
        full = len(window) == stage.ngram
        if full:
            yield _hash(joint.join(window))
    if window and not full:
        yield _hash(joint.join(window))


def _hash(gram: str) -> int:
    return int.from_bytes(hashlib.sha1(gram.encode(), usedforsecurity=False).digest()[:8], "little")


def _folded(text: str, stage: Folding) -> Iterator[tuple[int, str]]:
    known: dict[str, tuple[int, str]] = {}
    switches = switches_of(stage)
    for char in text:
        entry = known.get(char)
        if entry is None:
            entry = known[char] = fold(ord(char), switches)
        if entry[0] != SKIPPED:
            yield entry


def words(text: str, stage: Folding) -> Iterator[str]:
    """The words of a text, folded."""
    word: list[str] = []
    state = SEPARATOR
    for kind, char in _folded(text, stage):
        if kind == MARK:
            if state != SEPARATOR:
                word.append(char)
                state = WORD if state == ZERO else state
            continue
        if word and (kind in (SEPARATOR, ALONE) or state == ALONE):
            yield "".join(word)
            word.clear()
        if kind != SEPARATOR and not (kind == state == ZERO):
            word.append(char)
        state = kind
    if word:
        yield "".join(word)


def characters(text: str, stage: Folding) -> Iterator[str]:
    """The characters of a text, folded, with one space between those that separators stand between."""
    state, begun = SEPARATOR, False
    for kind, char in _folded(text, stage):
        if kind == SEPARATOR:
            state = SEPARATOR
            continue
        if (kind == MARK and state == SEPARATOR) or (kind == state == ZERO):
            continue
        if state == SEPARATOR and begun:
            yield " "
        yield char
        state, begun = kind, True


def all_grams(texts: pa.Array, stage: Any) -> tuple[NDArray[Any], NDArray[Any]]:
    """The hashes of all n-grams of each text in order, and where each text's begin."""
    found = [np.fromiter(grams(text.as_py(), stage), np.uint64) for text in texts]
    begins = np.zeros(len(found) + 1, np.int64)
    np.cumsum([len(f) for f in found], out=begins[1:])
    return np.concatenate([np.empty(0, np.uint64), *found]), begins


def count_tokens(texts: pa.Array, stage: Any) -> NDArray[Any]:
    """Tokens of each text."""
    tokens = characters if stage.unit == "character" else words
    return np.fromiter((sum(1 for _ in tokens(text.as_py(), stage)) for text in texts), np.int64, len(texts))
