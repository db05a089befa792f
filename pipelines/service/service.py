"""The service itself, without HTTP: what routes and pages call.

The store is the truth, the database a cache of it, the supervisor what moves jobs on. Calls may come from several threads.
"""

import shutil
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pipelines.service import ablations, tokens
from pipelines.service.agreement import Agreement
from pipelines.service.database.cache import follow, reindex
from pipelines.service.database.engine import Database, sqlite_url
from pipelines.service.database.tables import RunRow
from pipelines.service.errors import NotFoundError
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.exporting import Exporting
from pipelines.service.finding import Finder
from pipelines.service.history import STATE, ConflictError, Event, History
from pipelines.service.hub import Hub
from pipelines.service.label_queue import LabelQueue
from pipelines.service.launchers import Launcher
from pipelines.service.launchers.subprocess import SubprocessLauncher
from pipelines.service.listing import Listing, Page
from pipelines.service.reading import Reading
from pipelines.service.retention import Retention
from pipelines.service.settings import Settings
from pipelines.service.states import State, cancelled, resumed
from pipelines.service.submitting import Submission, Submitting
from pipelines.service.supervisor import Supervisor, sole
from pipelines.service.tenure import Tenure
from pipelines.service.tokens import Scope, Token
from pipelines.service.trying import Trying
from pipelines.store import Store
from pipelines.view import RunView
from stages.errors import StorageError

#: Seconds between two looks for runs that nobody submitted; a look that takes long makes the pause longer.
FIND_SECONDS = 5.0
FIND_SHARE = 20.0
#: Seconds between two looks for what may be deleted, beginning with the service.
TIDY_SECONDS = 3_600.0
TRIES = 10


class Service:
    """One service over one store.

    Raises:
        StorageError: the store or the database cannot be opened, or another service has the state or the store.
        SpecError: the settings are wrong.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = Store.open(settings.store)
        self._claim = sole(settings.state)
        try:
            self._tenure = Tenure(self.store, settings.state)
        except StorageError:
            self._claim.close()
            raise
        self.database = Database(settings.database or sqlite_url(settings.state))
        self.launcher: Launcher = self._launcher()
        self.hub = Hub()
        self.supervisor = Supervisor(self.store, self.database, self.launcher, settings, self._hear, self._tenure.hold)
        self.finder = Finder(self.store, self.database)
        self.listing = Listing(self.store, self.database, self.finder)
        self.reading = Reading(self.store, settings, self.listing)
        self.trying = Trying(self.store, settings)
        self.exporting = Exporting(self.store, settings)
        self.labelling = LabelQueue(self.store)
        self.agreement = Agreement(self.store)
        self.retention = Retention(self.store, self.database, settings)
        self._submitting = Submitting(self.store, self.database, settings, self.trying, self.retention.changing)
        self._ends = threading.Event()
        self._tending = threading.Thread(target=self._tend, name="tending", daemon=True)
        self.trouble: StorageError | None = None  # why the last look at the store failed

    def start(self, *, again: bool = False) -> None:
        """Bring the database up to the store (`again`: anew) and begin to move jobs on."""
        shutil.rmtree(self.settings.state / "trials", ignore_errors=True)  # what previews left that were killed
        if again:
            reindex(self.store, self.database)
        self.finder.jobs()
        self.finder.runs()
        self.supervisor.start()
        self._tending.start()

    def close(self) -> None:
        """Stop; drivers go on."""
        self._ends.set()
        self.hub.close()
        if self._tending.ident is not None:  # it was started
            self._tending.join()
            self.supervisor.close()
        self.reading.close()
        self.database.close()
        with suppress(StorageError):  # where the store cannot be reached, it ends by itself
            self._tenure.end()
        self._claim.close()

    def problem(self) -> str | None:
        """Why this service is not ready to serve; None when it is."""
        try:
            self.database.ping()
            self.store.get("format.json")
        except StorageError as error:
            return error.message
        trouble = self.supervisor.trouble or self.trouble
        if trouble is not None:
            return trouble.message
        if not self.alive:
            return "the supervisor is not running; restart the service"
        return self.launcher.trouble()

    @property
    def alive(self) -> bool:
        """Whether what moves jobs on is at work."""
        return self.supervisor.alive and self._tending.is_alive()

    # -- jobs ---------------------------------------------------------------------------------------------------------

    def submit(self, token: Token, spec: Mapping[str, Any], **options: Any) -> tuple[RunRow, bool]:
        """Accept a job; gives its row, and whether it is new. Options: see `Submission`.

        Raises:
            ForbiddenError: the token may not.
            SpecError: the spec is wrong, or its key came before with another request.
            TooManyError: the token has as many jobs queued as it may.
        """
        token.require(Scope.submit)
        job, created = self._submitting.submit(token, Submission(spec, **options))
        if created:
            self.supervisor.nudge()
        return self.row(job), created

    def row(self, name: str) -> RunRow:
        """A job or run by its id, its run's id, a unique prefix, or its spec's name.

        Raises:
            NotFoundError: there is none.
            SpecError: the prefix is not unique.
        """
        return self.listing.row(name)

    def rows(
        self, *, state: Sequence[str] = (), name: str | None = None, after: str | None = None, limit: int = 50
    ) -> Page:
        """Jobs and runs, newest first, from a cursor on.

        Raises:
            SpecError: the cursor is none of ours.
        """
        return self.listing.rows(state, name, after, limit)

    def cancel(self, token: Token, name: str) -> RunRow:
        """See that a job ends without its result; one that is being cancelled already stays so.

        Raises:
            ConflictError: it has ended, or nobody submitted it.
        """
        return self._change(token, name, cancelled, "cancelled", "it has ended")

    def resume(self, token: Token, name: str) -> RunRow:
        """See that a job goes on from what is committed; one that goes on already is left alone.

        Raises:
            ConflictError: it has succeeded or is being cancelled, or nobody submitted it.
        """
        return self._change(token, name, resumed, "resumed", "wait until it is cancelled, or submit its spec anew")

    def pin(self, token: Token, name: str, on: bool) -> RunRow:  # noqa: FBT001 - what is asked is yes or no
        """Keep a job from retention, or stop keeping it."""
        token.require(Scope.submit)
        return self.retention.pin(self.row(name), on)

    def history(self, name: str, after: int = 0) -> list[Event]:
        """What happened to a job since an event."""
        return self.reading.events(self.row(name), after)

    def log(self, name: str) -> bytes:
        """The end of what the latest driver of a job printed; nothing where it never ran."""
        row = self.row(name)
        return self.launcher.log(row.id, row.attempt) if row.managed else b""

    def _change(self, token: Token, name: str, to: Any, what: str, hint: str) -> RunRow:
        token.require(Scope.submit)
        row = self.row(name)
        if not row.managed:
            raise ConflictError(
                f"nobody submitted the run {row.id} here, so it cannot be {what}; submit its spec, which goes on from there",
                job=row.id,
            )
        with self.retention.changing:
            self._move(token, row, to, (what, hint))
        events = follow(self.database, History(self.store, row.id))
        self.hub.publish(row.id, events[-1])  # the supervisor does not look at what has ended
        self.supervisor.nudge()
        return self.row(row.id)

    def _move(self, token: Token, row: RunRow, to: Any, said: tuple[str, str]) -> None:
        for _ in range(TRIES):
            history = History(self.store, row.id)
            history.refresh()
            if history.state is None:
                raise NotFoundError(f"there is no run {row.id!r} any more", run=row.id)
            wanted: State | None = to(history.state)
            if wanted is None:
                message = f"the job {row.id} is {history.state}, so it cannot be {said[0]}; {said[1]}"
                raise ConflictError(message, job=row.id, state=str(history.state))
            if wanted is history.state:
                return
            with suppress(ConflictError):  # it moved meanwhile: look again
                history.move(wanted, attempt=history.attempt, by=token.id)
                return

    # -- what runs left: see `reading.py` -----------------------------------------------------------------------------

    def view(self, name: str) -> RunView:
        """A finished run, opened for reading; see `Reading`, also for the calls below."""
        return self.reading.view(name)

    def explorer(self, name: str) -> Explorer:
        """The browser of a finished run's documents."""
        return self.reading.explorer(name)

    def plan(self, name: str) -> dict[str, Any]:
        """The steps of a run with their keys."""
        return self.reading.plan(name)

    def steps(self, name: str) -> list[dict[str, Any]]:
        """Where each step of a run stands."""
        return self.reading.steps(name)

    def explain(self, name: str, document: str) -> dict[str, Any]:
        """Why a document of a finished run stayed or went."""
        return self.reading.explain(name, document)

    def report(self, name: str, kind: str) -> bytes:
        """The report of a finished run as `html` or `json`."""
        return self.reading.report(name, kind)

    def exports(self, name: str) -> dict[str, Any]:
        """Where a finished run's export is, with its manifest."""
        return self.reading.exports(name)

    def ablations(self) -> list[dict[str, Any]]:
        """The finished ablations of the store."""
        return ablations.listed(self.store)

    def artifacts(self) -> list[dict[str, Any]]:
        """The artifacts of the store, by name."""
        return self.reading.artifacts()

    # -- specs --------------------------------------------------------------------------------------------------------

    def validate(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        """What a run of a spec would do, or what is wrong with the spec; nothing is written."""
        return self.trying.validate(spec)

    def preview(self, spec: Mapping[str, Any], n: int = 200) -> dict[str, Any]:
        """What becomes of the first `n` documents of a spec, in a folder that is thrown away."""
        return self.trying.preview(spec, n)

    def _launcher(self) -> Launcher:
        if self.settings.launcher == "subprocess":
            return SubprocessLauncher(self.store, self.settings)
        from pipelines.service.launchers.ray_jobs import RayJobsLauncher  # noqa: PLC0415 - only where it is asked for

        return RayJobsLauncher(self.store, self.settings)

    def _hear(self, job: str, event: Event) -> None:
        """Pass on what happened to a job; of one that has just succeeded the documents are indexed for browsing."""
        self.hub.publish(job, event)
        run = event.data.get("run")
        if run is not None and event.type == STATE and event.data.get("state") == State.SUCCEEDED:
            self.reading.prepare(run)

    def _tend(self) -> None:
        """Find runs that nobody submitted, apply retention, and delete what nobody needs any more, now and then."""
        pause, tidied = FIND_SECONDS, float("-inf")
        while not self._ends.wait(pause):
            began = time.monotonic()
            try:
                self.finder.runs()
                pause = max(FIND_SECONDS, FIND_SHARE * (time.monotonic() - began))
                self.retention.apply()
                if began - tidied >= TIDY_SECONDS:
                    tokens.tidy(self.store, time.time())
                    self.reading.tidy()
                    tidied = began
                self.trouble = None
            except StorageError as error:
                self.trouble = error
            except OSError as error:
                self.trouble = StorageError(
                    f"a folder of the store or of the state in {self.settings.state} cannot be used: {error}; see to the disk"
                )
