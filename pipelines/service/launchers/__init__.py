"""What starts, watches and ends the process that does a job's work."""

from typing import Protocol

from pipelines.service.requests import Request


class Launcher(Protocol):
    """Starts drivers. What it says about them holds for a service that was started again, too."""

    def start(self, request: Request, attempt: int) -> bool:
        """Begin an attempt: the job is STARTING when this returns True.

        False where somebody works on it already, or where no driver can be started now: then its history says why.

        Raises:
            ConflictError: the job's state does not allow it.
            StageError: the driver cannot be started.
        """

    def alive(self, job: str, attempt: int) -> bool:
        """Whether a driver works on the job, or is about to."""

    def stop(self, job: str, attempt: int, *, hard: bool) -> None:
        """Ask the driver to end, or end it and all its processes at once."""

    def gone(self, job: str, attempt: int) -> str | None:
        """Why a driver that began does not live, in a sentence; None where nobody knows whether it ever began."""

    def trouble(self) -> str | None:
        """Why no driver can be started now, in a sentence; None where it is worth trying."""

    def remark(self) -> str | None:
        """What whoever starts the service should know about where drivers run."""

    def log(self, job: str, attempt: int) -> bytes:
        """The end of what the driver printed.

        Raises:
            StorageError: it is where nobody answers.
        """
