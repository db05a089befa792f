"""Steps that went wrong: a loss or gradient that is no number, a loss far above the others, a run that diverges.

A guard sees the loss and the gradient's norm of a step before its update and says whether the update is made. What it left out is
counted; a run that it ends has a sentence that says why.
"""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from trainer.settings import Guards

MEMORY = 0.98  # weight of what is known already in the running mean and variance: about 50 steps
EARLY = 50  # steps after which running statistics are believed

Verdict = Literal["update", "skip", "stop"]


class Health(BaseModel):
    """What the guards know: running statistics of the loss (nats a token) and counts. A value, saved with a checkpoint."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seen: int = 0  # finite losses
    mean: float = 0.0  # exponentially weighted, not yet corrected for its beginning
    square: float = 0.0  # the same of squared distances from the mean
    lowest: float | None = None  # of the smoothed loss, once it is believed
    skipped: int = 0
    skipped_in_a_row: int = 0
    spikes: int = 0
    diverged: str | None = None

    @property
    def smoothed(self) -> float | None:
        """The running mean of the loss, corrected for its beginning; None before the first finite loss."""
        return self.mean / (1 - MEMORY**self.seen) if self.seen else None

    def state(self) -> dict[str, Any]:
        """The same as JSON values."""
        return self.model_dump(mode="json")


def judge(health: Health, guards: Guards, *, step: int, loss: float, norm: float) -> tuple[Verdict, Health]:
    """Whether the step's update is made, and what is known afterwards.

    loss: nats a token, the mean over the global batch; norm: of the gradient, before clipping.
    """
    if not (math.isfinite(loss) and math.isfinite(norm)):
        what = f"the loss of step {step} is {loss:g} and the norm of its gradient {norm:g}"
        return _left_out(health, guards, guards.non_finite == "stop", what)
    smoothed = health.smoothed
    limit = (
        math.inf if smoothed is None or health.seen < EARLY else smoothed + guards.spike_deviations * _deviation(health)
    )
    if loss > limit:
        health = health.model_copy(update={"spikes": health.spikes + 1})
        if guards.spike != "count":
            what = f"the loss of step {step} is {loss:.4g}, above {limit:.4g} ({guards.spike_deviations:g} running deviations)"
            return _left_out(health, guards, guards.spike == "stop", what)
    return _risen(_known(health, loss), guards, step)


def smoothing(losses: Iterable[float]) -> Iterator[float | None]:
    """The smoothed loss after each step, by the same formula; None before the first finite loss."""
    seen, mean = 0, 0.0
    for loss in losses:
        if math.isfinite(loss):
            seen, mean = seen + 1, MEMORY * mean + (1 - MEMORY) * loss
        yield mean / (1 - MEMORY**seen) if seen else None


def _left_out(health: Health, guards: Guards, stop: bool, what: str) -> tuple[Verdict, Health]:  # noqa: FBT001 - read where it is called
    row = health.skipped_in_a_row + 1
    health = health.model_copy(update={"skipped": health.skipped + 1, "skipped_in_a_row": row})
    if not stop and row <= guards.most_skipped:
        return "skip", health
    many = "" if stop else f", after {row - 1} steps in a row that were left out"
    return "stop", health.model_copy(update={"diverged": f"{what}{many}; try a lower learning rate"})


def _known(health: Health, loss: float) -> Health:
    """Take a loss into the running mean and variance (West, 1979, exponentially weighted)."""
    smoothed = health.smoothed
    away = 0.0 if smoothed is None else loss - smoothed
    return health.model_copy(
        update={
            "seen": health.seen + 1,
            "mean": MEMORY * health.mean + (1 - MEMORY) * loss,
            "square": MEMORY * health.square + (1 - MEMORY) * away * away,
            "skipped_in_a_row": 0,
        }
    )


def _deviation(health: Health) -> float:
    return math.sqrt(health.square / (1 - MEMORY**health.seen))


def _risen(health: Health, guards: Guards, step: int) -> tuple[Verdict, Health]:
    smoothed = health.smoothed
    if smoothed is None or health.seen < EARLY:
        return "update", health
    lowest = smoothed if health.lowest is None else min(smoothed, health.lowest)
    health = health.model_copy(update={"lowest": lowest})
    if guards.rise_nats is None or smoothed <= lowest + guards.rise_nats:
        return "update", health
    what = f"the smoothed loss at step {step} is {smoothed:.4g}, over {guards.rise_nats:g} nats above its lowest, {lowest:.4g}"
    return "stop", health.model_copy(update={"diverged": f"{what}; try a lower learning rate"})
