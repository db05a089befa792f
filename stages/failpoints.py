"""Named places where a test can make a process die, fail or hang, as power cuts and full disks do.

`TAMIS_FAILPOINTS` holds comma-separated entries `name:action` or `name:action@hit`, where action is

    kill   the process ends at once, as by kill -9
    error  an OSError is raised, as by a failing disk
    hang   the process never goes on

and `hit` (default 1) is how many times the place must have been passed in this process before it acts; from
then on it acts at every pass. Where `TAMIS_FAILPOINTS_ONCE` names a folder, each entry acts only once for all
processes that share the folder. Both are inherited through the environment. Without them a failpoint does nothing.
"""

import contextlib
import errno
import os
import signal
import threading
from collections import Counter
from pathlib import Path
from typing import NoReturn

ENTRIES = "TAMIS_FAILPOINTS"
ONCE = "TAMIS_FAILPOINTS_ONCE"

_passed: Counter[str] = Counter()


def failpoint(name: str) -> None:
    """Do what the environment asks for at this place; nothing, as a rule.

    Raises:
        OSError: the entry says `error`.
        ValueError: an entry cannot be read.

    """
    entries = os.environ.get(ENTRIES)
    if not entries:
        return
    for entry in entries.split(","):
        place, _, rest = entry.strip().partition(":")
        if place != name:
            continue
        action, _, hit = rest.partition("@")
        _passed[entry] += 1
        if _passed[entry] >= int(hit or 1) and _first(entry):
            _act(name, action)


def _first(entry: str) -> bool:
    folder = os.environ.get(ONCE)
    if not folder:
        return True
    with contextlib.suppress(FileExistsError):
        (Path(folder) / entry.strip().replace(":", "-")).touch(exist_ok=False)
        return True
    return False


def _act(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    elif action == "error":
        raise OSError(errno.EIO, f"failpoint {name}")
    elif action == "hang":
        _hang()
    else:
        raise ValueError(f"{ENTRIES} asks for {action!r} at {name!r}; it knows kill, error and hang")


def _hang() -> NoReturn:
    while True:
        threading.Event().wait()
