"""The scorer of active learning: the quality learner's logistic regression over vectors that are there already."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from learners.acquisition import Rows
from learners.active import Fit
from learners.quality import Fitted, Settings, fit
from learners.quality_study import BAD, GOOD
from stages.classifiers.calibration import Calibration
from stages.embeddings.encoding import vectors_of

TWO = 2


@dataclass(frozen=True)
class PoolScorer:
    """A fitted classifier and the vectors of the pool."""

    fitted: Fitted
    vectors: pa.Array = field(repr=False)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels, sorted."""
        return self.fitted.labels

    @cached_property
    def _probabilities(self) -> npt.NDArray[np.float64]:
        return self.fitted.predict(self.vectors)

    def predict(self) -> npt.NDArray[np.float64]:
        """Probabilities (N, C) of every document of the pool; NaN where there is no vector."""
        return self._probabilities


def fit_on(vectors: pa.Array, settings: Settings) -> Fit:
    """Fits the quality learner on rows of these vectors."""

    def fit_rows(rows: Rows, labels: Sequence[str], seed: int) -> PoolScorer:
        table = pa.table({"label": pa.array(labels, pa.string()), "vector": vectors.take(pa.array(rows))})
        return PoolScorer(fit(table, settings=settings, seed=seed), vectors)

    return fit_rows


def high_of(labels: Sequence[str], given: str | None) -> str | None:
    """The label whose probability is `p_high`: the given one, or of two the one that is called good, or not bad."""
    if given is not None or len(labels) != TWO:
        return given if given in labels else None
    good = [label for label in labels if label.lower() in GOOD] or [n for n in labels if n.lower() not in BAD]
    return good[0] if len(good) == 1 else labels[-1]


def identity_of(fitted: Fitted, given: str | None) -> dict[str, Any]:
    """What scores of the stage `quality` depend on beside the files. Picks are no random sample, so nothing is calibrated."""
    return {**fitted.identity(), "high": high_of(fitted.labels, given), "calibration": Calibration().json()}


def matrix(vectors: pa.Array) -> npt.NDArray[np.float32]:
    """The vectors (N, D), zeros where there is none."""
    found = vectors_of(vectors).astype(np.float32)
    found[~vectors.is_valid().to_numpy(zero_copy_only=False)] = 0
    return found
