"""Logistic regression over embeddings (the FineWeb-Edu recipe: frozen encoder, linear head)."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners.quality_settings import Settings
from stages.classifiers.logistic import LogisticScorer
from stages.embeddings.encoding import vectors_of
from stages.errors import DataError, SpecError
from stages.text.embedding import Embedding

Floats = NDArray[np.float64]
#: Steps of L-BFGS at most; the problem is convex, and some hundreds are enough at float64.
STEPS = 2_000


def fit_embedding(table: pa.Table, labels: Sequence[str], settings: Settings, seed: int) -> LogisticScorer:
    """A classifier of the columns `text` (or `vector`) and `label`. The seed changes nothing: the problem is convex.

    Raises:
        DataError: a label has no text with a vector.
        SpecError: scikit-learn or the encoder is missing.
    """
    del seed
    embedding = Embedding(model=settings.model).resolve({})
    dimensions = embedding.schema().field("vector").type.byte_width // 2
    empty = LogisticScorer(tuple(labels), embedding, np.zeros((len(labels), dimensions)), np.zeros(len(labels)))
    if "vector" in table.column_names:
        column = table["vector"].combine_chunks()
        column = column.chunk(0) if isinstance(column, pa.ChunkedArray) else column
    else:
        texts = pa.array(table["text"].to_pylist(), pa.string())
        column = empty.vectors(texts.fill_null(""))
    place = {label: i for i, label in enumerate(labels)}
    y_N = np.array([place.get(label, -1) for label in table["label"].to_pylist()])
    there_N = column.is_valid().to_numpy(zero_copy_only=False) & (y_N >= 0)
    x_ND, y_N = vectors_of(column)[there_N].astype(np.float64), y_N[there_N]
    if missing := [label for label, i in place.items() if not (y_N == i).any()]:
        raise DataError(f"the label {missing[0]!r} has no text with a word; give it texts, or leave it out")
    return LogisticScorer(tuple(labels), embedding, *_regression(x_ND, y_N, settings.inverse_l2))


def _regression(x_ND: Floats, y_N: NDArray[np.int64], inverse_l2: float) -> tuple[Floats, Floats]:
    """Weights (C, D) and intercepts (C)."""
    try:
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - for this kind only
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]  # no stubs  # noqa: PLC0415 - the same
    except ModuleNotFoundError as error:
        raise SpecError("the kind embedding is fitted with scikit-learn; run: pip install scikit-learn") from error
    # Threads add up in another order each time, and on matrices this small they only wait for each other.
    with threadpool_limits(1):
        fitted = LogisticRegression(C=inverse_l2, max_iter=STEPS, tol=1e-8).fit(x_ND, y_N)
    weights, intercepts = fitted.coef_, fitted.intercept_
    if len(fitted.classes_) == 2:  # noqa: PLR2004 - one row says both
        weights, intercepts = np.vstack([0 * weights, weights]), np.append(0.0, intercepts)
    return np.ascontiguousarray(weights, np.float64), np.asarray(intercepts, np.float64)
