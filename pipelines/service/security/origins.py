"""Where a request comes from: no other site may let a signed-in browser change anything.

A browser says in `Origin` (and `Sec-Fetch-Site`) which page made it ask. A program with a token says neither, and need not.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Receive, Scope, Send

from pipelines.service.problems import problem

#: Methods that change nothing.
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_PORTS = {"http": ":80", "https": ":443"}


class OwnOrigin:
    """Refuses what could change something and was asked by a page of another site."""

    def __init__(self, app: ASGIApp, cookie: str) -> None:
        self._app, self._cookie = app, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] == "http" and scope["method"] not in SAFE and not self._own(Headers(scope=scope)):
            answer = problem(
                403,
                "foreign-origin-error",
                "the request would change something and does not come from a page of this service; use its own pages, or a token "
                "in `Authorization: Bearer`",
            )
            await answer(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _own(self, headers: Headers) -> bool:
        origins = headers.getlist("origin")
        if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"}:
            return False
        if origins:
            return all(_same(origin, headers.get("host", "")) for origin in origins)
        return "authorization" in headers or not signed_in(headers, self._cookie)


def signed_in(headers: Headers, cookie: str) -> bool:
    """Whether a request has a session's cookie."""
    return any(cookie in cookie_parser(given) for given in headers.getlist("cookie"))


def _same(origin: str, host: str) -> bool:
    """Whether a page's origin is the name that was asked. The scheme is the proxy's, so it is not compared."""
    try:
        found = urlsplit(origin)
    except ValueError:
        return False
    port = _PORTS.get(found.scheme)
    return port is not None and found.netloc.lower().removesuffix(port) == host.lower().removesuffix(port)
