"""Guessing is slow: after some wrong tokens from an address, its guesses are not even looked at for a while.

A token that was right before is always looked at, so that nobody behind the same address (a proxy, this machine) is locked out by
another's mistakes. Memory is bounded: of many addresses and tokens, the last are remembered.
"""

import hashlib
import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from math import ceil

from pipelines.service.errors import TooManyError
from pipelines.service.tokens import Token, UnauthorizedError

#: Wrong tokens of an address that are looked at in one go, and seconds until one more is.
BURST = 20
SECONDS = 3.0
ADDRESSES = 4_096
CREDENTIALS = 1_024
#: Who has one address of IPv6 has all of its network.
NETWORK = 64


class TooManyFailuresError(TooManyError):
    """An address has given too many wrong tokens."""

    type = "too-many-failures"


class Failures:
    """Wrong tokens by address, for several threads. `total` counts them all; its length is how much is remembered."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._until: OrderedDict[str, float] = OrderedDict()  # address: when its failures are forgotten
        self._right: OrderedDict[bytes, None] = OrderedDict()  # digests of tokens that were right
        self.total = 0

    def __len__(self) -> int:
        return len(self._until) + len(self._right)

    def check(self, address: str | None, credential: str, find: Callable[[], Token]) -> Token:
        """The token that `find` gives for what somebody at an address showed.

        Raises:
            UnauthorizedError: it is worth nothing.
            TooManyFailuresError: the address has shown too much of that kind, so this was not looked at.
        """
        where, digest = network(address), hashlib.sha256(credential.encode("utf-8", "replace")).digest()
        self._admit(where, digest)
        try:
            token = find()
        except UnauthorizedError:
            self._failed(where, digest)
            raise
        self._remember(digest)
        return token

    def _admit(self, where: str, digest: bytes) -> None:
        with self._lock:
            left = self._until.get(where, 0.0) - self._clock() - (BURST - 1) * SECONDS
            if left <= 0 or digest in self._right:
                return
            self.total += 1
        raise TooManyFailuresError(
            "too many wrong tokens came from your address; wait, and see what keeps sending them",
            retry_after=ceil(left),
        )

    def _failed(self, where: str, digest: bytes) -> None:
        with self._lock:
            self.total += 1
            self._right.pop(digest, None)
            self._until[where] = max(self._until.pop(where, 0.0), self._clock()) + SECONDS
            while len(self._until) > ADDRESSES:
                self._until.popitem(last=False)

    def _remember(self, digest: bytes) -> None:
        with self._lock:
            self._right.pop(digest, None)
            self._right[digest] = None
            while len(self._right) > CREDENTIALS:
                self._right.popitem(last=False)


def network(address: str | None) -> str:
    """What counts as one address."""
    try:
        found = ipaddress.ip_address((address or "").split("%", maxsplit=1)[0])
    except ValueError:
        return address or "unknown"
    if isinstance(found, ipaddress.IPv6Address):
        return str(found.ipv4_mapped or ipaddress.ip_network((found, NETWORK), strict=False))
    return str(found)
