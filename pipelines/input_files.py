"""One input file, wherever it is, in the version that was frozen."""

import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple, Protocol

from pipelines.globs import shown
from stages.errors import DataError
from stages.sources.base import Input

#: Stored bytes read at once.
BLOCK = 1 << 18


class InputFile(Input, Protocol):
    """A file in the version that was frozen."""

    @property
    def uri(self) -> str:
        """An absolute path or `s3://bucket/key`."""

    @property
    def version(self) -> str:
        """What changes when the content does."""

    def content(self) -> bytes:
        """All stored bytes of the frozen version, at once."""

    def check(self) -> None:
        """Raise DataError unless the file is the frozen version."""


class LocalInput(NamedTuple):
    """A file of a local folder; its version is its modification time in ns."""

    path: str
    uri: str
    size: int
    version: str

    def blocks(self) -> Iterator[bytes]:
        """The stored bytes, in blocks of `BLOCK`.

        Raises:
            DataError: the file is gone, unreadable or no longer the frozen version.
        """
        try:
            descriptor = os.open(self.uri, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            self._same(os.fstat(descriptor))
            while block := os.read(descriptor, BLOCK):
                yield block
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            os.close(descriptor)

    def content(self) -> bytes:
        """All stored bytes, for small files: a look at the file after reading tells that it was the frozen version.

        Raises:
            DataError: the file is gone, unreadable or no longer the frozen version.
        """
        try:
            descriptor = os.open(self.uri, os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.read(descriptor, self.size + 1)
                found = os.fstat(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unreadable(error) from error
        if len(data) != self.size or str(found.st_mtime_ns) != self.version:
            raise changed(self.uri)
        return data

    def open(self) -> BinaryIO:
        """The stored bytes with random access."""
        try:
            return open(self.uri, "rb")  # noqa: PTH123  # the caller closes it; a string, for a million files
        except OSError as error:
            raise self._unreadable(error) from error

    def check(self) -> None:
        """Make sure that the file is the frozen version.

        Raises:
            DataError: it is gone or has changed.
        """
        try:
            self._same(os.stat(self.uri))  # noqa: PTH116  # a string, for a million files
        except OSError as error:
            raise self._unreadable(error) from error

    def _same(self, stat: os.stat_result) -> None:
        if stat.st_size != self.size or str(stat.st_mtime_ns) != self.version:
            raise changed(self.uri)

    def _unreadable(self, error: OSError) -> DataError:
        if isinstance(error, FileNotFoundError):
            message = f"the input {shown(self.uri)} is gone since the run began; put it back or start a new run"
        else:
            message = f"the input {shown(self.uri)} cannot be read: {error.strerror}; repair it and run again"
        return DataError(message, path=self.path, uri=self.uri)


def changed(uri: str) -> DataError:
    """The error that says that a file is not what was frozen."""
    message = f"the input {shown(uri)} has changed since the run began; put the old version back or start a new run"
    return DataError(message, uri=uri)
