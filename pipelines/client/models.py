"""What the service tells, typed. Times are seconds since 1970; what is not declared is kept too."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict

from pipelines.client.errors import CancelledRunError, CrashedRunError, error_of_problem
from pipelines.service.states import ENDED, RESTARTS, State


class Told(BaseModel):
    """An answer of the service."""

    model_config = ConfigDict(frozen=True, extra="allow")


class Run(Told):
    """A job, or a run of the store that nobody submitted (`managed` is false)."""

    id: str
    name: str
    state: State
    managed: bool
    run: str | None
    attempt: int
    version: int
    created: float
    updated: float
    priority: int
    pinned: bool
    token: str | None
    restarts: int
    progress: dict[str, Any] | None
    total: dict[str, Any] | None
    error: dict[str, Any] | None
    export: str | None

    @property
    def over(self) -> bool:
        """Whether nothing happens to it by itself any more."""
        return self.state in ENDED or (self.state is State.CRASHED and (self.restarts > RESTARTS or not self.managed))

    def check(self) -> Self:
        """The run itself, if it has not come to a bad end.

        Raises:
            TamisError: what it failed of; CancelledRunError or CrashedRunError.
        """
        if self.state is State.FAILED:
            raise error_of_problem(self.error or {"title": f"the job {self.id} failed and did not say why"})
        if self.state is State.CANCELLED:
            raise CancelledRunError(
                f"the job {self.id} was cancelled; resume it, and it goes on from what is committed", job=self.id
            )
        if self.state is State.CRASHED and self.over:
            raise CrashedRunError(
                f"the process of the job {self.id} died, and was started again {RESTARTS} times; read its log, mend what "
                "killed it, and resume it",
                job=self.id,
            )
        return self


class Event(Told):
    """Something that happened to a job: a `state`, `progress`, a `note`, or its `run` in the store."""

    number: int
    at: float
    type: str
    attempt: int

    @property
    def data(self) -> Mapping[str, Any]:
        """What an event of its type tells: step, done, total, bytes; note; run; export; error."""
        return self.model_extra or {}

    @property
    def state(self) -> State | None:
        """The state that the job came into; None where this is about something else."""
        return State(self.data["state"]) if self.type == "state" else None


class Step(Told):
    """Where a step of a run stands: its shards, and what they cost once the run has finished."""

    name: str
    kind: str | None
    state: Literal["waiting", "running", "done"]
    done: int | None
    total: int | None
    bytes: int | None
    ledger: dict[str, Any] | None


class PlannedStep(Told):
    """A step as it was planned."""

    name: str
    kind: str
    key: str


class Planned(Told):
    """A run's plan; `computed` where it was made for this answer."""

    run: str | None
    computed: bool
    text: str
    steps: list[PlannedStep]


class Checked(Told):
    """Whether a spec is valid: its plan, or the problem."""

    valid: bool
    problem: dict[str, Any] | None
    plan: dict[str, Any] | None

    def check(self) -> Self:
        """The same, if it is valid.

        Raises:
            TamisError: what is wrong with it.
        """
        if self.problem is not None:
            raise error_of_problem(self.problem)
        return self


class Preview(Told):
    """What became of the first documents of a spec."""

    total: dict[str, Any]
    reasons: dict[str, int]
    cpu_seconds: dict[str, float]
    documents: list[dict[str, Any]]


class Export(Told):
    """Where a run's export is, and its manifest."""

    run: str
    path: str
    manifest: dict[str, Any]


class Exporting(Told):
    """Where another export stands."""

    id: str
    state: Literal["RUNNING", "SUCCEEDED", "FAILED"]
    out: str
    result: dict[str, Any] | None
    error: dict[str, Any] | None


class Ablation(Told):
    """A finished ablation."""

    id: str
    run: str
    baseline: str
    arms: list[str]
    budgets: list[int]
    seeds: list[int]


class Artifact(Told):
    """What was learned last under a name; `problem` where its record is damaged."""

    name: str
    id: str | None
    kind: str | None
    what: str | None
    created: float | None
    problem: str | None


class LabelQueues(Told):
    """The labellings that wait for people, and the next documents."""

    queues: list[dict[str, Any]]
    questions: list[dict[str, Any]]


class Answered(Told):
    """Where a queue stands now; `undone` is the document whose answer was taken back."""

    queues: list[dict[str, Any]]
    undone: str | None


class Health(Told):
    """Whether the service lives."""

    status: Literal["ok"]
    version: str


@dataclass(frozen=True, slots=True)
class Download:
    """An export on this machine: every file as its manifest says. `fetched` are the bytes that came over the network."""

    folder: Path
    manifest: Mapping[str, Any]
    files: tuple[Path, ...]
    fetched: int
