"""Every request, watched from outside: an id for it, a line in the log, its time in the metrics, a span in the traces."""

import re
import secrets
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.service.observe.logs import bound, logger
from pipelines.service.observe.metrics import Metrics

if TYPE_CHECKING:
    from pipelines.service.tokens import Token

ID = "X-Request-Id"
#: Asked so often, by machines, that a line each would bury the others.
SILENT = frozenset({"/healthz", "/readyz", "/metrics"})
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
_SANE = re.compile(r"[A-Za-z0-9._-]{8,64}\Z")
_BROKEN = 500
_LOG = logger("tamis.requests")

#: Opens a span for a request; what it gives is told the status.
Span = Callable[[Scope], AbstractContextManager[Callable[[str, int], None] | None]]


class Observed:
    """The outermost layer. It knows a route by its template, so that metrics have as many lines as there are routes."""

    def __init__(self, app: ASGIApp, metrics: Metrics, span: Span | None = None) -> None:
        self._app, self._metrics = app, metrics
        self._span: Span = span or (lambda _: nullcontext())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(ID, "")
        identity = given if _SANE.match(given) else secrets.token_hex(8)
        scope.setdefault("state", {})["request_id"] = identity
        watched = _Watched(send, identity)
        with bound(request=identity), self._span(scope) as told:
            try:
                await self._app(scope, receive, watched.send)
            except Exception:
                if watched.status is None:
                    raise
                # what failed has been answered and logged where it was met: `problems`
            finally:
                self._tell(scope, watched, told)

    def _tell(self, scope: Scope, watched: "_Watched", told: Callable[[str, int], None] | None) -> None:
        route, status = template(scope), watched.status or _BROKEN
        method = scope["method"] if scope["method"] in METHODS else OTHER
        self._metrics.answered(method, route, status, watched.seconds)
        if told is not None:
            told(route, status)
        if scope["path"] not in SILENT:
            token: Token | None = scope["state"].get("token")
            _LOG.info(
                "answered",
                method=method,
                route=route,
                status=status,
                ms=round(watched.seconds * 1000, 1),
                token=None if token is None else token.id,
                **_about(scope),
            )


class _Watched:
    """What is seen of an answer: its status, and the seconds until it began (a stream of events may go on for hours)."""

    def __init__(self, send: Send, identity: str) -> None:
        self._send, self._identity = send, identity
        self._began = time.perf_counter()
        self.status: int | None = None
        self.seconds = 0.0

    async def send(self, message: Message) -> None:
        """Pass the answer on, with the request's id."""
        if message["type"] == "http.response.start":
            self.status, self.seconds = message["status"], time.perf_counter() - self._began
            MutableHeaders(scope=message)[ID] = self._identity
        await self._send(message)


def template(scope: Scope) -> str:
    """The template of the route that answered, such as `/v1/runs/{run}`."""
    return str(getattr(scope.get("route"), "path", OTHER))


def _about(scope: Scope) -> dict[str, Any]:
    """The run that a request is about, by the name that it gave."""
    run = scope.get("path_params", {}).get("run")
    return {} if run is None else {"run": str(run)[:160]}
