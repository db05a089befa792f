"""A file of flat arrays behind one header, made to be mapped: `MAGIC | arrays | header | its length and digest | MAGIC`.

The header is JSON and stands at the end, because counts are known last. A file appears under its name whole or not at
all: it is written under a temporary name, synced and renamed. A cut file has no magic number at its end.
"""

import contextlib
import hashlib
import json
import os
import secrets
import struct
from collections.abc import Iterator, Mapping
from math import prod
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from stages.errors import StorageError
from stages.fingerprint import canonical

_ALIGNED = 64
#: Behind the header: its length, its SHA-256, the magic number.
_TAIL = struct.Struct("<Q32s8s")
_MAGIC_LENGTH = 8


class FlatWriter:
    """Writes a flat file; used in a `with` block, after an error nothing is left of it.

    Raises:
        StorageError: the disk is full, or the folder cannot be written.
    """

    def __init__(self, path: Path, magic: bytes) -> None:
        assert len(magic) == _MAGIC_LENGTH, "a magic number has eight bytes"
        self.path = path
        self._magic = magic
        self._part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
        self._arrays: dict[str, dict[str, Any]] = {}
        self._digest = hashlib.sha256()
        with self._saying():
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._part.open("xb")
        self._at = 0
        self._write(magic)

    def array(self, name: str, values: NDArray[Any]) -> None:
        """Append values to the array `name`; arrays are written one after the other, each in any number of parts."""
        values = np.ascontiguousarray(values)
        if name not in self._arrays:
            self._write(bytes(-self._at % _ALIGNED))
            kind = values.dtype.newbyteorder("<").str
            self._arrays[name] = {"dtype": kind, "at": self._at, "shape": [0, *values.shape[1:]]}
        entry = self._arrays[name]
        assert next(reversed(self._arrays)) == name, "an array that another one follows is finished"
        entry["shape"][0] += len(values)
        self._write(values.astype(entry["dtype"], copy=False).data.cast("B") if values.size else b"")

    def finish(self, header: Mapping[str, Any]) -> None:
        """Write the header and give the file its name."""
        whole = {**header, "arrays": self._arrays, "end": self._at, "digest": self._digest.hexdigest()}
        text = canonical(whole).encode()
        self._write(text)
        self._write(_TAIL.pack(len(text), hashlib.sha256(text).digest(), self._magic))
        with self._saying():
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._part.replace(self.path)
            folder = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)  # the name is durable too
            finally:
                os.close(folder)

    def discard(self) -> None:
        """Leave nothing behind; a finished file stays."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._part.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _write(self, data: bytes | memoryview) -> None:
        with self._saying():
            self._file.write(data)
        self._digest.update(data)
        self._at += len(data)

    @contextlib.contextmanager
    def _saying(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            message = f"cannot write {str(self.path)!r}: {reason}; free space or choose another folder and run again"
            raise StorageError(message, path=str(self.path)) from error


class FlatFile:
    """A flat file opened for reading: the header is read and checked, arrays are mapped when they are asked for.

    Raises:
        StorageError: the file is missing, cut, damaged in its header, or not of this kind.
    """

    def __init__(self, path: Path, magic: bytes, what: str) -> None:
        self.path = path
        self.what = what
        try:
            with path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                self.header = self._header(file, size, magic)
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise StorageError(f"cannot read {what} {str(path)!r}: {reason}", path=str(path)) from error
        arrays = self.header["arrays"].items()
        self._places = [(n, (np.dtype(a["dtype"]), prod(a["shape"]), a["at"]), a["shape"]) for n, a in arrays]

    def _header(self, file: Any, size: int, magic: bytes) -> dict[str, Any]:
        file.seek(0)
        begins = file.read(len(magic))
        if begins != magic:
            raise self._refused(f"is not {self.what}")
        file.seek(max(size - _TAIL.size, 0))
        tail = file.read(_TAIL.size)
        length, digest, ends = _TAIL.unpack(tail) if len(tail) == _TAIL.size else (0, b"", b"")
        at = size - _TAIL.size - length
        if ends != magic or at < len(magic):
            raise self._refused(f"is {self.what} that was cut")
        file.seek(at)
        text = file.read(length)
        if hashlib.sha256(text).digest() != digest:
            raise self._refused(f"is {self.what} that is damaged")
        header: dict[str, Any] = json.loads(text)
        if header["end"] != at:
            raise self._refused(f"is {self.what} that was cut")
        return header

    def map(self) -> dict[str, NDArray[Any]]:
        """Every array, mapped and read-only; the file is open as long as any of them is used."""
        try:
            with self.path.open("rb", buffering=0) as file:
                whole = mmap(file.fileno(), 0, access=ACCESS_READ)
        except (OSError, ValueError) as error:  # ValueError: the file has become empty
            raise StorageError(f"cannot map {str(self.path)!r}: {error}", path=str(self.path)) from error
        if len(whole) < self.header["end"]:
            raise self._refused(f"is {self.what} that was cut")
        return {name: np.frombuffer(whole, *place).reshape(shape) for name, place, shape in self._places}

    def verify(self) -> None:
        """Read the whole file and compare its digest.

        Raises:
            StorageError: it is not what was written.
        """
        digest = hashlib.sha256()
        left = self.header["end"]
        with self.path.open("rb") as file:
            while left and (part := file.read(min(left, 1 << 22))):
                digest.update(part)
                left -= len(part)
        if left or digest.hexdigest() != self.header["digest"]:
            raise self._refused(f"is {self.what} that is damaged")

    def _refused(self, why: str) -> StorageError:
        return StorageError(f"{str(self.path)!r} {why}; delete it and run again", path=str(self.path))
