"""How long the database and the store take to answer, seen from outside: neither knows that it is watched."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from sqlalchemy import Engine, event

from pipelines.store import Files, Store

if TYPE_CHECKING:
    import pyarrow as pa

#: Told what was done, and in how many seconds.
Tell = Callable[[str, float], None]
_BEGAN = "tamis_began"
P = ParamSpec("P")
T = TypeVar("T")


def watch_database(engine: Engine, tell: Tell) -> None:
    """Tell of every statement of a database: `read` or `write`."""

    @event.listens_for(engine, "before_cursor_execute")
    def _before(connection: Any, *_: Any) -> None:
        connection.info[_BEGAN] = time.perf_counter()

    @event.listens_for(engine, "after_cursor_execute")
    def _after(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        del cursor
        began = connection.info.pop(_BEGAN, None)
        if began is not None:
            kind = "read" if statement.lstrip()[:6].upper() == "SELECT" else "write"
            tell(kind, time.perf_counter() - began)


def watch_store(store: Store, tell: Tell) -> None:
    """Tell of every call of a store that this process makes through that object."""
    store._opened = _Timed(store.files, tell)  # noqa: SLF001 - a store that is sent to a worker opens its own files, unwatched


class _Timed:
    """The files of a store, timed."""

    def __init__(self, files: Files, tell: Tell) -> None:
        self._files, self._tell = files, tell

    def find(self, path: str) -> bytes | None:
        """See `Files`."""
        return self._timed("find", self._files.find, path)

    def create(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        """See `Files`."""
        return self._timed("create", self._files.create, path, data, durable=durable)

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """See `Files`."""
        return self._timed("read", self._files.read_range, path, offset, length)

    def open_input(self, path: str) -> "pa.NativeFile":
        """See `Files`."""
        return self._timed("open", self._files.open_input, path)

    def upload(self, local: Path, path: str, *, durable: bool = True) -> None:
        """See `Files`."""
        self._timed("upload", self._files.upload, local, path, durable=durable)

    def size(self, path: str) -> int | None:
        """See `Files`."""
        return self._timed("size", self._files.size, path)

    def delete(self, path: str) -> None:
        """See `Files`."""
        self._timed("delete", self._files.delete, path)

    def scratch(self) -> Path:
        """See `Files`."""
        return self._files.scratch()

    def list(self, prefix: str) -> Iterator[str]:
        """See `Files`; how long a listing takes is its reader's doing, so it is not told."""
        return self._files.list(prefix)

    def _timed(self, call: str, does: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
        began = time.perf_counter()
        try:
            return does(*args, **options)
        finally:
            self._tell(call, time.perf_counter() - began)
