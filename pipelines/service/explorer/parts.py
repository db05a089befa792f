"""Folders of arrays that appear whole: built beside their place under a lock, then renamed.

The lock is the kernel's, so a builder that is killed holds none, and whatever is half-built while the lock is free is dead.
"""

import errno
import fcntl
import glob
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from pipelines.commit import DISK
from stages.errors import StorageError

#: Documents that one step of a pass over arrays looks at: its temporaries fit the processor's cache.
CHUNK = 1 << 18
#: Seconds after which arrays that nobody asked for may be deleted.
UNUSED_SECONDS = 3_600.0
#: What is told while arrays are built: units of work done, and all of them.
Progress = Callable[[int, int], None]


def publish(place: Path, build: Callable[[Path], None], ready: Callable[[], bool]) -> None:
    """See that `place` is `ready`: what `build` writes into a folder of its own becomes `place` at once.

    Whoever asks while another builds waits for it. What is at `place` and not ready is replaced. Its time says when it was
    last asked for.

    Raises:
        StorageError: the disk does not take it.
    """
    try:
        if not ready():
            place.parent.mkdir(parents=True, exist_ok=True)
            with _locked(place.with_name(f".{place.name}.lock")):
                if not ready():
                    _replace(place, build)
        os.utime(place)
    except OSError as error:
        if error.errno not in (*DISK, errno.EACCES):
            raise
        raise StorageError(
            f"cannot write the arrays {place}: {error}; make room there, or delete the folder, and ask again",
            path=str(place),
        ) from error


def size(place: Path) -> int:
    """The bytes of a folder's files."""
    total = 0
    for folder, _, names in os.walk(place):
        for name in names:
            with suppress(FileNotFoundError):  # a column that is being made moves to its place
                total += (Path(folder) / name).stat().st_size
    return total


def discard(place: Path) -> Path | None:
    """Take arrays away at once; gives the folder to delete, or None where somebody makes them just now."""
    with _if_free(place) as free:
        if not free:
            return None
        old = place.with_name(f".{place.name}.old.part")
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            place.rename(old)
    return old


def sweep(folder: Path) -> None:
    """Delete what builds left in a folder that were killed: what is half-built while its lock is free."""
    for part in folder.glob(".*.part"):
        name, *_ = part.name[1:].rsplit(".", 2)
        with _if_free(part.with_name(name)) as free:
            if free:
                shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _if_free(place: Path) -> Iterator[bool]:
    """Whether nobody makes the arrays of a place, nor begins to in this block."""
    with place.with_name(f".{place.name}.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            free = True
        except BlockingIOError:
            free = False
        yield free


def _replace(place: Path, build: Callable[[Path], None]) -> None:
    for dead in place.parent.glob(f".{glob.escape(place.name)}.*.part"):
        shutil.rmtree(dead)
    made = Path(tempfile.mkdtemp(prefix=f".{place.name}.", suffix=".part", dir=place.parent))
    try:
        build(made)
        _sync(made)
        old = place.with_name(f".{place.name}.old.part")
        if place.exists():
            place.rename(old)  # nobody sees it half-deleted, whenever this process dies
        made.rename(place)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _sync(folder: Path) -> None:
    """Flush every file: after a loss of power a name must not stand for zeros."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())


def part_name(*names: str) -> str:
    """A folder's name that tells columns and choices apart."""
    return "~".join(quote(n, safe="") for n in names)


def new_array(path: Path, dtype: Any, rows: int | tuple[int, ...]) -> NDArray[Any]:
    """A file of zeros to write into."""
    shape = rows if isinstance(rows, tuple) else (rows,)
    made: NDArray[Any] = np.lib.format.open_memmap(path, "w+", np.dtype(dtype), shape)
    return made


def array_at(path: Path) -> NDArray[Any]:
    """A file of numbers, mapped into memory; a plain array, since `np.memmap` makes every slice of it dear."""
    found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return found


def row_type(rows: int) -> Any:
    """The smallest type that numbers so many documents."""
    return np.uint32 if rows < 1 << 32 else np.int64


def write_json(path: Path, value: Any) -> None:
    """Write JSON; the last file of a folder, so that its presence says that the others are there."""
    path.write_text(json.dumps(value, sort_keys=True, allow_nan=False))


def find_json(path: Path) -> Any:
    """JSON that may be there, or None."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def chunks(rows: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each step of a pass over so many documents."""
    return ((a, min(a + CHUNK, rows)) for a in range(0, rows, CHUNK))


class Told:
    """Adds up the work that is done and tells of it."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, max(1, total), 0

    def add(self, units: int) -> None:
        """So much more is done."""
        self._done = min(self._total, self._done + units)
        if self._progress is not None:
            self._progress(self._done, self._total)
