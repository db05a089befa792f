"""What goes in and out of `/v1`, as OpenAPI tells it. Times are seconds since 1970."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from pipelines.service.database.tables import RunRow
from pipelines.service.states import State

MAX_PRIORITY = 100
MAX_WORKERS = 1_024
MAX_PREVIEW = 1_000


class Given(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Told(BaseModel):
    """An answer; what is not declared may be added to it."""

    model_config = ConfigDict(extra="allow", frozen=True)


class NewRun(Given):
    """A job to accept."""

    spec: dict[str, Any] = Field(description="A spec as data; relative paths are below the service's first root.")
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY, description="Higher goes first.")
    workers: int | None = Field(
        default=None, ge=1, le=MAX_WORKERS, description="Processes at work; null: the service's."
    )
    engine: Literal["auto", "local", "ray"] = "auto"
    forked_from: str | None = Field(default=None, max_length=160, description="The run whose spec this was made from.")


class Run(Told):
    """A job, or a run of the store that nobody submitted (`managed` is false)."""

    id: str
    name: str
    state: State
    managed: bool
    run: str | None = Field(description="The store's run, once it is known.")
    attempt: int
    version: int = Field(description="The number of the last event that this knows.")
    created: float
    updated: float
    priority: int
    pinned: bool
    token: str | None = Field(description="The id of the token that asked.")
    restarts: int
    progress: dict[str, Any] | None
    total: dict[str, Any] | None
    error: dict[str, Any] | None
    export: str | None

    @classmethod
    def of(cls, row: RunRow) -> "Run":
        """A row as an answer."""
        same = (
            "id",
            "name",
            "managed",
            "run",
            "attempt",
            "created",
            "updated",
            "priority",
            "pinned",
            "token",
            "restarts",
        )
        own = {name: getattr(row, name) for name in (*same, "progress", "total", "error", "export")}
        return cls(state=State(row.state), version=row.number, **own)


class Runs(Told):
    """A page of runs, newest first."""

    runs: list[Run]
    next: str | None = Field(description="Give it as `after` for the next page; null at the end.")


class Step(Told):
    """Where a step stands; `ledger` once the run has finished."""

    name: str
    kind: str | None
    state: Literal["waiting", "running", "done"]
    done: int | None = Field(description="Shards.")
    total: int | None
    bytes: int | None
    ledger: dict[str, Any] | None


class Steps(Told):
    """The steps of a run, in order."""

    steps: list[Step]


class PlannedStep(Told):
    """A step as it was planned."""

    name: str
    kind: str
    key: str


class Planned(Told):
    """A run's plan; `computed` where it is not written yet and was made for this answer, with hits and misses."""

    run: str | None
    computed: bool
    text: str
    steps: list[PlannedStep]


class Pin(Given):
    """Whether retention leaves a job alone."""

    pinned: bool


class Checked(Told):
    """What is wrong with a spec, or else what it would do."""

    valid: bool
    problem: dict[str, Any] | None
    plan: dict[str, Any] | None


class GivenSpec(Given):
    """A spec to look at."""

    spec: dict[str, Any]


class GivenPreview(GivenSpec):
    """A spec to try on its first documents."""

    documents: int = Field(default=200, ge=1, le=MAX_PREVIEW)


class Preview(Told):
    """What became of the first documents."""

    total: dict[str, Any]
    reasons: dict[str, int]
    cpu_seconds: dict[str, float]
    documents: list[dict[str, Any]]


class Health(Told):
    """Whether the service lives, or is ready."""

    status: Literal["ok"]
    version: str
