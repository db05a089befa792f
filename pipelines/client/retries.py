"""Asking until there is an answer: what was refused for a moment, or may be asked twice, is asked again."""

import json
import random
import time
from typing import Any

import httpx

from pipelines.client.effects import Answer, Ask, At, Flow, Pause
from pipelines.client.errors import UnreachableError, error_of

#: Refused before anything was done: too much at once.
REFUSED = 429
#: Somebody between, or the store, could not; perhaps it was done.
UNSURE = frozenset({502, 503, 504})
_NEVER_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)
_FIRST, _LONGEST = 0.2, 5.0
_SUCCESS = range(200, 300)


class Tries:
    """How long to wait before the next try, within so many seconds in all. Waits grow and differ between clients."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.renew()

    def renew(self) -> None:
        """Begin anew: something worked."""
        self._until = time.monotonic() + self._patience
        self._wait = _FIRST

    def pause(self, told: float | None = None) -> float | None:
        """Seconds to wait, at least those that the service told; None where that would be too long."""
        wait = max(self._wait * random.uniform(0.75, 1.25), told or 0.0)  # noqa: S311 - no secret
        self._wait = min(2 * self._wait, _LONGEST)
        return wait if time.monotonic() + wait <= self._until else None


def retry_after(answer: Answer) -> float | None:
    """The seconds after which the service wants to be asked again."""
    told = answer.headers.get("retry-after", "")
    return float(told) if told.isdecimal() else None


def answered(at: At, ask: Ask, patience: float | None = None) -> Flow[Answer]:
    """The answer to a request, of any status; `patience`: seconds in which to ask again, else the client's.

    Raises:
        UnreachableError: there was none.
    """
    tries = Tries(at.patience if patience is None else patience)
    while True:
        try:
            answer: Answer = yield ask
        except httpx.TransportError as error:
            pause = tries.pause() if ask.again or isinstance(error, _NEVER_SENT) else None
            if pause is None:
                raise unreachable(at, error) from error
        else:
            refused = answer.status == REFUSED or (answer.status in UNSURE and ask.again)
            pause = tries.pause(retry_after(answer)) if refused else None
            if pause is None:
                return answer
        yield Pause(pause)


def unreachable(at: At, error: Exception) -> UnreachableError:
    """What to say where a service does not answer."""
    why = str(error) or type(error).__name__
    return UnreachableError(
        f"the service at {at.url} does not answer: {why}; see whether `tamis serve` runs there", url=at.url
    )


def sound(at: At, ask: Ask, patience: float | None = None) -> Flow[Answer]:
    """The answer to a request that succeeded.

    Raises:
        TamisError: the service refused it; the class is what it was there.
    """
    answer = yield from answered(at, ask, patience)
    if answer.status not in _SUCCESS:
        raise error_of(answer, f"{ask.method} {ask.path}")
    return answer


def told(at: At, ask: Ask, patience: float | None = None) -> Flow[Any]:
    """The JSON that answers a request."""
    answer = yield from sound(at, ask, patience)
    return json.loads(answer.body)
