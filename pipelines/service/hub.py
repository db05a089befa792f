"""Wakes those who follow jobs over HTTP when the supervisor, in its own thread, has heard something.

What they read is the store's history; a wake says that there is more of it, never what.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from pipelines.service.history import Event


class Hub:
    """The bell between the supervisor's thread and the event loop of the server.

    `hearing` are called with every event, in the thread that tells it; an event may be told twice.
    """

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._listeners: dict[str | None, set[asyncio.Event]] = {}
        self.hearing: list[Callable[[str, Event], None]] = []
        self.closed = False

    def bind(self, loop: asyncio.AbstractEventLoop) -> None:
        """Ring in this loop from now on."""
        self._loop = loop

    def publish(self, job: str, event: Event) -> None:
        """Wake who listens to a job, or to all; from any thread."""
        for hear in self.hearing:
            hear(job, event)
        self._ring(job)

    def close(self) -> None:
        """Wake everybody for the last time; from any thread."""
        self.closed = True
        self._ring(None, everybody=True)

    @contextmanager
    def listen(self, job: str | None) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happens to a job; None: to any. To be used in the loop."""
        bell = asyncio.Event()
        self._listeners.setdefault(job, set()).add(bell)
        try:
            yield bell
        finally:
            self._listeners[job].discard(bell)
            if not self._listeners[job]:
                del self._listeners[job]

    @property
    def listening(self) -> int:
        """How many listen."""
        return sum(map(len, self._listeners.values()))

    def _ring(self, job: str | None, *, everybody: bool = False) -> None:
        if self._loop is None or self._loop.is_closed():
            return
        self._loop.call_soon_threadsafe(self._wake, job, everybody)

    def _wake(self, job: str | None, everybody: bool) -> None:  # noqa: FBT001 - a callback has no keywords
        for key, bells in self._listeners.items():
            if everybody or key is None or key == job:
                for bell in bells:
                    bell.set()
