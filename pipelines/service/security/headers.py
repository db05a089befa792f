"""Headers of every answer: what a browser may do with it, and that nobody keeps what a signed-in person saw.

An answer that is no page may load and run nothing. A route that says a policy or how long to keep an answer keeps its own.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.service.security.origins import signed_in

DATA_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
PAGE_POLICY = "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
#: The referrer stays inside. `no-referrer` would take the Origin from forms, which `origins` needs.
SAME = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Permitted-Cross-Domain-Policies": "none",
}


class SecurityHeaders:
    """Adds headers to answers."""

    def __init__(self, app: ASGIApp, cookie: str) -> None:
        self._app, self._cookie = app, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        browser = signed_in(Headers(scope=scope), self._cookie)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add(MutableHeaders(scope=message), browser=browser)
            await send(message)

        await self._app(scope, receive, with_headers)


def _add(headers: MutableHeaders, *, browser: bool) -> None:
    for name, value in SAME.items():
        headers.setdefault(name, value)
    own = headers.get("Content-Security-Policy")
    if own is None:
        page = headers.get("Content-Type", "").startswith("text/html")
        headers["Content-Security-Policy"] = PAGE_POLICY if page else DATA_POLICY
    elif "frame-ancestors" not in own:
        headers["Content-Security-Policy"] = f"{own}; frame-ancestors 'self'"
    headers.setdefault("X-Frame-Options", "DENY" if own is None else "SAMEORIGIN")
    kept = headers.get("Cache-Control")
    if kept is None or (browser and "public" not in kept and "immutable" not in kept):
        headers["Cache-Control"] = "no-store"
