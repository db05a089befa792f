"""Scores of lines of words: by a table of n-grams, or by kenlm where a model is in one of its own formats."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.errors import DataError, SpecError
from stages.ngrams import arpa
from stages.ngrams.pieces import ADVICE
from stages.ngrams.table import MAGIC, Table

_RESERVED = frozenset({b"<s>", b"</s>", b"<unk>"})
_GAPS = bytes.maketrans(b"\0\t\r\x0b\x0c", b"     ")


@dataclass(frozen=True, slots=True)
class Scores:
    """For each text: minus the natural logarithm of its probability; words and ends of sentences; words; unknown ones."""

    nats: NDArray[np.float64]
    tokens: NDArray[np.int64]
    words: NDArray[np.int64]
    unknown: NDArray[np.int64]

    def arrays(self) -> tuple[NDArray[Any], ...]:
        """All four."""
        return self.nats, self.tokens, self.words, self.unknown


def opened(path: Path) -> "Table | KenLM":
    """The model in a file: a table, an ARPA file (plain or gzip), or one of kenlm's binary formats.

    Raises:
        DataError: it is none of these, or is cut off.
        SpecError: kenlm is needed and not installed.
    """
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as error:
        raise DataError(
            f"the model {str(path)!r} cannot be read ({error}); name a file that is there", path=str(path)
        ) from error
    if start.startswith(MAGIC):
        return Table.open(path)
    return KenLM(path) if start.startswith(b"mmap lm") else arpa.read(path) or KenLM(path)


class KenLM:
    """A model in one of kenlm's binary formats, or in an ARPA file with gaps, which kenlm fills."""

    def __init__(self, path: Path) -> None:
        try:
            import kenlm  # noqa: PLC0415 - only its own formats need it
        except ImportError as error:
            raise SpecError(f"{str(path)!r} can be read by kenlm alone, which is not installed; {ADVICE}") from error
        config = kenlm.Config()
        config.show_progress = False
        config.arpa_complain = kenlm.ARPALoadComplain.NONE
        try:
            self._model = kenlm.Model(str(path), config)
        except OSError as error:
            raise DataError(
                f"kenlm cannot read {str(path)!r} ({error}); build the model again", path=str(path)
            ) from error

    def counts(self, text: bytes) -> tuple[float, int, int, int]:
        """Sum of base-10 logarithms, words, sentences, unknown words of the lines of a text."""
        total, words, sentences, unknown = 0.0, 0, 0, 0
        for line in text.removesuffix(b"\n").split(b"\n") if text else ():
            own = [w for w in line.translate(_GAPS).split(b" ") if w and w not in _RESERVED]
            for log, _, oov in self._model.full_scores(b" ".join(own)):
                total += log
                unknown += oov
            words += len(own)
            sentences += 1
        return total, words, sentences, unknown


def score(model: Table | KenLM, lines: pa.StringArray) -> Scores:
    """Score texts whose lines are sentences."""
    if isinstance(model, KenLM):
        rows = [model.counts(text) for text in lines.cast(pa.binary()).to_pylist()]
        found: Any = [np.array(column) for column in zip(*rows, strict=True)] or [np.empty(0, np.int64)] * 4
    else:
        from stages.kernels import ngram_table  # noqa: PLC0415 - loads numba
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - the same

        found = ngram_table.score(*buffers(lines), model.slots, model.values, model.order)
    sums, words, sentences, unknown = found
    return Scores(-sums * math.log(10), words + sentences, words, unknown)
