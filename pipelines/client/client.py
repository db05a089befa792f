"""The two clients: where the service is, who asks, and what does the calls that `calls.py` describes."""

import os
import ssl
from collections.abc import AsyncIterator, Generator, Iterator
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

import httpx

from pipelines.client.calls import Calls
from pipelines.client.effects import Steps
from pipelines.client.running import AsyncDoing, Doing
from stages.errors import SpecError

T = TypeVar("T")
#: Where the certificate of the service is checked: as usual, not at all, or in one's own way.
Verify: TypeAlias = bool | ssl.SSLContext

DEFAULT_URL = "http://127.0.0.1:8321"
URL, TOKEN = "TAMIS_SERVER", "TAMIS_TOKEN"
#: Seconds for a connection, and for an answer: a first look into a large run takes a while.
CONNECT, TIMEOUT = 10.0, 300.0
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class _Reaching(Calls):
    """Where the service is and who asks."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT,
        patience: float = 30.0,
        outage: float = 600.0,
        verify: Verify = True,
    ) -> None:
        """Reach a service.

        Args:
            url: its address; else the variable TAMIS_SERVER, else a service on this machine.
            token: who asks (`tamis token create`); else the variable TAMIS_TOKEN.
            timeout: seconds that an answer may take.
            patience: seconds in which a call is tried again where the service does not answer, or says later.
            outage: seconds that the service may be away while somebody waits, listens or downloads.
            verify: how the certificate of an https address is checked.

        Raises:
            SpecError: the address is none.
        """
        self.url = (url or os.environ.get(URL) or DEFAULT_URL).rstrip("/")
        self.patience, self.outage = patience, outage
        self._open(_options(self.url, token or os.environ.get(TOKEN), timeout, verify))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def _open(self, options: dict[str, Any]) -> None:
        raise NotImplementedError


class Client(_Reaching):
    """A client with blocking calls, also from several threads. Close it, or use it in a `with` block."""

    def _open(self, options: dict[str, Any]) -> None:
        self._http = httpx.Client(**options)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run_flow(self, flow: Generator[Any, Any, T]) -> T:
        """What a description ends with."""
        return Doing(self._http).run(flow)

    def each_item(self, flow: Generator[Any, Any, Any]) -> Iterator[Any]:
        """The items that a description gives."""
        return Doing(self._http).each(Steps(flow))


class AsyncClient(_Reaching):
    """A client whose calls are awaited. Close it, or use it in an `async with` block."""

    def _open(self, options: dict[str, Any]) -> None:
        self._http = httpx.AsyncClient(**options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run_flow(self, flow: Generator[Any, Any, T]) -> T:
        """What a description ends with."""
        return await AsyncDoing(self._http).run(flow)

    def each_item(self, flow: Generator[Any, Any, Any]) -> AsyncIterator[Any]:
        """The items that a description gives."""
        return AsyncDoing(self._http).each(Steps(flow))


def _options(url: str, token: str | None, timeout: float, verify: Verify) -> dict[str, Any]:
    """What both kinds of connections are made with. A service of this machine is never asked through a proxy."""
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise SpecError(f"the address {url!r} is none: {error}; write one such as {DEFAULT_URL}", url=url) from error
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise SpecError(f"the address {url!r} is no address of a service; write one such as {DEFAULT_URL}", url=url)
    token = (token or "").strip()
    if not token.isascii() or not token.isprintable():
        raise SpecError("the token holds characters that no token has; copy it again, or make one: tamis token create")
    return {
        "base_url": url,
        "headers": {"Authorization": f"Bearer {token}"} if token else {},
        "timeout": httpx.Timeout(timeout, connect=CONNECT),
        "trust_env": parsed.host not in _LOOPBACK,
        "verify": verify,
    }
