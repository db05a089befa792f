"""Calibrated probabilities: what a classifier says, made to mean how often it is right."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["none", "platt", "isotonic", "temperature"]
#: Probabilities are kept this far from 0 and 1 before they become logits.
LEAST = 1e-12


@dataclass(frozen=True, slots=True)
class Calibration:
    """A rising map of probabilities to probabilities.

    - `platt`: of two classes, sigmoid(slope * logit(p) + shift); Platt 1999. Keeps the order of all documents.
    - `isotonic`: of two classes, linear between the points (x, y); Zadrozny and Elkan 2002. Makes ties.
    - `temperature`: p ** slope, normalized; Guo et al. 2017, arXiv:1706.04599.
    - `none`: p itself.
    """

    method: Method = "none"
    slope: float = 1.0
    shift: float = 0.0
    x: tuple[float, ...] = ()
    y: tuple[float, ...] = ()

    def high(self, p_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """Calibrated probability of the high class of two; NaN stays NaN."""
        if self.method == "platt":
            return sigmoid(self.slope * logit(p_N) + self.shift)
        if self.method == "isotonic":
            found_N: NDArray[np.float64] = np.interp(p_N, self.x, self.y)
            return np.where(np.isnan(p_N), np.nan, found_N)
        return p_N

    def all(self, p_NC: NDArray[np.float64], high: int | None) -> NDArray[np.float64]:
        """Calibrated probabilities of all classes, (N, C); `high` is the column that the map is of, for two classes."""
        if self.method == "temperature":
            shares_NC = np.clip(p_NC, LEAST, 1) ** self.slope
            whole_NC: NDArray[np.float64] = shares_NC / shares_NC.sum(axis=1, keepdims=True)
            return whole_NC
        if high is None or self.method == "none":
            return p_NC
        answer_NC = np.empty_like(p_NC)
        answer_NC[:, high] = self.high(p_NC[:, high])
        answer_NC[:, 1 - high] = 1 - answer_NC[:, high]
        return answer_NC

    def json(self) -> dict[str, Any]:
        """The map as data: what its method needs."""
        own = {"platt": ("slope", "shift"), "isotonic": ("x", "y"), "temperature": ("slope",)}.get(self.method, ())
        values = {name: getattr(self, name) for name in own}
        return {"method": self.method, **{n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Calibration":
        """The map that `json` described."""
        own: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in value.items()}
        return cls(**own)


def logit(p_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """log(p / (1 - p)), finite."""
    inside = np.clip(p_N, LEAST, 1 - LEAST)
    answer: NDArray[np.float64] = np.log(inside) - np.log1p(-inside)
    return answer


def sigmoid(x_N: NDArray[np.float64]) -> NDArray[np.float64]:
    """1 / (1 + exp(-x)), without overflow."""
    answer: NDArray[np.float64] = 0.5 * (1 + np.tanh(0.5 * x_N))
    return answer
