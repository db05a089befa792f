"""A bucket as a store, through obstore.

Options come from the environment as for every S3 tool (`AWS_ENDPOINT_URL`, `AWS_REGION`, `AWS_ACCESS_KEY_ID`,
web identity, instance metadata). obstore tries a request again, with growing pauses, where the server answers 5xx
or the connection drops. Create-if-absent is `PUT` with `If-None-Match: *`: 412 means that somebody was faster,
409 that somebody is writing at this moment.
"""

import contextlib
import errno
import io
import os
import tempfile
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
import pyarrow as pa
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import S3Store

from stages.errors import StorageError

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig

#: Variables that name the endpoint, the one that wins first.
ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
#: Names how often a request is tried again (8 times unless set).
RETRIES = "TAMIS_S3_RETRIES"
#: How often a create is tried while others write at the same moment, and the first pause in seconds.
CONFLICT_TRIES = 6
CONFLICT_PAUSE = 0.05


#: Any of these says where credentials come from, or that none are needed.
CREDENTIALS = (
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_SKIP_SIGNATURE",
)


def retries() -> int:
    """How often a request is tried again.

    Raises:
        StorageError: the environment says something else than a number from 0 to 100.
    """
    given = os.environ.get(RETRIES, "8")
    if not (given.isascii() and given.isdigit() and len(given) <= 3 and int(given) <= 100):  # noqa: PLR2004  # more is no help
        raise StorageError(f"{RETRIES} is {given!r}; set it to a number from 0 to 100 or unset it", variable=RETRIES)
    return int(given)


def no_credentials() -> str:
    """The end of a message about a failed request where the environment has no credentials; otherwise nothing."""
    if any(os.environ.get(name) for name in CREDENTIALS):
        return ""
    return "; no AWS credentials were found in the environment (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"


class S3Files:
    """The objects below one prefix of one bucket."""

    def __init__(self, url: str) -> None:
        self.url = url
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
        options: ClientConfig = {"timeout": "60s", "connect_timeout": "5s"}
        if endpoint.startswith("http://"):
            options["allow_http"] = True
        retry: RetryConfig = {
            "max_retries": retries(),
            "retry_timeout": timedelta(seconds=120),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=10), "base": 2},
        }
        with self._saying("open", ""):
            self._store = S3Store(bucket, prefix=prefix.strip("/") or None, client_options=options, retry_config=retry)

    def find(self, path: str) -> bytes | None:
        """Return the content, or None where there is nothing."""
        with self._saying("read", path):
            try:
                return bytes(obstore.get(self._store, path).bytes())
            except FileNotFoundError:
                return None

    def create(self, path: str, data: bytes, *, durable: bool = True) -> bool:  # noqa: ARG002 - S3 always is
        """Create if absent; False may also mean that our own earlier try arrived although its answer was lost."""
        for attempt in range(CONFLICT_TRIES):
            with self._saying("write", path):
                try:
                    obstore.put(self._store, path, data, mode="create", use_multipart=False)
                except AlreadyExistsError:
                    # obstore says the same of 412 (it is there) and 409 (somebody is just writing it, and may fail).
                    if self.size(path) is not None:
                        return False
                else:
                    return True
            time.sleep(CONFLICT_PAUSE * 2**attempt)
        raise StorageError(
            f"cannot write {path!r} in {self.url}: the server reports a conflict each time, although nothing is there; "
            "run again",
            store=self.url,
            path=path,
        )

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        with self._saying("read", path):
            return bytes(obstore.get_range(self._store, path, start=offset, length=length)) if length else b""

    def open_input(self, path: str) -> pa.NativeFile:
        """Return a file whose reads are ranged requests."""
        size = self.size(path)
        if size is None:
            raise StorageError(
                f"cannot read {path!r} in {self.url}: it is not there; run the command that makes it again",
                store=self.url,
                path=path,
            )
        return pa.PythonFile(_Reader(self, path, size), mode="r")

    def upload(self, local: Path, path: str, *, durable: bool = True) -> None:  # noqa: ARG002 - S3 always is
        """Put a file, in parts where it is large; it becomes visible whole or not at all."""
        with self._saying("write", path):
            obstore.put(self._store, path, local, max_concurrency=4)
            if local.parent == self.scratch():
                local.unlink(missing_ok=True)

    def size(self, path: str) -> int | None:
        """Return the size in bytes, or None where there is nothing."""
        with self._saying("read", path):
            try:
                return int(obstore.head(self._store, path)["size"])
            except FileNotFoundError:
                return None

    def scratch(self) -> Path:
        """Return this user's temporary folder for files in the making."""
        folder = Path(tempfile.gettempdir()) / f"tamis-{os.getuid()}"
        with self._saying("prepare a temporary file for", ""):
            folder.mkdir(mode=0o700, exist_ok=True)
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                raise PermissionError(errno.EPERM, f"{str(folder)!r} belongs to somebody else")
        return folder

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the paths below `prefix`, sorted as the bucket sorts them."""
        with self._saying("list", prefix):
            for page in obstore.list(self._store, prefix or None, chunk_size=1000):
                yield from (entry["path"] for entry in page)

    def delete(self, path: str) -> None:
        """Delete; absent is fine."""
        with self._saying("delete", path), contextlib.suppress(FileNotFoundError):
            obstore.delete(self._store, path)

    @contextlib.contextmanager
    def _saying(self, verb: str, path: str) -> Iterator[None]:
        """Turn an S3 failure into one sentence that names the object."""
        try:
            yield
        except (BaseError, OSError, ValueError) as error:  # the last: a path with `.`, `..` or an empty part
            reason = str(error).partition("\n")[0]
            raise StorageError(
                f"cannot {verb} {path!r} in {self.url}: {reason}; check endpoint, credentials and network and run again"
                + no_credentials(),
                store=self.url,
                path=path,
            ) from error


class _Reader(io.RawIOBase):
    """A random access file over ranged requests."""

    def __init__(self, files: S3Files, path: str, size: int) -> None:
        self._files, self._path, self._size, self._at = files, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def read(self, size: int | None = -1) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        data = self._files.read_range(self._path, self._at, wanted)
        self._at += len(data)
        return data
