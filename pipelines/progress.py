"""What a long piece of work tells about itself while it goes on, and who listens.

The work calls a `Watch`; the work knows nothing of terminals, and a watch knows nothing of runs.
A `Meter` turns the calls into a rate and the time left, for watches that show them.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol


class Watch(Protocol):
    """Listens to the progress of a run. Calls come from one thread, in any order of steps."""

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """State that `done` of `total` shards of the step `name` are finished, `nbytes` of text among them.

        The first call of a step may have `done` = 0; the last has `done` = `total`. Cached shards count as done.
        """

    def say(self, sentence: str) -> None:
        """State something once: a compilation that starts, a step that was cached, a quarantined document."""


class NullWatch:
    """Listens and says nothing."""

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """Ignore it."""

    def say(self, sentence: str) -> None:
        """Ignore it."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a step stands."""

    name: str
    done: int
    total: int
    nbytes: int  # text bytes done
    seconds: float  # since the step's first call
    bytes_per_second: float | None  # None until something is done
    seconds_left: float | None  # None until something is done; 0 at the end


@dataclass(frozen=True, slots=True)
class _Start:
    at: float
    done: int
    nbytes: int


class Meter:
    """Rates and the time left of steps, from the moment that each was first heard of.

    What was done at the first call (cached shards of a resumed run) does not count towards the rate.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._starts: dict[str, _Start] = {}

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> Progress:
        """Where the step stands now."""
        now = self._clock()
        start = self._starts.setdefault(name, _Start(now, done, nbytes))
        seconds = now - start.at
        moved = done - start.done
        left: float | None = None
        if done >= total:
            left = 0.0
        elif moved > 0 and seconds > 0:
            left = seconds / moved * (total - done)
        rate = (nbytes - start.nbytes) / seconds if seconds > 0 and nbytes > start.nbytes else None
        return Progress(name, done, total, nbytes, seconds, rate, left)
