"""Drivers as Ray Jobs of an existing cluster. They outlive the service, and are found again by their names.

A job's attempt has one name, so submitting it twice starts it once: Ray refuses the second. What is not known is not guessed:
while the cluster does not answer, what was queued stays queued and what ran counts as running. The store tells both sides the
same: a driver that comes late, because its attempt was cancelled or another one goes on, finds that out there and ends.
"""

import os
import shlex
import sys
import time
from contextlib import suppress

from pipelines.service.history import NOTE, ConflictError, History
from pipelines.service.launchers.cluster import Backoff, Cluster, ClusterError
from pipelines.service.launchers.environment import environment
from pipelines.service.launchers.subprocess import LOG_BYTES
from pipelines.service.requests import Request
from pipelines.service.settings import Settings
from pipelines.service.states import State
from pipelines.store import Store
from pipelines.store_s3 import ENDPOINTS as S3_ENDPOINTS
from pipelines.store_s3 import RETRIES

#: Seconds for which what was seen of a job holds.
LOOK_SECONDS = 1.0
#: Seconds that a driver has to end by itself before Ray kills it.
STOP_SECONDS = 10
#: Seconds until a job that does not end is asked again to.
AGAIN_SECONDS = 3.0
#: Variables of the service that its drivers see, too. The cluster shows them to whoever may look at it, so none is a secret:
#: credentials are the cluster's own.
SHARED = (RETRIES, *S3_ENDPOINTS, "AWS_REGION", "AWS_DEFAULT_REGION")


class RayJobsLauncher:
    """One Ray Job for each attempt.

    Raises:
        SpecError: the cluster's address is none.
        ClusterError: the cluster does not answer.
    """

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._cluster = Cluster(settings.ray_address)
        self._cluster.check()
        self._launches = Backoff()
        self._told: dict[str, str] = {}  # why a job waits, as its history says
        self._seen: dict[str, tuple[int, float]] = {}  # when an attempt was last seen to live
        self._ended = ("", 0, "")  # how the attempt ended that was last seen not to live
        self._stopped: dict[str, float] = {}  # when a job was last asked to end

    def start(self, request: Request, attempt: int) -> bool:
        """Begin an attempt; see `Launcher`. What cannot be submitted stays where it is and is tried again, ever later."""
        history = History(self._store, request.job)
        if (why := self.trouble()) is not None:
            self._tell(history, why)
            return False
        history.refresh()
        if history.state not in (State.QUEUED, State.CRASHED) or attempt != history.attempt + 1:
            return False  # its driver told before we did
        try:
            self._submit(request, attempt)
        except ClusterError as error:
            self._tell(history, error.message)
            return False
        try:
            history.move(State.STARTING, attempt=attempt)
        except ConflictError:
            if history.attempt == attempt:
                return True  # its driver told before we did
            with suppress(ClusterError):
                self._cluster.stop(submission(request.job, attempt))
            raise
        return True

    def alive(self, job: str, attempt: int) -> bool:
        """Whether the Ray job goes on; while the cluster does not answer, nobody says that it does not."""
        now = time.monotonic()
        seen = self._seen.get(job, (0, 0.0))
        if seen[0] == attempt and now - seen[1] < LOOK_SECONDS:
            return True
        name = submission(job, attempt)
        try:
            standing = self._cluster.standing(name)
        except ClusterError as error:
            self._tell(History(self._store, job), error.message)
            return True
        self._told.pop(job, None)
        self._seen = {j: s for j, s in self._seen.items() if now - s[1] < LOOK_SECONDS}
        if standing is not None and not standing.ended:
            self._seen[job] = (attempt, now)
            return True
        if standing is None:
            why = f"the Ray cluster at {self._cluster.address} does not know the job {name}: it is not the one that ran it, or began anew"
        else:
            words = standing.last_words
            why = f"the Ray job {name} is {standing.status}" + (f": {words}" if words else "")
        self._ended = (job, attempt, why)
        return False

    def gone(self, job: str, attempt: int) -> str | None:
        """How the attempt ended, as Ray says."""
        return self._ended[2] if self._ended[:2] == (job, attempt) else None

    def stop(self, job: str, attempt: int, *, hard: bool) -> None:
        """Ask Ray to end the job: first it asks the driver, then it kills it. Again when it did not hear."""
        now = time.monotonic()
        self._stopped = {j: at for j, at in self._stopped.items() if now - at < AGAIN_SECONDS}
        if hard and job in self._stopped:
            return
        self._stopped[job] = now
        with suppress(ClusterError):  # it is asked again
            self._cluster.stop(submission(job, attempt))

    def trouble(self) -> str | None:
        """Why nothing can be submitted now."""
        if (waiting := self._launches.waiting()) is not None:
            return waiting.message
        if self._cluster.backoff.trouble is not None:
            try:
                self._cluster.check()
            except ClusterError as error:
                return error.message
        return None

    def remark(self) -> str | None:
        """Whether the cluster's machines must see a folder of this one."""
        if self._store.url.startswith("s3://") or self._cluster.local:
            return None
        return (
            f"the store {self._store.url} is a folder, and the jobs run on the Ray cluster at {self._cluster.address}: all its "
            "machines must see the same files under the same path; else use a store in s3://"
        )

    def log(self, job: str, attempt: int) -> bytes:
        """The end of what the driver printed; see `Launcher`."""
        return self._cluster.log(submission(job, attempt)).encode()[-LOG_BYTES:]

    def _submit(self, request: Request, attempt: int) -> None:
        metadata = {"job": request.job, "attempt": str(attempt), "name": request.name}
        name = submission(request.job, attempt)
        try:
            self._cluster.submit(name, self._entrypoint(request, attempt), self._environment(), metadata)
        except ClusterError as error:
            self._launches.failed(error)
            raise
        self._launches.worked()
        self._told.clear()

    def _tell(self, history: History, why: str) -> None:
        """Say in a job's history why it waits, once."""
        if self._told.get(history.job) == why:
            return
        history.refresh()
        with suppress(ConflictError):
            history.tell(NOTE, history.attempt, note=f"{why}; the job waits for it")
            self._told[history.job] = why

    def _entrypoint(self, request: Request, attempt: int) -> str:
        settings = self._settings
        command = ["-m", "pipelines.service.driver", "--store", self._store.url]
        command += ["--job", request.job, "--attempt", str(attempt), "--engine", "ray", "--address", "auto"]
        for root in settings.readable:
            command += ["--root", root]
        workers = request.workers or settings.workers
        command += ["--workers", str(workers)] if workers else []
        return f"exec {self._python()} {shlex.join(command)}"

    def _python(self) -> str:
        """The interpreter, for the shell: this one where it is there, since loopback may lead to another machine."""
        own = shlex.quote(sys.executable)
        return f'"$(test -x {own} && echo {own} || echo python)"' if self._cluster.local else "python"

    def _environment(self) -> dict[str, str]:
        shared = {name: os.environ[name] for name in SHARED if os.environ.get(name)}
        return {**shared, **environment(self._settings), "RAY_JOB_STOP_WAIT_TIME_S": str(STOP_SECONDS)}


def submission(job: str, attempt: int) -> str:
    """The name of a job's attempt among the jobs of a cluster."""
    return f"tamis-{job}-a{attempt}"
