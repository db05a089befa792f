"""Classifiers of documents by labelled texts: fastText (the DCLM recipe) and embeddings with logistic regression.

Fitting is pure: equal tables, settings and seed give equal bytes. Nothing here reads or writes a store.

    fitted = fit(pa.table({"text": texts, "label": labels}), settings=Settings(), seed=1)
    p_NC = fitted.predict(texts)          # columns in the order of fitted.labels

Sources: Li et al. 2024 (DCLM, arXiv:2406.11794), Penedo et al. 2024 (FineWeb-Edu, arXiv:2406.17557).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners.quality_embedding import fit_embedding
from learners.quality_fasttext import fit_fasttext
from learners.quality_settings import Settings
from stages.errors import DataError

__all__ = ["Fitted", "Settings", "fit", "labels_of"]
from stages.classifiers.logistic import LogisticScorer
from stages.classifiers.scorer import Given, Scorer


@dataclass(frozen=True, slots=True)
class Fitted:
    """A classifier: its labels in alphabetical order, and what scores texts with it."""

    labels: tuple[str, ...]
    scorer: Scorer

    def predict(self, given: Given) -> NDArray[np.float64]:
        """Probabilities (N texts, C labels) as the model gives them, not calibrated; NaN for a text without a word.

        A classifier of the kind `embedding` takes texts, a column `vector` of the stage `embedding`, or vectors (N, D).
        """
        return self.scorer.predict(given)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the classifier's files; their paths by role."""
        return self.scorer.write(folder)

    def vectors(self, texts: pa.StringArray) -> pa.Array | None:
        """The column `vector` of texts, for a later `predict` or `fit`; None where the kind needs none."""
        return self.scorer.vectors(texts) if isinstance(self.scorer, LogisticScorer) else None

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
