"""Drivers as processes of this machine. They outlive the service; their lock tells whether they live."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from pipelines.service.claims import Claim, holder
from pipelines.service.history import History
from pipelines.service.launchers.environment import environment
from pipelines.service.requests import Request
from pipelines.service.settings import Settings
from pipelines.service.states import State
from pipelines.store import Store
from stages.errors import StageError

#: Bytes of a driver's log that are shown.
LOG_BYTES = 1 << 16
#: Seconds that a process may take to end after it let go of its lock.
ENDING_SECONDS = 2.0


class SubprocessLauncher:
    """One process for each attempt, in a session of its own."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ended: dict[str, int] = {}  # how the latest driver of a job ended, of those that this service started

    def start(self, request: Request, attempt: int) -> bool:
        """Begin an attempt; see `Launcher`."""
        folder = self._folder(request.job)
        claim = Claim.take(folder)
        if claim is None:
            return False
        self._ended.pop(request.job, None)
        with claim:
            os.ftruncate(claim.fd, 0)
            History(self._store, request.job).move(State.STARTING, attempt=attempt)
            command = [*self._command(request, attempt), "--claim", str(claim.fd)]
            try:
                with (folder / f"attempt-{attempt:03d}.log").open("ab") as log:
                    self._children[request.job] = subprocess.Popen(  # noqa: S603 - our own module
                        command,
                        env={**os.environ, **environment(self._settings)},
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        pass_fds=[claim.fd],
                        start_new_session=True,
                    )
                os.pwrite(claim.fd, str(self._children[request.job].pid).encode(), 0)  # it may hang before it says so
            except OSError as error:
                raise StageError(
                    f"the driver of the job {request.job} cannot be started: {error}; see to the machine and resume the job"
                ) from error
        return True

    def alive(self, job: str, attempt: int) -> bool:
        """Whether the driver lives."""
        del attempt
        child = self._children.get(job)
        if child is not None and child.poll() is not None:
            self._ended[job] = self._children.pop(job).returncode
        return holder(self._folder(job)) is not None

    def stop(self, job: str, attempt: int, *, hard: bool) -> None:
        """Signal the driver, or the whole session that it leads."""
        del attempt
        pid = holder(self._folder(job))
        if pid:
            with suppress(ProcessLookupError):
                if hard:
                    os.killpg(pid, signal.SIGKILL)
                else:
                    os.kill(pid, signal.SIGTERM)

    def gone(self, job: str, attempt: int) -> str | None:
        """How a driver ended that this service started; a service that was killed may have left one that never began."""
        del attempt
        child = self._children.pop(job, None)
        if child is not None:  # it let go of its lock, which is among the last things that a process does
            with suppress(subprocess.TimeoutExpired):
                self._ended[job] = child.wait(ENDING_SECONDS)
        code = self._ended.pop(job, None)
        if code is None:
            return None
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        return f"the process that did the work {how}; its log says why"

    def trouble(self) -> None:
        """Nothing: this machine is there."""

    def remark(self) -> None:
        """Nothing: drivers are where the service is."""

    def log(self, job: str, attempt: int) -> bytes:
        """The end of what the driver printed."""
        path = self._folder(job) / f"attempt-{attempt:03d}.log"
        if not path.exists():
            return b""
        with path.open("rb") as log:
            log.seek(max(0, path.stat().st_size - LOG_BYTES))
            return log.read()

    def _folder(self, job: str) -> Path:
        return self._settings.state / "jobs" / job

    def _command(self, request: Request, attempt: int) -> list[str]:
        settings = self._settings
        engine = settings.engine if request.engine == "auto" else request.engine
        command = [sys.executable, "-m", "pipelines.service.driver", "--store", self._store.url]
        command += ["--job", request.job, "--attempt", str(attempt), "--engine", engine]
        for root in settings.readable:
            command += ["--root", root]
        workers = request.workers or settings.workers
        command += ["--workers", str(workers)] if workers else []
        return command + (["--address", settings.address] if settings.address else [])
