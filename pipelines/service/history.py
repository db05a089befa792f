"""What happened to a job, as numbered files in the store: the one truth about its state.

    service/jobs/{job}/events/{number:08d}.json     {"nonce", "at", "type", "attempt", ...}

An event is written by creating the next number's file, so two writers (the service, and the process that does the work) never
both write the same one: the loser reads what came first and sees whether its event still makes sense. Types:

    state       {"state", "attempt", and why: "error" (a problem), "run" (the store's run), "note"}
    progress    {"step", "done", "total", "bytes"} now and then
    run         {"run"} the store's run, as soon as it is known
    note        {"note"} a sentence: a compilation, a quarantined document
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.secret_values import redacted
from pipelines.service.states import ENDED, State, may_follow
from pipelines.store import Store
from stages.errors import DataError

STATE, PROGRESS, NOTE, RUN = "state", "progress", "note", "run"


class ConflictError(DataError):
    """A job is in a state in which what was asked cannot be done."""

    type = "conflict"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened."""

    number: int
    at: float  # seconds since the epoch
    type: str
    attempt: int
    data: Mapping[str, Any]

    def json(self) -> dict[str, Any]:
        """As data."""
        return {"number": self.number, "at": self.at, "type": self.type, "attempt": self.attempt, **self.data}


class History:
    """The events of one job, as far as they were read. Not for several threads at once.

    state, attempt: after the last event known; run: the run in the store, once it is known.
    """

    def __init__(self, store: Store, job: str) -> None:
        self.store, self.job = store, job
        self.number = 0
        self.state: State | None = None
        self.attempt = 0
        self.run: str | None = None

    def refresh(self) -> list[Event]:
        """Read the events since the last one known; gives them."""
        found = []
        while (event := read(self.store, self.job, self.number + 1)) is not None:
            self._take(event)
            found.append(event)
        return found

    def move(self, to: State, *, attempt: int | None = None, **data: Any) -> Event:
        """Change the job's state. An `attempt` other than the present one is out of date.

        Raises:
            ConflictError: the job's state does not allow it, or another attempt goes on; `state` is among the fields.
        """
        while True:
            self.refresh()
            if self.state is None and to is not State.QUEUED:
                raise ConflictError(f"the job {self.job} was never queued; submit its spec", job=self.job)
            fits = self.state is None or may_follow(self.state, to)
            if not fits or attempt not in (None, self.attempt, self.attempt + (to is State.STARTING)):
                raise ConflictError(
                    f"the job {self.job} is {self.state} (attempt {self.attempt}), so it cannot become {to}"
                    + ("" if attempt is None else f" by attempt {attempt}"),
                    job=self.job,
                    state=self.state,
                )
            number = self.attempt if attempt is None else attempt
            if (event := self._create(STATE, number, {"state": str(to), **data})) is not None:
                return event

    def tell(self, kind: str, attempt: int, **data: Any) -> Event:
        """Add an event that changes no state.

        Raises:
            ConflictError: another attempt goes on, or the job has ended.
        """
        while True:
            self.refresh()
            if attempt != self.attempt or self.state in ENDED:
                standing = f"{self.state}, at attempt {self.attempt}"
                raise ConflictError(f"the job {self.job} is {standing}, so attempt {attempt} is over", job=self.job)
            if (event := self._create(kind, attempt, data)) is not None:
                return event

    def _create(self, kind: str, attempt: int, data: Mapping[str, Any]) -> Event | None:
        """The next event, or None where somebody else's came first."""
        nonce = secrets.token_hex(8)
        value = {"nonce": nonce, "at": round(time.time(), 3), "type": kind, "attempt": attempt, **redacted(data)}
        path = _path(self.job, self.number + 1)
        # On S3 a refusal may mean that an earlier try of this very call arrived: the nonce tells.
        if not self.store.create_json(path, value) and self.store.get_json(path)["nonce"] != nonce:
            return None
        event = _event(self.number + 1, value)
        self._take(event)
        return event

    def _take(self, event: Event) -> None:
        self.number, self.attempt = event.number, event.attempt
        self.run = event.data.get("run", self.run)
        if event.type == STATE:
            self.state = State(event.data["state"])


def read(store: Store, job: str, number: int) -> Event | None:
    """An event of a job by its number, from 1; None where it has not happened yet."""
    value = store.find_json(_path(job, number))
    return None if value is None else _event(number, value)


def _path(job: str, number: int) -> str:
    return f"service/jobs/{job}/events/{number:08d}.json"


def _event(number: int, value: Mapping[str, Any]) -> Event:
    own = {k: v for k, v in value.items() if k not in ("nonce", "at", "type", "attempt")}
    return Event(number, value["at"], value["type"], value["attempt"], own)
