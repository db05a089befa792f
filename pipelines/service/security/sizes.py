"""How much a request may bring. What is too much is refused when it is announced, or else when it has come that far."""

from contextlib import suppress

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.service.problems import problem


class _TooMuchError(Exception):
    """More came than may."""


class Limited:
    """Lets at most some bytes of a request's body through; never more than that is kept."""

    def __init__(self, app: ASGIApp, nbytes: int) -> None:
        self._app, self._most = app, nbytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "0")
        if not announced.isdecimal() or int(announced) > self._most:
            await self._refuse(scope, receive, send)
            return
        body = _Body(receive, send, self._most)
        with suppress(_TooMuchError):
            await self._app(scope, body.receive, body.send)
        if body.too_much and not body.answered:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        title = (
            f"the request has more than {self._most} bytes, which is all that this service takes; ask for less at once"
        )
        await problem(413, "too-large-error", title, {"Connection": "close"}, limit=self._most)(scope, receive, send)


class _Body:
    """A request's body, counted. Once it is too much, the answer of the application is not the answer."""

    def __init__(self, receive: Receive, send: Send, most: int) -> None:
        self._receive, self._send, self._left = receive, send, most
        self.too_much = self.answered = False

    async def receive(self) -> Message:
        """The next piece, unless it is too much."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.too_much = True
            raise _TooMuchError
        return message

    async def send(self, message: Message) -> None:
        """Pass the application's answer on."""
        if self.too_much and not self.answered:
            return  # what the application makes of a body that broke off
        self.answered = True
        await self._send(message)
