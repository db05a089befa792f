"""The two transports: they do what descriptions want done, one with blocking calls, the other on an event loop."""

import asyncio
import time
from collections.abc import AsyncIterator, Generator, Iterator
from typing import Any, TypeVar

import httpx

from pipelines.client.effects import Answer, Ask, Give, Hush, Listen, More, Pause, Steps, Work
from stages.errors import TamisError

T = TypeVar("T")

#: What a description is told of, and may mend; anything else ends it.
MENDABLE = (httpx.TransportError, OSError, TamisError)
#: From here on an answer is an error's.
ERRORS = 400


class Doing:
    """Does the effects of one description with blocking calls. Use it in a `with` block."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def run(self, flow: Generator[Any, Any, T]) -> T:
        """What a description ends with."""
        for _ in self.each(steps := Steps(flow)):
            raise AssertionError("a description that ends with a result gives no items")
        result: T = steps.value
        return result

    def each(self, steps: Steps[Any]) -> Iterator[Any]:
        """The items that a description gives."""
        try:
            while (effect := steps.next()) is not None:
                if isinstance(effect, Give):
                    yield effect.item
                    continue
                try:
                    steps.reply = self._do(effect)
                except MENDABLE as error:
                    steps.error = error
        finally:
            steps.close()
            self._hush()

    def _do(self, effect: Any) -> Any:
        match effect:
            case Ask():
                return _answer(self._http.send(request_of(self._http, effect)))
            case Listen():
                return self._listen(effect)
            case More():
                return next(self._chunks, None)
            case Hush():
                return self._hush()
            case Pause():
                return time.sleep(effect.seconds)
            case Work():
                return effect.do()
        raise AssertionError(effect)

    def _listen(self, effect: Listen) -> Answer:
        self._hush()
        self._response = self._http.send(request_of(self._http, effect.ask, effect.read), stream=True)
        if self._response.status_code >= ERRORS:
            self._response.read()
            return _answer(self._response)
        self._chunks = self._response.iter_bytes()
        return _answer(self._response, whole=False)

    def _hush(self) -> None:
        response, self._response, self._chunks = self._response, None, iter(())
        if response is not None:
            response.close()


class AsyncDoing:
    """The same on an event loop."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] = _nothing()

    async def run(self, flow: Generator[Any, Any, T]) -> T:
        """What a description ends with."""
        async for _ in self.each(steps := Steps(flow)):
            raise AssertionError("a description that ends with a result gives no items")
        result: T = steps.value
        return result

    async def each(self, steps: Steps[Any]) -> AsyncIterator[Any]:
        """The items that a description gives."""
        try:
            while (effect := steps.next()) is not None:
                if isinstance(effect, Give):
                    yield effect.item
                    continue
                try:
                    steps.reply = await self._do(effect)
                except MENDABLE as error:
                    steps.error = error
        finally:
            steps.close()
            await self._hush()

    async def _do(self, effect: Any) -> Any:
        match effect:
            case Ask():
                return _answer(await self._http.send(request_of(self._http, effect)))
            case Listen():
                return await self._listen(effect)
            case More():
                return await anext(self._chunks, None)
            case Hush():
                return await self._hush()
            case Pause():
                return await asyncio.sleep(effect.seconds)
            case Work():
                return await asyncio.to_thread(effect.do)
        raise AssertionError(effect)

    async def _listen(self, effect: Listen) -> Answer:
        await self._hush()
        self._response = await self._http.send(request_of(self._http, effect.ask, effect.read), stream=True)
        if self._response.status_code >= ERRORS:
            await self._response.aread()
            return _answer(self._response)
        self._chunks = self._response.aiter_bytes()
        return _answer(self._response, whole=False)

    async def _hush(self) -> None:
        response, self._response, self._chunks = self._response, None, _nothing()
        if response is not None:
            await response.aclose()


def request_of(http: httpx.Client | httpx.AsyncClient, ask: Ask, read: float | None = None) -> httpx.Request:
    """The request that is asked for; what is None among its parameters is left out."""
    params = {name: value for name, value in ask.params.items() if value is not None}
    body = {} if ask.body is None else {"json": ask.body}
    timeout = http.timeout if read is None else httpx.Timeout(http.timeout.connect, read=read)
    return http.build_request(
        ask.method, ask.path, params=params or None, headers=dict(ask.headers), timeout=timeout, **body
    )


def _answer(response: httpx.Response, *, whole: bool = True) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.content if whole else b"")


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""
