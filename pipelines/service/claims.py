"""Who works on a job on this machine: a lock that lives exactly as long as the process that does.

    {state}/jobs/{job}/lock      held (flock) by the service while it starts a driver, then by the driver; its text is the pid

The lock belongs to the open file that the service hands on to the driver, so there is no moment between the two at which
nobody holds it, and a kill -9 of either lets go of it at once. A pid that was given to another process fools nobody.
"""

import fcntl
import os
from pathlib import Path
from typing import Self


class Claim:
    """A lock that is held; a context that lets go of it. `fd` may be handed on to a child."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    @classmethod
    def take(cls, folder: Path) -> "Claim | None":
        """The lock of a job's folder, or None where somebody holds it."""
        folder.mkdir(parents=True, exist_ok=True)
        fd = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        return cls(fd)

    @classmethod
    def inherited(cls, fd: int) -> "Claim":
        """The lock that whoever started this process took, now with this process's pid."""
        os.set_inheritable(fd, False)  # noqa: FBT003 - its own name is no clearer
        claim = cls(fd)
        os.ftruncate(fd, 0)
        os.pwrite(fd, str(os.getpid()).encode(), 0)
        return claim

    def close(self) -> None:
        """Let go, unless a child holds on."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def holder(folder: Path) -> int | None:
    """The pid of the driver that holds a job's lock; 0 where it is held but no driver has said its pid; None if free."""
    try:
        with (folder / "lock").open() as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)  # several may look at once
            return None
    except FileNotFoundError:
        return None
    except BlockingIOError:
        text = (folder / "lock").read_text().strip()
    return int(text) if text.isdigit() else 0
