"""Training runs as points of a scaling law: model size, tokens and the loss that came of them."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

#: Training FLOPs of one token and one parameter (Kaplan et al., arXiv:2001.08361, section 2.1).
FLOPS_PER_PARAMETER_TOKEN = 6.0
#: Sizes within this part of each other are one size: published sizes are rounded or read off a figure.
SAME_SIZE = 0.02
#: Tokens over distinct tokens from which a run counts as one with repeats.
REPEATED = 1.05


@dataclass(frozen=True, slots=True)
class Points:
    """One row for each training run.

    parameters_N; tokens_N (trained on, repeats counted); loss_N (any positive unit, the same for all); arm_N: index into
    `arms`; unique_N: distinct tokens among those trained on, None where nothing is repeated.
    """

    parameters_N: Floats
    tokens_N: Floats
    loss_N: Floats
    arm_N: Ints
    arms: tuple[str, ...] = ("all",)
    unique_N: Floats | None = None

    def __post_init__(self) -> None:
        """Check shapes and ranges.

        Raises:
            ValueError: lengths differ, or a number is not positive and finite.
        """
        columns = {"parameters": self.parameters_N, "tokens": self.tokens_N, "loss": self.loss_N}
        if self.unique_N is not None:
            columns["unique_tokens"] = self.unique_N
        for name, column in columns.items():
            if column.shape != self.arm_N.shape:
                raise ValueError(f"{name} has {column.size} numbers and arm {self.arm_N.size}")
            if not (np.isfinite(column) & (column > 0)).all():
                raise ValueError(f"{name} must be positive and finite")
        if self.arm_N.size and not 0 <= self.arm_N.min() <= self.arm_N.max() < len(self.arms):
            raise ValueError("an arm's index is not one of the arms")

    def __len__(self) -> int:
        return len(self.loss_N)

    def flops(self) -> Floats:
        """Training FLOPs of each run, 6 N D, [N]."""
        return FLOPS_PER_PARAMETER_TOKEN * self.parameters_N * self.tokens_N

    def sizes(self) -> Ints:
        """Which size each run has, [N], from the smallest: sizes within 2 % of the next are one."""
        return grouped(np.log(self.parameters_N), SAME_SIZE)

    def repeated(self) -> bool:
        """Whether any run saw so many tokens again that these say what repeats are worth."""
        return self.unique_N is not None and bool((self.tokens_N > REPEATED * self.unique_N).any())

    def only(self, chosen: NDArray[np.bool_] | Ints) -> Self:
        """Some of the runs, by mask or by number (which may repeat); the arms stay as they are."""
        unique = None if self.unique_N is None else self.unique_N[chosen]
        columns = self.parameters_N[chosen], self.tokens_N[chosen], self.loss_N[chosen], self.arm_N[chosen]
        return type(self)(*columns, self.arms, unique)

    def of_arm(self, arm: int) -> Self:
        """The runs of one arm, as points of that arm alone."""
        part = self.only(self.arm_N == arm)
        columns = part.parameters_N, part.tokens_N, part.loss_N, np.zeros_like(part.arm_N)
        return type(self)(*columns, (self.arms[arm],), part.unique_N)


def grouped(values_N: Floats, gap: float) -> Ints:
    """Groups of values, numbered from the lowest: a new one begins where the next value is more than `gap` higher."""
    order = np.argsort(values_N, kind="stable")
    found = np.zeros(len(values_N), np.int64)
    found[order[1:]] = np.cumsum(np.diff(values_N[order]) > gap)
    return found
