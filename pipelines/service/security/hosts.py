"""The Host header: the service answers only to names that it was given, so no foreign name can be pointed at it (DNS rebinding)."""

import re
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.service.problems import problem

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?\Z")


class KnownHosts:
    """Lets requests through that ask one of the known names, with any port."""

    def __init__(self, app: ASGIApp, names: Iterable[str]) -> None:
        self._app = app
        self._names = {_plain(name) for name in names}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] == "http":
            given = [value.decode("latin-1") for name, value in scope["headers"] if name == b"host"]
            if len(given) != 1 or name_of(given[0]) not in self._names:
                answer = problem(
                    421,
                    "unknown-host-error",
                    "the request asks for a name that this service does not have; ask under the name that `tamis serve` printed, "
                    "or start it with --allowed-host NAME",
                )
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)


def name_of(host: str) -> str | None:
    """The name in a Host header, without port and brackets; None where it is none."""
    found = _HOST.match(host.lower())
    return None if found is None else _plain(found[1])


def _plain(name: str) -> str:
    return name.lower().removeprefix("[").removesuffix("]").rstrip(".")
