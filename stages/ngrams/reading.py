"""How a text becomes the lines of words of an n-gram model: a named normalization, then pieces where there are any."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from stages.fingerprint import file_digest
from stages.ngrams.normalizations import Normalization, identity, normalizer
from stages.ngrams.pieces import segmenter


@dataclass(frozen=True, slots=True)
class Reading:
    """A normalization by name, and the SentencePiece model whose pieces are the words; None: words are."""

    normalization: Normalization = "plain"
    pieces: Path | None = None

    def identity(self) -> dict[str, Any]:
        """What the lines depend on: names and versions, and the content of the pieces' model."""
        pieces = {} if self.pieces is None else {"pieces": file_digest(self.pieces)}
        return {"normalization": identity(self.normalization), **pieces}

    def open(self) -> Callable[[pa.StringArray], pa.StringArray]:
        """The function from texts to lines.

        Raises:
            SpecError: sentencepiece or its model is missing.
            DataError: the model is none.
        """
        normalize = normalizer(self.normalization)
        if self.pieces is None:
            return normalize
        cut = segmenter(self.pieces)
        return lambda texts: cut(normalize(texts))
