"""Numbered files without gaps (1, 2, 3 ...), of which the newest counts: no listing is needed to find it."""

from collections.abc import Callable

from stages.base import Files
from stages.errors import StorageError


def newest(exists: Callable[[int], bool]) -> int:
    """The highest number that exists among 1, 2, 3 ... without gaps; 0 where there is none. Asks O(log n) times."""
    high = 1
    while exists(high):
        high *= 2
    low = high // 2  # exists, or is 0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if exists(middle) else (low, middle)
    return low


def is_there(files: Files, path: str) -> bool:
    """Whether the store has a file at the path.

    Raises:
        StorageError: the store cannot be read.
    """
    try:
        files.local(path)
    except StorageError as error:
        if error.fields.get("absent") or "is missing" in error.message:
            return False
        raise
    return True
