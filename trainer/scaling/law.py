"""The parametric law of Hoffmann et al. (arXiv:2203.15556, approach 3), for one or several arms, with repetition or without.

    L = E + A / N^alpha + B / D^beta

With repetition D is D' = U + U R* (1 - exp(-R / R*)), where U are the distinct tokens and R = D / U - 1 the times that they
were seen again (Muennighoff et al., arXiv:2305.16264, equation 5). Fits minimize the **sum** of Huber losses of log residuals:
their mean is so small that an optimizer's default tolerances end the search early (Besiroglu et al., arXiv:2404.10102).
"""

from dataclasses import dataclass

import numpy as np

from trainer.scaling.points import Floats, Ints, Points

#: Of the Huber loss, in nats of log loss (arXiv:2203.15556, section 3.3).
DELTA = 1e-3
#: Logs of R* beyond this say that repeats are worth as much as fresh tokens, or nothing.
_FURTHEST = 20.0


@dataclass(frozen=True, slots=True)
class Form:
    """Which parameters there are. Those of an arm are one for each of `arms` where said, else shared by all.

    offset: B of the arm; exponent: its beta; floor: its E; repetition: R*, shared.
    """

    arms: int = 1
    offset: bool = False
    exponent: bool = False
    floor: bool = False
    repetition: bool = False

    @property
    def slices(self) -> dict[str, slice]:
        """Where each parameter lies in a vector: e, a, alpha, b, beta and, with repetition, the log of R*."""
        counts = {
            "e": self.arms if self.floor else 1,
            "a": 1,
            "alpha": 1,
            "b": self.arms if self.offset else 1,
            "beta": self.arms if self.exponent else 1,
        }
        if self.repetition:
            counts["repeats"] = 1
        ends = np.cumsum(list(counts.values()))
        return {name: slice(int(end) - n, int(end)) for (name, n), end in zip(counts.items(), ends, strict=True)}

    @property
    def parameters(self) -> int:
        """How many numbers are fitted."""
        return max(int(s.stop) for s in self.slices.values())


@dataclass(frozen=True, slots=True)
class Center:
    """Logs of the size and of the tokens in the middle of all runs, from where a and b are counted.

    E aside the law is exp(a - alpha (ln N - size)) + exp(b - beta (ln D - tokens)), whose parameters hardly depend on each other.
    """

    size: float
    tokens: float

    @classmethod
    def of(cls, points: Points) -> "Center":
        """The means of the logs."""
        return cls(float(np.log(points.parameters_N).mean()), float(np.log(points.tokens_N).mean()))


class Objective:
    """The sum of Huber losses of many parameter vectors at once, and its gradient.

    Vectors of `form` are rows, [K, P]; weights, [K, N] or [N], say how often each run counts.
    """

    def __init__(self, points: Points, form: Form, center: Center | None = None, delta: float = DELTA) -> None:
        self.form, self.delta, self.points = form, delta, points
        self.center = center or Center.of(points)
        self._x_N = np.log(points.parameters_N) - self.center.size
        self._log_loss_N = np.log(points.loss_N)
        self._unique_N = points.tokens_N if points.unique_N is None else np.minimum(points.unique_N, points.tokens_N)
        self._again_N = points.tokens_N / self._unique_N - 1.0
        self._y_N = np.log(points.tokens_N) - self.center.tokens
        self._one_hot_NA = np.eye(form.arms)[points.arm_N if form.arms > 1 else np.zeros_like(points.arm_N)]

    def __call__(self, vectors_KP: Floats, weights: Floats | None = None) -> tuple[Floats, Floats]:
        """Values [K] and gradients [K, P]."""
        parts = self._parts(vectors_KP)
        residual_KN = parts["log_loss"] - self._log_loss_N
        inside_KN = np.clip(residual_KN, -self.delta, self.delta)
        huber_KN = inside_KN * (residual_KN - 0.5 * inside_KN)
        if weights is not None:
            huber_KN *= weights
            inside_KN = inside_KN * weights
        gradient_KP = np.empty_like(vectors_KP)
        slope_KN = {
            "e": inside_KN * parts["of_floor"],
            "a": inside_KN * parts["of_size"],
            "b": inside_KN * parts["of_data"],
        }
        slope_KN["alpha"] = -slope_KN["a"] * self._x_N
        slope_KN["beta"] = -slope_KN["b"] * parts["y"]
        if self.form.repetition:
            slope_KN["repeats"] = -slope_KN["b"] * parts["beta"] * parts["y_by_repeats"]
        for name, place in self.form.slices.items():
            gradient_KP[:, place] = self._by_arm(slope_KN[name], place.stop - place.start)
        return huber_KN.sum(axis=1), gradient_KP

    def log_loss(self, vectors_KP: Floats) -> Floats:
        """Predicted logs of the loss, [K, N]."""
        return self._parts(vectors_KP)["log_loss"]

    def residuals(self, vectors_KP: Floats) -> Floats:
        """Predicted less observed logs of the loss, [K, N]."""
        return self.log_loss(vectors_KP) - self._log_loss_N

    def _parts(self, vectors_KP: Floats) -> dict[str, Floats]:
        """The terms of the law and their shares of the loss."""
        own = {name: self._spread(vectors_KP[:, place]) for name, place in self.form.slices.items()}
        y, by_repeats = self._y_N, self._y_N
        if self.form.repetition:
            y, by_repeats = self._effective(own["repeats"])
        size = own["a"] - own["alpha"] * self._x_N
        data = own["b"] - own["beta"] * y
        top = np.maximum(np.maximum(size, data), own["e"])
        of_size, of_data, of_floor = np.exp(size - top), np.exp(data - top), np.exp(own["e"] - top)
        whole = of_size + of_data + of_floor
        return {
            "log_loss": top + np.log(whole),
            "of_size": of_size / whole,
            "of_data": of_data / whole,
            "of_floor": of_floor / whole,
            "beta": own["beta"],
            "y": y,
            "y_by_repeats": by_repeats,
        }

    def _effective(self, log_repeats: Floats) -> tuple[Floats, Floats]:
        """The centred log of D', and its derivative by the log of R*."""
        repeats = np.exp(np.clip(log_repeats, -_FURTHEST, _FURTHEST))
        part = self._again_N / repeats
        fresh = -np.expm1(-part)
        growth = 1.0 + repeats * fresh
        slope = repeats * (fresh - part * np.exp(-part)) / growth
        return np.log(self._unique_N * growth) - self.center.tokens, slope

    def _spread(self, numbers: Floats) -> Floats:
        """Parameters of arms, or a shared one, for each run."""
        return numbers[:, self.points.arm_N] if numbers.shape[1] > 1 else numbers

    def _by_arm(self, slopes_KN: Floats, count: int) -> Floats:
        found: Floats = slopes_KN.sum(axis=1, keepdims=True) if count == 1 else slopes_KN @ self._one_hot_NA
        return found


def coefficients(vectors_KP: Floats, form: Form, center: Center) -> dict[str, Floats]:
    """E, A, B, alpha, beta (and repeats, R*) of vectors, each [K, 1] or [K, arms], in the law's own units."""
    own = {name: vectors_KP[:, place] for name, place in form.slices.items()}
    with np.errstate(over="ignore"):  # a sample of runs that tells nothing of a term may give it any size
        found = {
            "E": np.exp(own["e"]),
            "A": np.exp(own["a"] + own["alpha"] * center.size),
            "B": np.exp(own["b"] + own["beta"] * center.tokens),
            "alpha": own["alpha"],
            "beta": own["beta"],
        }
        return found | ({"repeats": np.exp(own["repeats"])} if form.repetition else {})


def arm_columns(form: Form, arm: int) -> Ints:
    """Places of one arm's parameters in a vector: e, a, alpha, b, beta."""
    own = form.slices
    return np.array([s.start + (arm if s.stop - s.start > 1 else 0) for name, s in own.items() if name != "repeats"])
