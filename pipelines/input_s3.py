"""Input objects of a bucket, through obstore; options come from the environment as for every S3 tool."""

import functools
import io
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, TypeVar, cast

import obstore
from obstore.exceptions import BaseError, PreconditionError
from obstore.store import S3Store

from pipelines.globs import Found, is_wild, matcher, split
from pipelines.input_files import BLOCK, changed
from pipelines.store_s3 import ENDPOINTS, no_credentials, retries
from stages.errors import DataError, SpecError, StorageError

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult
    from obstore.store import ClientConfig

SCHEME = "s3://"
#: How often a body that breaks off is asked for again from where it broke.
RESUMES = 8
#: Bytes asked for at once where a file is read at random places.
READ_AHEAD = 1 << 20

T = TypeVar("T")


def find_s3(glob: str) -> Found:
    """The objects of an `s3://bucket/glob` with their sizes and entity tags; a path with objects below it means them.

    Raises:
        SpecError: the glob is impossible.
        StorageError: the bucket cannot be listed.
    """
    bucket, _, key = glob.removeprefix(SCHEME).partition("/")
    if not is_wild(key):
        below = _listed(glob, bucket, key.rstrip("/"), ["**"])
        if below.paths or not key or key.endswith("/"):
            return below
    root, parts = split(key)
    return _listed(glob, bucket, "" if root == "." else root, parts)


def _listed(glob: str, bucket: str, root: str, parts: list[str]) -> Found:
    found = Found(f"{SCHEME}{bucket}/{root}".rstrip("/"))
    matches = matcher(parts).match
    cut = len(root) + 1 if root else 0

    def collect() -> None:
        for page in obstore.list(_bucket(bucket), root or None, chunk_size=1000):
            for entry in page:
                path = entry["path"][cut:]
                if matches(path):
                    found.paths.append(path)
                    found.sizes.append(entry["size"])
                    found.tags.append(entry["e_tag"] or "")

    _saying(glob, collect)
    return found


@dataclass(frozen=True, slots=True)
class S3Input:
    """An object of a bucket; its version is its entity tag."""

    path: str
    uri: str
    size: int
    version: str

    def blocks(self) -> Iterator[bytes]:
        """The stored bytes in blocks of `BLOCK`, of the frozen version alone.

        Raises:
            DataError: the object is gone or no longer the frozen version.
            StorageError: it cannot be read.
        """
        held = bytearray()
        for piece in self._pieces():
            held += piece
            while len(held) >= BLOCK:
                yield bytes(held[:BLOCK])
                del held[:BLOCK]
        if held:
            yield bytes(held)

    def content(self) -> bytes:
        """All stored bytes, for small objects."""
        return b"".join(self.blocks())

    def open(self) -> BinaryIO:
        """The stored bytes with random access, by ranged requests."""
        self.check()
        return cast("BinaryIO", io.BufferedReader(_Ranges(self), READ_AHEAD))

    def check(self) -> None:
        """Make sure that the object is the frozen version.

        Raises:
            DataError: it is gone or has changed.
        """
        meta = self._asking(lambda: obstore.head(*self.place))
        if meta["size"] != self.size or (meta["e_tag"] or "") != self.version:
            raise changed(self.uri)

    def read_range(self, start: int, length: int) -> bytes:
        """`length` bytes from `start`."""
        store, key = self.place
        return self._asking(lambda: bytes(obstore.get_range(store, key, start=start, length=length)))

    @property
    def place(self) -> tuple[S3Store, str]:
        """The bucket and the key."""
        bucket, _, key = self.uri.removeprefix(SCHEME).partition("/")
        return _bucket(bucket), key

    def _pieces(self) -> Iterator[bytes]:
        at = 0
        for attempt in range(RESUMES + 1):
            answer = self._asking(functools.partial(self._get, at))
            if answer.meta["size"] != self.size:
                raise changed(self.uri)
            try:
                for piece in answer.stream(min_chunk_size=BLOCK):
                    at += len(piece)
                    yield bytes(piece)
            except BaseError as error:
                if attempt == RESUMES:
                    raise _unreachable(self.uri, error) from error
            if at >= self.size:
                return

    def _get(self, start: int) -> "GetResult":
        store, key = self.place
        options: GetOptions = {"if_match": self.version or None}
        if start:
            options["range"] = {"offset": start}
        return obstore.get(store, key, options=options)

    def _asking(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except FileNotFoundError as error:
            message = f"the input {self.uri!r} is gone since the run began; put it back or start a new run"
            raise DataError(message, path=self.path, uri=self.uri) from error
        except PreconditionError as error:
            raise changed(self.uri) from error
        except (BaseError, OSError) as error:
            raise _unreachable(self.uri, error) from error


class _Ranges(io.RawIOBase):
    """A file over ranged requests."""

    def __init__(self, file: S3Input) -> None:
        super().__init__()
        self._file = file
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._file.size}[whence]
        return self._at

    def readinto(self, buffer: "memoryview") -> int:  # type: ignore[override]  # what BufferedReader gives
        length = min(len(buffer), self._file.size - self._at)
        if length <= 0:
            return 0
        buffer[:length] = self._file.read_range(self._at, length)
        self._at += length
        return length


@functools.cache
def _bucket(bucket: str) -> S3Store:
    endpoint = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
    options: ClientConfig = {"timeout": "60s", "connect_timeout": "5s"}
    if endpoint.startswith("http://"):
        options["allow_http"] = True
    return S3Store(bucket, client_options=options, retry_config={"max_retries": retries()})


def _saying(uri: str, ask: Callable[[], T]) -> T:
    try:
        return ask()
    except (BaseError, OSError) as error:
        raise _unreachable(uri, error) from error
    except ValueError as error:  # what obstore says of a path with `.`, `..` or an empty part
        message = f"the path {uri!r} cannot be a key: {str(error).partition(chr(10))[0]}; write it without such parts"
        raise SpecError(message, path=uri) from error


def _unreachable(uri: str, error: Exception) -> StorageError:
    reason = str(error).partition("\n")[0]
    message = f"the input {uri!r} cannot be read: {reason}; check endpoint, credentials and network and run again{no_credentials()}"
    return StorageError(message, uri=uri)
