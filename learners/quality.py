"""Classifiers of documents by labelled texts: fastText (the DCLM recipe) and embeddings with logistic regression.

Fitting is pure: equal tables, settings and seed give equal bytes. Nothing here reads or writes a store.

    fitted = fit(pa.table({"text": texts, "label": labels}), settings=Settings(), seed=1)
    p_NC = fitted.predict(texts)          # columns in the order of fitted.labels

Sources: Li et al. 2024 (DCLM, arXiv:2406.11794), Penedo et al. 2024 (FineWeb-Edu, arXiv:2406.17557).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners.quality_embedding import fit_embedding
from learners.quality_fasttext import fit_fasttext
from stages.errors import DataError
from stages.classifiers.scorer import Scorer

Kind = Literal["fasttext", "embedding"]


@dataclass(frozen=True, slots=True)
class Settings:
    """How a classifier is fitted. The defaults for fastText are those of DCLM's trainer.

    `model` and `inverse_l2` (scikit-learn's C) are of the kind `embedding`, the others of the kind `fasttext`.
    """

    kind: Kind = "fasttext"
    lr: float = 0.1
    dim: int = 100
    ws: int = 5
    epoch: int = 5
    min_count: int = 1
    word_ngrams: int = 1
    bucket: int = 2_000_000
    model: str = "static"
    inverse_l2: float = 10.0

    def json(self) -> dict[str, Any]:
        """The settings that matter for the kind."""
        if self.kind == "embedding":
            return {"kind": self.kind, "model": self.model, "inverse_l2": self.inverse_l2}
        names = ("kind", "lr", "dim", "ws", "epoch", "min_count", "word_ngrams", "bucket")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A classifier: its labels in alphabetical order, and what scores texts with it."""

    labels: tuple[str, ...]
    scorer: Scorer

    def predict(self, given: pa.StringArray | NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (N texts, C labels) as the model gives them, not calibrated; NaN for a text without a word.

        A classifier of the kind `embedding` takes texts, or their vectors of length 1 (N, D) where they are there already.
        """
        return self.scorer.predict(given)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the classifier's files; their paths by role."""
        return self.scorer.write(folder)

    def identity(self) -> Mapping[str, Any]:
        """What its numbers depend on beside its files: labels, and the embedding model's content."""
        return {"labels": list(self.labels), **self.scorer.identity()}


def fit(table: pa.Table, *, settings: Settings, seed: int) -> Fitted:
    """A classifier fitted on the columns `text` and `label` (strings), in the order of the rows.

    Where the table has `vector` (a column of the stage `embedding`), the kind `embedding` does not read the texts.

    Raises:
        DataError: there are fewer than two labels, or a label has no text with a word.
    """
    labels = labels_of(table["label"])
    if settings.kind == "embedding":
        return Fitted(labels, fit_embedding(table, labels, settings, seed))
    return Fitted(labels, fit_fasttext(table, labels, settings, seed))


def labels_of(column: pa.ChunkedArray) -> tuple[str, ...]:
    """The different labels, sorted.

    Raises:
        DataError: there are fewer than two.
    """
    labels = sorted(column.drop_null().unique().to_pylist())
    if len(labels) < 2:  # noqa: PLR2004 - the least that can be told apart
        have = f"all texts have the label {labels[0]!r}" if labels else "no text has a label"
        raise DataError(f"a classifier tells at least two labels apart, and {have}; give texts with another label")
    return tuple(labels)
