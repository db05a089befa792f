"""Where compiled kernels are kept: a folder named by everything that they were compiled from.

numba looks at the file of a function, not at the files of the functions that it calls, so after an upgrade its cache
can pair old callers with new callees, which crashes. A folder for each state of the sources cannot.
Importing this module imports no numba.
"""

import contextlib
import functools
import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

ENVIRONMENT = "NUMBA_CACHE_DIR"
PREFIX = "kernels-"


@functools.cache
def folder() -> Path:
    """The cache folder for the kernels as they are now; below `NUMBA_CACHE_DIR` where that is set."""
    given = os.environ.get(ENVIRONMENT)
    base = Path(given) if given else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tamis"
    if base.name.startswith(PREFIX):  # set by `use` in a parent process
        base = base.parent
    return base / f"{PREFIX}{_digest()}"


def is_ready(kind: str) -> bool:
    """Whether a stage's kernels were compiled on this machine."""
    return (folder() / f"{kind}.ready").exists()


def mark_ready(kind: str) -> None:
    """Note that a stage's kernels were compiled on this machine."""
    folder().mkdir(parents=True, exist_ok=True)
    (folder() / f"{kind}.ready").touch()


def keep(path: Path, table: Any) -> None:
    """Write an array where other processes find it; whole or not at all, and not where the folder is read-only."""
    import numpy as np  # noqa: PLC0415 - asking whether kernels are ready needs no numpy

    part = path.with_name(f".{path.name}.{os.getpid()}")
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            np.save(file, table, allow_pickle=False)
        part.replace(path)


def _digest() -> str:
    home = Path(__file__).resolve().parent  # numba's own names hold it, so another copy of the sources starts anew
    total = hashlib.sha256(f"{home}\0{sys.version}\0{version('numba')}\0{version('llvmlite')}".encode())
    for file in sorted(home.iterdir()):
        if file.is_file():
            total.update(file.name.encode() + b"\0" + file.read_bytes())
    return total.hexdigest()[:16]


def use() -> None:
    """Make numba keep what it compiles in the folder; called before the first kernel is defined."""
    chosen = str(folder())
    os.environ[ENVIRONMENT] = chosen
    numba = sys.modules.get("numba")
    if numba is not None:
        numba.config.CACHE_DIR = chosen
