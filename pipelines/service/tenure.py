"""That one service alone moves a store's jobs on: a record in the store, renewed for as long as it does.

    service/serving/{number:08d}.json   {"by", "at", "ended"}: the highest number counts, the others are deleted

A lock of one machine tells nothing about drivers of another: two services with one store would each take the other's drivers for
crashed and start their jobs twice. A number is created once, so of two that begin together one finds the other's record.
"""

import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipelines.service.folders import names_below
from pipelines.store import Store
from stages.errors import StorageError

#: Seconds after which a record is renewed, and after which one that was not counts no more.
RENEWED_SECONDS, LASTS_SECONDS = 15.0, 60.0
_FOLDER = "service/serving"


class Tenure:
    """The right of a service, known by its machine and its folder there, to move a store's jobs on.

    Raises:
        StorageError: another service has it.
    """

    def __init__(self, store: Store, state: Path, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._by = f"{socket.gethostname()}:{state.absolute()}"
        self._number, self._at = 0, 0.0
        while not self._number:
            number, newest = self._newest()
            if newest is not None and newest["by"] != self._by and not newest["ended"]:
                self._refuse_while_fresh(newest)
            self._put(number + 1)

    def hold(self) -> None:
        """Renew it where it is time to.

        Raises:
            StorageError: another service has taken it, since this one was away for too long.
        """
        if self._clock() - self._at < RENEWED_SECONDS:
            return
        number, newest = self._newest()
        if number != self._number or not self._put(number + 1):
            by = newest["by"] if newest and number != self._number else "another machine"
            raise StorageError(
                f"the service at {by} has taken over the jobs of {self._store.url}, since this one did not reach the store "
                f"for {LASTS_SECONDS:.0f} s; stop one of the two",
                path=_FOLDER,
            )

    def end(self) -> None:
        """Let others have it at once."""
        number, _ = self._newest()
        if number == self._number:
            self._put(number + 1, ended=True)

    def _newest(self) -> tuple[int, dict[str, Any] | None]:
        """The highest number, and what it says; what was deleted meanwhile was not the highest."""
        while True:
            names = names_below(self._store, _FOLDER)
            if not names:
                return 0, None
            name = max(names)
            found = self._store.find_json(f"{_FOLDER}/{name}")
            if found is not None:
                return int(name.removesuffix(".json")), found

    def _put(self, number: int, *, ended: bool = False) -> bool:
        now = self._clock()
        path = f"{_FOLDER}/{number:08d}.json"
        value = {"by": self._by, "at": round(now, 3), "ended": ended}
        # On S3 a refusal may mean that an earlier try of this very call arrived.
        if not self._store.create_json(path, value) and self._store.find_json(path) != value:
            return False
        self._number, self._at = number, now
        for name in names_below(self._store, _FOLDER):
            if int(name.removesuffix(".json")) < number:
                self._store.delete(f"{_FOLDER}/{name}")
        return True

    def _refuse_while_fresh(self, newest: dict[str, Any]) -> None:
        rest = LASTS_SECONDS - (self._clock() - newest["at"])
        if rest > 0:
            raise StorageError(
                f"the store {self._store.url} is served by {newest['by']}, and a store has one service; stop that one, or "
                f"start this one again in {rest:.0f} s if it was killed",
                path=_FOLDER,
            )
