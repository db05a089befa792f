"""The learning rate of an ablation: that of several around the dial's under which the baseline ends best."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: How often a bracket whose best rate is its lowest or highest is widened.
WIDENED = 2


@dataclass(frozen=True, slots=True)
class Bracket:
    """What a bracket found. edge: the best rate is still the lowest or the highest, so a better one may lie beyond."""

    losses: Mapping[float, float | None]  # bits per byte by learning rate; None where the run diverged
    chosen: float
    edge: bool

    def json(self) -> dict[str, Any]:
        """As data."""
        tried = [{"learning_rate": rate, "bits_per_byte": loss} for rate, loss in sorted(self.losses.items())]
        return {"candidates": tried, "chosen": self.chosen, "edge": self.edge}


def bracket(
    start: float, factors: Sequence[float], tried: Callable[[Sequence[float]], Mapping[float, float | None]]
) -> Bracket | None:
    """The best of `start` times each factor; a bracket that ends at its edge is widened by its own ratio, twice at most.

    `tried` trains the baseline with some rates and gives its bits per byte. None: every run diverged.
    """
    rates = sorted({start * factor for factor in factors})
    losses = dict(tried(rates))
    for _ in range(WIDENED):
        best = _best(losses)
        if best is None or len(rates) == 1 or rates[0] < best < rates[-1]:
            break
        ratio = rates[1] / rates[0] if best == rates[0] else rates[-1] / rates[-2]
        beyond = best / ratio if best == rates[0] else best * ratio
        losses |= tried([beyond])
        rates = sorted([*rates, beyond])
    best = _best(losses)
    return None if best is None else Bracket(losses, best, len(rates) > 1 and best in (rates[0], rates[-1]))


def _best(losses: Mapping[float, float | None]) -> float | None:
    known = {rate: loss for rate, loss in losses.items() if loss is not None}
    return min(known, key=lambda rate: (known[rate], rate)) if known else None
