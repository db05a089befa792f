"""Following a job: its events as they come, over broken connections and restarts of the service, and its end."""

import time
from collections.abc import Callable, Generator
from typing import Any
from urllib.parse import quote

import httpx

from pipelines.client.effects import Answer, Ask, At, Flow, Give, Hush, Items, Listen, More, Pause, Steps
from pipelines.client.errors import UnfinishedError, error_of
from pipelines.client.models import Event, Run
from pipelines.client.retries import REFUSED, UNSURE, Tries, retry_after, told, unreachable
from pipelines.client.running import MENDABLE
from pipelines.client.server_events import Parser
from pipelines.service.states import ENDED, State

#: The service says every 15 s that it is there: after this much silence the connection is taken for dead.
SILENCE = 45.0
#: So near to a deadline a stream is opened again now and then, so that its silence ends when the deadline comes.
NEAR, OPEN_FOR = 15.0, 1.0
#: Seconds between two looks at a run whose stream has ended and that is not over.
LOOK = 0.5
_OK, _NO_MORE = 200, 204


def place(run: str, what: str = "") -> str:
    """The path of a run, or of something of it."""
    return f"/v1/runs/{quote(run, safe='')}{what}"


def run_of(at: At, run: str, patience: float | None = None) -> Flow[Run]:
    """Where a run stands."""
    return Run.model_validate((yield from told(at, Ask("GET", place(run)), patience)))


def events_of(at: At, run: str, after: int, timeout: float | None) -> Items[Event]:
    """The events of a run after a number, until it is over.

    Raises:
        UnfinishedError: the time ran out.
    """
    deadline = _deadline(timeout)
    found = yield from run_of(at, run)  # a spec's name could mean another run when it is asked for again
    yield from Stream(at, found.id, after, deadline).events()


def waited(at: At, run: str, timeout: float | None, hear: Callable[[Event], None] | None) -> Flow[Run]:
    """A run that is over; `hear` hears of everything that happened to it and happens.

    Raises:
        UnfinishedError: the time ran out.
    """
    deadline = _deadline(timeout)
    found = yield from run_of(at, run)
    stream = Stream(at, found.id, found.version if hear is None else 0, deadline)
    untold = hear is not None
    while untold or not found.over:
        yield from _heard(stream.events(), hear)
        untold = False
        found = yield from run_of(at, found.id, at.outage if deadline is None else stream.left())
        if not found.over:
            yield Pause(LOOK)
    return found


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _heard(flow: Items[Event], hear: Callable[[Event], None] | None) -> Flow[None]:
    """Do what a stream needs, and let its items be heard."""
    steps: Steps[None] = Steps(flow)
    try:
        while (effect := steps.next()) is not None:
            if not isinstance(effect, Give):
                try:
                    steps.reply = yield effect
                except MENDABLE as error:
                    steps.error = error
            elif hear is not None:
                hear(effect.item)
    finally:
        steps.close()


class Stream:
    """The events of a job, listened to as often as it takes; `last` is the number of the last one."""

    def __init__(self, at: At, job: str, after: int, deadline: float | None) -> None:
        self._at, self._job, self._deadline = at, job, deadline
        self.last = after
        self._state: State | None = None

    def left(self) -> float:
        """Seconds until the deadline.

        Raises:
            UnfinishedError: there are none.
        """
        if self._deadline is None:
            return float("inf")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise UnfinishedError(
                f"the job {self._job} has not ended in the time given to it; it goes on: wait again, or cancel it",
                job=self._job,
            )
        return left

    def events(self) -> Items[Event]:
        """Every event, until the job is over.

        Raises:
            UnfinishedError: the time ran out.
            UnreachableError: the service did not come back.
        """
        tries = Tries(self._at.outage)
        while True:
            failure: Exception
            headers = {"Last-Event-ID": str(self.last)} if self.last else {}
            ask = Ask("GET", place(self._job, "/events"), headers=headers)
            wait = None
            try:
                answer: Answer = yield Listen(ask, min(SILENCE, self.left()))
                if answer.status == _NO_MORE or (answer.status == _OK and (yield from self._listened(tries))):
                    return
                failure = httpx.ReadError("the stream of events ended too soon")
                if answer.status != _OK:
                    failure, wait = error_of(answer, f"GET {ask.path}"), retry_after(answer)
                    if answer.status != REFUSED and answer.status not in UNSURE:
                        raise failure
            except httpx.TransportError as error:
                failure = error
            pause = tries.pause(wait)
            if pause is None:
                raise unreachable(self._at, failure) from failure
            yield Pause(min(pause, self.left()))

    def _listened(self, tries: Tries) -> Generator[Any, Any, bool]:
        """Give what one connection tells; whether that was all there will be."""
        opened, parser = time.monotonic(), Parser()
        while (chunk := (yield More())) is not None:
            tries.renew()
            for message in parser.feed(chunk):
                event = Event.model_validate_json(message.data)
                if event.number > self.last:
                    self.last, self._state = event.number, event.state or self._state
                    yield Give(event)
            if self.left() < NEAR and time.monotonic() - opened > OPEN_FOR:
                yield Hush()
                return False
        return self._state in ENDED
