"""Where everything that tamis makes is kept: a local folder or `s3://bucket/prefix`.

Only create-if-absent is relied on, because it is the one atomic step that folders and every S3 have in common.
What is written is durable when the call returns and is never visible half-written. Paths are relative to the
root of the store and separated by `/`.

    format.json                                  the layout's version; anything but ours is refused
    steps/{step}-{key}/{shard}.{attempt}.parquet  trusted only when a commit record names it
    steps/{step}-{key}/commits/{shard}.json       commit records
    runs/  exports/  staging/                     runs, what they export, work in progress
"""

import contextlib
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from pipelines.store_local import LocalFiles
from stages.errors import StorageError

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 1
FORMAT_PATH = "format.json"
#: Files in the making are abandoned after this long.
SCRATCH_SECONDS = 86_400
COPY_BYTES = 1 << 22


class Files(Protocol):
    """What a store needs of a folder or a bucket. Every call raises StorageError where the medium fails."""

    def find(self, path: str) -> bytes | None:
        """Return the content, or None where there is nothing."""

    def create(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        """Create if absent; False where there is something already."""

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Return `length` bytes from `offset`."""

    def open_input(self, path: str) -> "pa.NativeFile":
        """Return a random access file."""

    def upload(self, local: Path, path: str, *, durable: bool = True) -> None:
        """Write the local file under `path`."""

    def size(self, path: str) -> int | None:
        """Return the size in bytes, or None where there is nothing."""

    def scratch(self) -> Path:
        """Return a local folder for files in the making."""

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the paths below `prefix`, in order."""

    def delete(self, path: str) -> None:
        """Delete; absent is fine."""


class Store:
    """One store. It pickles as its address alone; workers open it again, with the options of their environment."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_local = not url.startswith("s3://")
        self._opened: Files | None = None

    @classmethod
    def open(cls, url: str | Path, *, create: bool = True) -> "Store":
        """Open the store at `url`, making it where there is none.

        Raises:
            StorageError: it cannot be reached or written, has another format, is absent and `create` is false, or
                its S3 endpoint ignores `If-None-Match`.

        """
        address = str(url)
        if not address.startswith("s3://"):
            address = str(Path(address.removeprefix("file://")).expanduser().absolute())
        store = cls(address.rstrip("/") or "/")
        store._settle_format(create=create)
        if create:
            _sweep(store.scratch())
        return store

    def _settle_format(self, *, create: bool) -> None:
        ours = json.dumps({"format": FORMAT}).encode()
        found = self.find(FORMAT_PATH)
        if found is None:
            if not create:
                raise StorageError(
                    f"there is no store at {self.url}; check the address or run something", store=self.url, absent=True
                )
            self.create(FORMAT_PATH, ours)
            found = self.get(FORMAT_PATH)
        if found != ours:
            raise StorageError(
                f"the store at {self.url} has the format {found[:80].decode(errors='replace')!r}, and this version of "
                f"tamis knows only format {FORMAT}; use another store or the version of tamis that made it",
                store=self.url,
            )
        if not self.is_local and self.create(FORMAT_PATH, ours):
            raise StorageError(
                f"the S3 endpoint of {self.url} ignores If-None-Match, so two runs could overwrite each other's "
                "results; use an endpoint that supports conditional writes",
                store=self.url,
            )

    @property
    def files(self) -> Files:
        """The folder or bucket, opened at first use."""
        if self._opened is None:
            if self.is_local:
                self._opened = LocalFiles(Path(self.url))
            else:
                from pipelines.store_s3 import S3Files  # noqa: PLC0415  # a local store needs no S3 client

                self._opened = S3Files(self.url)
        return self._opened

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.url,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Store) and self.url == other.url

    def __hash__(self) -> int:
        return hash(self.url)

    def __repr__(self) -> str:
        return f"Store({self.url!r})"

    def get(self, path: str) -> bytes:
        """Return the content of `path`.

        Raises:
            StorageError: it is missing or unreadable.

        """
        data = self.find(path)
        if data is None:
            raise self.missing(path)
        return data

    def find(self, path: str) -> bytes | None:
        """Return the content of `path`, or None where there is nothing.

        Raises:
            StorageError: it is unreadable.

        """
        return self.files.find(checked(path))

    def create(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        """Create `path` if it is absent, at once and durably; False where there is something already.

        What is not `durable` survives the end of a process, but may be gone or cut short after a loss of power.

        On S3, False may also mean that an earlier try of this very call arrived although its answer was lost: who
        must know puts something unique into `data` and compares.

        Raises:
            StorageError: it cannot be written.

        """
        return self.files.create(checked(path), data, durable=durable)

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Return `length` bytes of `path` from `offset`, fewer at its end.

        Raises:
            StorageError: it is missing or unreadable.

        """
        return self.files.read_range(checked(path), offset, length)

    def open_input(self, path: str) -> "pa.NativeFile":
        """Return `path` as a random access file that pyarrow reads.

        Raises:
            StorageError: it is missing or unreadable.

        """
        return self.files.open_input(checked(path))

    def local(self, path: str) -> Path:
        """Return a local file with the content of `path`: itself in a local store, else a copy that is kept.

        Raises:
            StorageError: it is missing or unreadable.

        """
        if self.size(path) is None:
            raise self.missing(path)
        if self.is_local:
            return Path(self.url) / path
        # What is in a store is never overwritten, so a copy stays right.
        name = hashlib.sha256(f"{self.url}/{path}".encode()).hexdigest()
        copy = self.scratch() / f"copy-{name}"
        if not copy.exists():
            part = copy.with_name(f".{copy.name}.{os.getpid()}.{threading.get_ident()}")  # others may copy it at once
            with part.open("wb") as file, self.open_input(path) as content:
                shutil.copyfileobj(content, file, COPY_BYTES)
            part.replace(copy)
        return copy

    def upload(self, local: Path, path: str, *, durable: bool = True) -> None:
        """Write a local file under `path`, durably (see `create`). A file below `scratch()` is moved, any other is copied.

        Raises:
            StorageError: it cannot be written.

        """
        self.files.upload(Path(local), checked(path), durable=durable)

    def size(self, path: str) -> int | None:
        """Return the size of `path` in bytes, or None where there is nothing."""
        return self.files.size(checked(path))

    def scratch(self) -> Path:
        """Return a local folder for files in the making: inside a local store, else a temporary folder."""
        return self.files.scratch()

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every path below the folder `prefix`, sorted. A listing is advice: only commit records are trusted."""
        folder = prefix.strip("/")
        yield from self.files.list(checked(folder) if folder else folder)

    def delete(self, path: str) -> None:
        """Delete `path`; absent is fine.

        Raises:
            StorageError: it cannot be deleted.

        """
        self.files.delete(checked(path))

    def get_json(self, path: str) -> Any:
        """Return the JSON value at `path`.

        Raises:
            StorageError: it is missing, unreadable or not JSON.

        """
        value = self.find_json(path)
        if value is None:
            raise self.missing(path)
        return value

    def find_json(self, path: str) -> Any:
        """Return the JSON value at `path`, or None where there is nothing.

        Raises:
            StorageError: it is unreadable or not JSON.

        """
        data = self.find(path)
        if data is None:
            return None
        try:
            return json.loads(data)
        except ValueError as error:
            raise StorageError(
                f"{path!r} in the store {self.url} is not JSON ({error}); something else wrote it, so delete it and run again",
                store=self.url,
                path=path,
            ) from error

    def create_json(self, path: str, value: Any) -> bool:
        """Create `path` with the JSON of `value`, keys sorted, if it is absent; False where there is something already.

        Raises:
            StorageError: it cannot be written.
            ValueError: the value holds NaN or infinity.

        """
        return self.create(path, encode(value))

    def missing(self, path: str) -> StorageError:
        """Return the error that says that `path` is not there."""
        message = f"{path!r} is missing from the store {self.url}; run the command that makes it again"
        return StorageError(message, store=self.url, path=path)


def _sweep(scratch: Path) -> None:
    """Delete what processes that were killed left in the making more than a day ago."""
    oldest = time.time() - SCRATCH_SECONDS
    for path in scratch.iterdir():
        with contextlib.suppress(OSError):  # another process sweeps too, and leftovers harm nobody
            if path.lstat().st_mtime < oldest:
                path.unlink()


def encode(value: Any) -> bytes:
    """Return JSON with sorted keys in ASCII, so that file names that are not Unicode survive."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def checked(path: str) -> str:
    """Return `path` when it stays inside the store.

    Raises:
        ValueError: it is absolute, empty, or has an empty, `.` or `..` part.

    """
    if any(part in {"", ".", ".."} for part in path.split("/")) or "\0" in path:
        raise ValueError(f"{path!r} is not a path inside a store")
    return path
