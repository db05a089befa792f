"""Learning rate by step, as a fraction of the peak. Pure functions of a schedule.

Warmup-stable-decay is of MiniCPM (arXiv 2404.06395): every budget is a decayed branch of one trunk, since the steps
before the decay do not know how many will follow.
"""

import math

from trainer.settings import Schedule


def fraction(schedule: Schedule, step: int) -> float:
    """The learning rate of a step (from 0), as a fraction of the peak.

    Step s of w warm-up steps has (s + 1) / w. A decay falls from the peak at its first step towards `final_fraction`, which
    the step after the last would have: no step is trained at a learning rate of 0.

    Raises:
        ValueError: the schedule has no such step.

    """
    if not 0 <= step < schedule.steps:
        raise ValueError(f"a schedule of {schedule.steps} steps has no step {step}")
    if step < schedule.warmup_steps:
        return (step + 1) / schedule.warmup_steps
    low = schedule.final_fraction
    if schedule.kind == "cosine":
        done = (step - schedule.warmup_steps) / (schedule.steps - schedule.warmup_steps)
        return low + (1 - low) * 0.5 * (1 + math.cos(math.pi * done))
    begin = schedule.steps - schedule.decay_steps
    if schedule.kind == "wsd" and step > begin:
        return 1 - (1 - low) * (step - begin) / schedule.decay_steps
    return 1.0


def first_difference(one: Schedule, other: Schedule, steps: int) -> int | None:
    """The first of the steps 0 to steps - 1 at which two schedules differ; None where they agree on all of them.

    A schedule that ends earlier differs at the first step that it does not have.
    """
    for step in range(steps):
        if step >= one.steps or step >= other.steps or fraction(one, step) != fraction(other, step):
            return step
    return None
