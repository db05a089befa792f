"""Browsers of finished runs: made in the background when a run ends or is first asked for, and kept open for a while.

    {folder}/{run}/            a run's arrays
    {folder}/pairs/{a}+{b}/    what differs between two runs

All of it can be made again from the store, so what was not asked for lately goes when together it takes too much room.
"""

import os
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as NotYetError
from contextlib import suppress
from pathlib import Path

from pipelines.service.errors import PreparingError
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.explorer.parts import UNUSED_SECONDS, discard, size, sweep
from pipelines.view import RunView

#: The folder of what differs between two runs.
PAIRS = "pairs"
#: Finished runs that stay open.
OPEN = 16
#: Runs that are prepared at once, so that a small one need not wait for a large one.
AT_ONCE = 2
#: Bytes of arrays, and of pairs of runs, that stay when nobody asked for them lately.
KEPT_BYTES = 20 << 30
#: Seconds that a request waits before it is told to come again.
PATIENCE = 5.0
RETRY_SECONDS = 2


class _Closed(Exception):  # noqa: N818 - ends a build that nobody waits for any more
    pass


class _Making:
    """One browser on its way, with how far it is."""

    def __init__(self) -> None:
        self.future: Future[Explorer] = Future()
        self.part = 0.0


class Explorers:
    """The browsers of a service's runs, with their arrays in a folder of this machine."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._open: OrderedDict[str, Explorer] = OrderedDict()
        self._making: dict[str, _Making] = {}
        self._lock = threading.Lock()
        self.closing = threading.Event()
        self._workers = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="explorers")

    def close(self) -> None:
        """Give up what is being prepared; nothing half-made is left under its name."""
        self.closing.set()
        self._workers.shutdown(cancel_futures=True)
        self._open.clear()

    def prepare(self, run: str, view: Callable[[], RunView]) -> None:
        """See that a run's browser is made, without waiting; what goes wrong is told to who asks for it."""
        with self._lock:
            if run not in self._open:
                self._begin(run, view)

    def get(self, run: str, view: Callable[[], RunView], patience: float = PATIENCE) -> Explorer:
        """A run's browser.

        Raises:
            PreparingError: it is not ready yet; `part` says how far it is.
            StorageError: a sidecar is missing, or the disk does not take the arrays.
        """
        with self._lock:
            if run in self._open:
                self._open.move_to_end(run)
                with suppress(OSError):  # its time is for `tidy` alone
                    os.utime(self._folder / run)
                return self._open[run]
            making = self._begin(run, view)
        try:
            return making.future.result(patience)
        except NotYetError:
            part = round(making.part, 3)
            message = f"the documents of the run {run} are being indexed for browsing, {part:.0%} done; ask again soon"
            raise PreparingError(message, retry_after=RETRY_SECONDS, run=run, part=part) from None

    def tidy(self, most: int = KEPT_BYTES) -> list[str]:
        """Delete what was asked for longest ago until `most` bytes are left, never what is open; gives what went.

        Raises:
            OSError: the folder cannot be read or written.
        """
        now, pairs = time.time(), self._folder / PAIRS
        sweep(self._folder)
        sweep(pairs)
        runs = [place for place in self._folder.glob("[!.]*") if place.name != PAIRS]
        places = [(place.stat().st_mtime, place, size(place)) for place in (*runs, *pairs.glob("[!.]*"))]
        total, gone = sum(nbytes for *_, nbytes in places), []
        for asked, place, nbytes in sorted(places):
            if total <= most or now - asked < UNUSED_SECONDS:
                break
            if (old := self._taken_away(place)) is not None:
                shutil.rmtree(old, ignore_errors=True)
                gone.append(place.name)
                total -= nbytes
        return gone

    def _taken_away(self, place: Path) -> Path | None:
        with self._lock:  # nobody opens what is about to go
            return None if place.name in self._open or place.name in self._making else discard(place)

    def _begin(self, run: str, view: Callable[[], RunView]) -> _Making:
        making = self._making.get(run)
        if making is None:
            making = self._making[run] = _Making()
            making.future = self._workers.submit(self._make, run, view, making)
            making.future.add_done_callback(lambda _: self._making.pop(run, None))
        return making

    def _make(self, run: str, view: Callable[[], RunView], making: _Making) -> Explorer:
        def told(done: int, total: int) -> None:
            if self.closing.is_set():
                raise _Closed
            making.part = done / total

        opened = Explorer.open(view(), self._folder / run, told)
        with self._lock:
            self._open[run] = opened
            while len(self._open) > OPEN:
                self._open.popitem(last=False)
        return opened
