"""A training run as data: what is asked for, how it goes, and what came of it. Nothing here needs torch."""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from trainer.settings import ModelSettings, TrainSettings


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Job(_Frozen):
    """One training run. Running it again goes on where it stopped.

    packs: files of the token column, in order; view: the file of the arm's view; folder: where checkpoints and logs go;
    begin_from: the checkpoint folder of a trunk, whose schedule must agree with this one's for all earlier steps;
    stop_after: stop after that many steps of the schedule, to go on later; exhausted: what follows the view's last
    token, the view again or a refusal.
    """

    model: ModelSettings
    settings: TrainSettings
    packs: tuple[str, ...] = Field(min_length=1)
    view: str
    folder: str
    begin_from: str | None = None
    stop_after: int | None = Field(default=None, ge=1)
    exhausted: Literal["repeat", "refuse"] = "repeat"

    @property
    def stop(self) -> int:
        """How many steps are done when this job is."""
        steps = self.settings.schedule.steps
        return steps if self.stop_after is None else min(steps, self.stop_after)


class Progress(_Frozen):
    """Where a run stands, after `step` of `steps` steps. Losses are nats a token; None means not known yet."""

    step: int
    steps: int
    tokens: int
    loss: float | None  # mean over the steps since the last report; None when none of them was finite
    smoothed: float | None
    learning_rate: float
    gradient_norm: float | None  # of the last step, before clipping
    tokens_per_second: float
    mfu: float | None  # fraction of the device's peak; None where that is unknown, as on CPUs
    wait: float  # fraction of this process's time spent waiting for data
    skipped: int  # steps left out so far
    spikes: int
    seconds_left: float


class Curve(_Frozen):
    """The training loss along a run: after so many tokens, nats a token, smoothed."""

    tokens: tuple[int, ...]
    nats_per_token: tuple[float, ...]


class Outcome(_Frozen):
    """What came of a run.

    Seconds are of the steps that this result is made of and of no others: work that a kill threw away is not in them.
    `inherited_*` is the share of the trunk that a branch began from, included in the totals beside it.
    """

    steps: int
    tokens: int
    loss: float | None  # smoothed, nats a token; None when no step was finite
    ledger: str
    seconds: float
    cpu_seconds: float
    inherited_seconds: float
    inherited_cpu_seconds: float
    wait: float  # fraction of `seconds` spent waiting for data
    tokens_per_second: float
    mfu: float | None
    skipped: int
    spikes: int
    averaged: bool  # whether averaged weights are beside the last ones
    diverged: str | None  # a sentence, when the run was ended because it diverged
    notes: tuple[str, ...]  # a sentence for each thing that was set aside on the way
    checkpoint: str
    curve: Curve


def identity(job: Job, *, model: Mapping[str, Any], data: Mapping[str, str]) -> dict[str, Any]:
    """Everything that decides a run's numbers, flat, in the words of the settings.

    What is written when, and how often, is not in it, and neither is how many processes share the work.
    """
    unimportant = {"parallel", "checkpoint_every", "checkpoint_seconds", "keep_steps", "log_every", "tensorboard"}
    written = job.settings.model_dump(mode="json", exclude=unimportant)
    return {**_flat("model", model), **_flat("", written), **_flat("data", data)}


def _flat(name: str, value: Any) -> dict[str, Any]:
    if isinstance(value, Mapping):
        parts: dict[str, Any] = {}
        for part, inner in value.items():
            parts |= _flat(f"{name}.{part}" if name else part, inner)
        return parts
    return {name: value}
