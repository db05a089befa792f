"""What moves jobs on: starts what is queued, follows what runs, starts again what crashed, ends what is to be cancelled.

One thread of one service. All that it decides from is in the store and in locks of this machine, so a service that was killed
goes on where it was: a driver that still works is found by its lock, and a job that nobody works on has crashed.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from sqlalchemy import and_, or_, select

from pipelines.engine import cores
from pipelines.service import requests
from pipelines.service.claims import Claim
from pipelines.service.database.cache import follow
from pipelines.service.database.engine import Database
from pipelines.service.database.tables import RunRow
from pipelines.service.history import ConflictError, Event, History
from pipelines.service.launchers import Launcher
from pipelines.service.requests import Request
from pipelines.service.settings import Settings
from pipelines.service.states import ACTIVE, RESTARTS, State
from pipelines.service.tokens import find as find_token
from pipelines.store import Store
from stages.errors import StageError, StorageError

#: Seconds between two looks at the jobs that somebody works on.
LOOK_SECONDS = 0.25
#: Seconds that a driver has to end by itself before it is killed.
PATIENCE = 10.0
_CRASHED = and_(RunRow.state == str(State.CRASHED), RunRow.restarts <= RESTARTS)  # others were given up
_TO_FOLLOW = select(RunRow).where(
    RunRow.managed, or_(_CRASHED, RunRow.state.in_([str(s) for s in (State.QUEUED, *ACTIVE)]))
)


class Supervisor:
    """Looks after the jobs of one service. `heard` is told every new event, with its job.

    hold: renews the right to; raises StorageError where another service has it, and then nothing is moved.
    """

    def __init__(
        self,
        store: Store,
        database: Database,
        launcher: Launcher,
        settings: Settings,
        heard: Callable[[str, Event], None],
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        self._store, self._database, self._launcher, self._settings = store, database, launcher, settings
        self._heard, self._hold = heard, hold
        self._histories: dict[str, History] = {}
        self._since: dict[str, tuple[State, int, float]] = {}  # state and attempt of a driver, and when first seen so
        self._late: set[str] = set()  # jobs whose driver was ended because it did not begin
        self._wake, self._ends = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="supervisor", daemon=True)
        self.trouble: StorageError | None = None  # why the last look failed

    def start(self) -> None:
        """Begin looking."""
        self._thread.start()

    def nudge(self) -> None:
        """Look at once: something was submitted or cancelled."""
        self._wake.set()

    @property
    def alive(self) -> bool:
        """Whether it is looking."""
        return self._thread.is_alive()

    def close(self) -> None:
        """Stop looking; drivers go on."""
        self._ends.set()
        self._wake.set()
        self._thread.join()

    def look(self) -> None:
        """Follow every job that has not ended, and start what may start."""
        with self._database.reading() as session:
            rows = session.scalars(_TO_FOLLOW).all()
            jobs = [row.id for row in rows]
        trouble = None
        for job in jobs:
            try:
                self._look_at(job)
            except StorageError as error:  # one damaged job must not hold up the others
                trouble = error
        for job in self._histories.keys() - jobs:
            del self._histories[job]
            self._since.pop(job, None)
            self._late.discard(job)
        self._start_some()
        if trouble is not None:
            raise trouble

    def _go_on(self) -> None:
        while not self._ends.is_set():
            try:
                self._hold()
                self.look()
                self.trouble = None
            except StorageError as error:
                self.trouble = error
            except OSError as error:
                self.trouble = StorageError(
                    f"the state in {self._settings.state} cannot be used: {error}; see to the disk"
                )
            self._wake.wait(LOOK_SECONDS)
            self._wake.clear()

    def _look_at(self, job: str) -> None:
        history = self._follow(job)
        if history.state is None or history.state not in ACTIVE:
            return
        if self._launcher.alive(job, history.attempt):
            self._urge(history, history.state)
            return
        self._follow(job)  # what the driver told last, between the look at its history and the look at its lock
        waited = self._waited(history)
        self._since.pop(job, None)
        if history.state is State.CANCELLING:
            self._move(history, State.CANCELLED)
        elif history.state in ACTIVE:
            why = self._launcher.gone(job, history.attempt)
            began = history.state is not State.STARTING or why is not None
            if job in self._late:
                why = f"the process did not begin its work within {waited:.0f} s and was ended; its log says how far it came"
            self._move(history, State.CRASHED, note=why or "the process that did the work is gone", counts=began)

    def _urge(self, history: History, state: State) -> None:
        """See to a driver that lives: one that is cancelled is asked to end, then killed; so is one that does not begin."""
        job, attempt, waited = history.job, history.attempt, self._waited(history)
        cancelling = state is State.CANCELLING
        if not waited:
            self._since[job] = (state, attempt, time.monotonic())
            self._late.discard(job)
            if cancelling:
                self._launcher.stop(job, attempt, hard=False)
        elif cancelling and waited > self._settings.cancel_seconds and (why := self._launcher.trouble()) is not None:
            self._move(history, State.CANCELLED, note=f"{why}; whether the process ended is not known")
        elif cancelling and waited > PATIENCE:
            self._launcher.stop(job, attempt, hard=True)
        elif state is State.STARTING and waited > self._settings.start_seconds and self._launcher.trouble() is None:
            self._late.add(job)  # while a cluster is away, nobody knows whether it began
            self._launcher.stop(job, attempt, hard=True)

    def _waited(self, history: History) -> float:
        """Seconds since a driver was first seen in its present state; 0 where that is now."""
        state, attempt, since = self._since.get(history.job, (None, 0, 0.0))
        return time.monotonic() - since if (state, attempt) == (history.state, history.attempt) else 0.0

    def _start_some(self) -> None:
        """Start queued and crashed jobs, highest priority and oldest first, within the limits."""
        with self._database.reading() as session:
            rows = session.scalars(_TO_FOLLOW).all()
        active = [r for r in rows if r.state in ACTIVE]
        running, workers = Counter(r.token for r in active), Counter[str | None]()
        for row in active:
            workers[row.token] += self._workers(requests.find(self._store, row.id))
        free = self._settings.jobs - len(active)
        waiting = [r for r in rows if r.state not in ACTIVE]
        for row in sorted(waiting, key=lambda r: (-r.priority, r.created, r.id)):
            if free <= 0:
                break
            request = requests.find(self._store, row.id)
            if request is None or not self._within(request, running[row.token], workers[row.token]):
                continue
            if self._start(request, row.attempt + 1):
                free -= 1
                running[row.token] += 1
                workers[row.token] += self._workers(request)
            elif self._launcher.trouble() is not None:
                free -= 1  # it was told why it waits, and so are as many more as there is room for

    def _within(self, request: Request, running: int, workers: int) -> bool:
        token = find_token(self._store, request.token)
        quota = self._settings.quota if token is None else token.quota.or_else(self._settings.quota)
        return (quota.running is None or running < quota.running) and (
            quota.workers is None or workers + self._workers(request) <= quota.workers
        )

    def _workers(self, request: Request | None) -> int:
        """The processes that a job's work takes: one for each core where nobody says."""
        own = None if request is None else request.workers
        return own or self._settings.workers or cores()

    def _start(self, request: Request, attempt: int) -> bool:
        try:
            started = self._launcher.start(request, attempt)
        except ConflictError:
            started = False
        except StageError as error:
            self._move(self._follow(request.job), State.FAILED, error=error.problem())
            return False
        self._follow(request.job)
        return started

    def _follow(self, job: str) -> History:
        history = self._histories.setdefault(job, History(self._store, job))
        try:
            events = follow(self._database, history)
        except StorageError:
            del self._histories[job]  # it knows more than its row does: the next look reads all of it again
            raise
        for event in events:
            self._heard(job, event)
        return history

    def _move(self, history: History, to: State, **data: object) -> None:
        with suppress(ConflictError):  # somebody else moved it meanwhile: what is true is read below
            History(self._store, history.job).move(to, attempt=history.attempt, **data)
        self._follow(history.job)


def sole(state: Path) -> Claim:
    """The lock of the one service whose state is in that folder.

    Raises:
        StorageError: another service has it.
    """
    claim = Claim.take(state)
    if claim is None:
        raise StorageError(
            f"another service works with the state in {state}; stop it, or use another store", path=str(state)
        )
    return claim
