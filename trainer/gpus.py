"""Which GPU a process trains on where several processes of one machine train side by side. Nothing here needs torch.

A process takes a GPU by locking a file and keeps it until it ends, however it ends. More processes than GPUs wait.
"""

import fcntl
import os
import time
from pathlib import Path
from tempfile import gettempdir

#: Where the drivers of NVIDIA tell of each GPU.
DRIVER = Path("/proc/driver/nvidia/gpus")
SECONDS = 0.5
_taken: list[str] = []


def visible() -> list[str]:
    """The GPUs that this process may use: those of `CUDA_VISIBLE_DEVICES`, else all of the machine."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [part.strip() for part in given.split(",") if part.strip() not in {"", "-1"}]
    return [str(n) for n in range(len(list(DRIVER.iterdir())))] if DRIVER.is_dir() else []


def take_one(folder: Path | None = None) -> str | None:
    """Take a GPU for this process and let torch see that one alone; waits while all are taken. None: there is none.

    A second call gives the same. torch must not have looked for GPUs before the first.
    """
    if _taken:
        return _taken[0]
    gpus = visible()
    if not gpus:
        return None
    place = folder or Path(gettempdir()) / f"tamis-gpus-{os.getuid()}"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        for gpu in gpus:
            if _locks(place / f"{gpu}.lock"):
                _taken.append(gpu)
                os.environ["CUDA_VISIBLE_DEVICES"] = gpu
                return gpu
        time.sleep(SECONDS)


def _locks(path: Path) -> bool:
    """Whether this process now holds the lock; its descriptor stays open, so that the lock ends with the process."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return False
    return True
