"""What gives texts their class probabilities: a fitted classifier, opened."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

#: An Arrow array (texts, or a column of vectors), or vectors (N, D).
Given = Any


class Scorer(Protocol):
    """A classifier's numbers and files. `labels` names the columns of what it predicts."""

    labels: tuple[str, ...]

    def predict(self, given: Given) -> NDArray[np.float64]:
        """Probabilities (N, C), not calibrated; NaN in the row of a text that has nothing to be judged by."""

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the classifier's files; their paths by role."""

    def identity(self) -> dict[str, Any]:
        """What the numbers depend on beside labels and files."""


def softmax(logits_NC: NDArray[np.float64], known_N: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Probabilities of logits, NaN where nothing is known."""
    shares_NC = np.exp(logits_NC - logits_NC.max(axis=1, keepdims=True, initial=-np.inf))
    p_NC: NDArray[np.float64] = shares_NC / shares_NC.sum(axis=1, keepdims=True)
    p_NC[~known_N] = np.nan
    return p_NC
