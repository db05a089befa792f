"""What a call of the service does, as a description: a generator that yields what it wants done and is told what came of it.

One description serves two clients. `running.py` does for it what this cannot: ask, wait, listen, write files.
"""

from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass, field
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, Concatenate, Generic, ParamSpec, Protocol, TypeAlias, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from pipelines.client.client import AsyncClient, Client

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Ask:
    """A request to send; the reply is an `Answer`. `again`: it may be sent once more though it may have arrived."""

    method: str
    path: str
    params: Mapping[str, Any] = field(default_factory=dict)
    body: Any = None  # JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    again: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back; of a stream without its body, unless it is an error's."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Listen:
    """A request whose body comes bit by bit; the reply is an `Answer`. `read`: the longest silence in seconds."""

    ask: Ask
    read: float | None = None


@dataclass(frozen=True, slots=True)
class More:
    """The next bytes of what is listened to, as reply; None at its end."""


@dataclass(frozen=True, slots=True)
class Hush:
    """Listen no longer."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Let some seconds pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Work:
    """Do something that takes this machine a while; the reply is what it gives."""

    do: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Give(Generic[T]):
    """Hand an item to who iterates."""

    item: T


Effect: TypeAlias = Ask | Listen | More | Hush | Pause | Work
#: What ends with a result.
Flow: TypeAlias = Generator[Effect, Any, T]
#: What gives items on its way.
Items: TypeAlias = Generator[Effect | Give[T], Any, None]


class At(Protocol):
    """Whom descriptions are for.

    patience: seconds in which a call is tried again; outage: how long the service may be away while somebody waits, listens
    or downloads.
    """

    url: str
    patience: float
    outage: float


class Steps(Generic[T]):
    """A description, a step at a time; `value` is what it ended with."""

    def __init__(self, flow: Generator[Any, Any, T]) -> None:
        self._flow = flow
        self.reply: Any = None
        self.error: Exception | None = None
        self.value: Any = None

    def next(self) -> Any:
        """What is to be done next; None at the end. `reply` or `error` tell what came of the step before."""
        reply, error = self.reply, self.error
        self.reply = self.error = None
        try:
            return self._flow.send(reply) if error is None else self._flow.throw(error)
        except StopIteration as end:
            self.value = end.value
            return None

    def close(self) -> None:
        """Let the description clean up."""
        self._flow.close()


class call(Generic[P, T]):  # noqa: N801 - a decorator
    """A method whose description ends with a result: the client gives the result, the async client a coroutine."""

    def __init__(self, make: Callable[Concatenate[Any, P], Flow[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, at: "Client", owner: Any = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, at: "AsyncClient", owner: Any = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, at: None, owner: Any = None) -> "call[P, T]": ...
    def __get__(self, at: Any, owner: Any = None) -> Any:
        """The method of a client."""
        if at is None:
            return self

        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
            return at.run_flow(self._make(at, *args, **kwargs))

        return update_wrapper(bound, self._make)


class stream(Generic[P, T]):  # noqa: N801 - a decorator
    """A method whose description gives items: the client iterates over them, the async client with `async for`."""

    def __init__(self, make: Callable[Concatenate[Any, P], Items[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, at: "Client", owner: Any = None) -> "Callable[P, Iterator[T]]": ...
    @overload
    def __get__(self, at: "AsyncClient", owner: Any = None) -> "Callable[P, AsyncIterator[T]]": ...
    @overload
    def __get__(self, at: None, owner: Any = None) -> "stream[P, T]": ...
    def __get__(self, at: Any, owner: Any = None) -> Any:
        """The method of a client."""
        if at is None:
            return self

        def bound(*args: P.args, **kwargs: P.kwargs) -> Any:
            return at.each_item(self._make(at, *args, **kwargs))

        return update_wrapper(bound, self._make)
