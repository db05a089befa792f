"""Exports brought here: every file under a temporary name until its checksum holds, and the manifest last.

What was interrupted goes on where it stopped, and what is there already is not fetched again.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import httpx

from pipelines.client.effects import Answer, Ask, At, Flow, Hush, Listen, More, Pause, Work
from pipelines.client.errors import error_of
from pipelines.client.following import place
from pipelines.client.models import Download, Export
from pipelines.client.retries import REFUSED, UNSURE, Tries, answered, retry_after, told, unreachable
from pipelines.progress import Watch
from stages.errors import DataError, SpecError, StorageError

MANIFEST = "manifest.json"
#: Small files that the manifest cannot name, because they tell of it.
ABOUT = ("README.md", "croissant.json", "SHA256SUMS")
STEP = "download"
_PART = ".part"
_PIECE = 2**20
#: How often a file may come to an orderly end with another size than the manifest says.
_SHORT = 2


def downloaded(at: At, run: str, out: str | Path, watch: Watch) -> Flow[Download]:
    """A run's export in a folder of this machine, every file as the manifest says.

    Raises:
        SpecError: the folder holds another export.
        DataError: a file is not what the manifest says, also when it is fetched anew.
        StorageError: the folder cannot be written.
    """
    try:
        return (yield from _brought(at, run, Path(out).expanduser().absolute(), watch))
    except OSError as error:
        raise StorageError(
            f"the export cannot be written to {str(out)!r}: {error}; see to the disk, and the same call goes on",
            out=str(out),
        ) from error


def _brought(at: At, run: str, folder: Path, watch: Watch) -> Flow[Download]:
    found = Export.model_validate((yield from told(at, Ask("GET", place(run, "/export")))))
    base = place(found.run, "/export/")
    yield Work(lambda: _prepare(folder, found.manifest))
    files = [_File(folder, entry) for entry in [*found.manifest["files"], *found.manifest.get("beside", ())]]
    fetched = nbytes = 0
    watch.step(STEP, 0, len(files), 0)
    for done, file in enumerate(files, 1):
        yield from _fetched(at, base, file)
        fetched += file.fetched
        nbytes += file.size
        watch.step(STEP, done, len(files), nbytes)
    for name in (*ABOUT, MANIFEST):
        answer = yield from answered(at, Ask("GET", base + name))
        if answer.status == HTTPStatus.OK:
            data, fetched = answer.body, fetched + len(answer.body)
            yield Work(lambda name=name, data=data: _write(folder / name, data))  # type: ignore[misc]
        elif answer.status != HTTPStatus.NOT_FOUND or name == MANIFEST:
            raise error_of(answer, f"GET {base}{name}")
    return Download(folder, found.manifest, tuple(file.path for file in files), fetched)


@dataclass(slots=True)
class _File:
    """A file on its way; nothing has its name before it is whole."""

    folder: Path
    entry: Mapping[str, Any]
    fetched: int = 0  # bytes that came over the network, also those of connections that broke

    def __post_init__(self) -> None:
        name = self.entry["name"]
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or "\\" in name or "\0" in name or ".." in parts:
            raise DataError(f"the manifest names {name!r}, which is no file of an export; ask who runs the service")

    @property
    def name(self) -> str:
        """Its name below the export."""
        return str(self.entry["name"])

    @property
    def size(self) -> int:
        """Its size."""
        return int(self.entry["bytes"])

    @property
    def path(self) -> Path:
        """Where it will be."""
        return self.folder / self.name

    @property
    def part(self) -> Path:
        """Where it is until then."""
        return self.path.with_name(self.path.name + _PART)

    def there(self) -> bool:
        """Whether it is whole already."""
        return self.path.is_file() and self.path.stat().st_size == self.size and self._sound(self.path)

    def begun(self) -> int:
        """How many bytes of it are there; what is longer than it is thrown away."""
        have = self.part.stat().st_size if self.part.is_file() else 0
        return have if 0 < have <= self.size else self.cut(0)

    def cut(self, have: int) -> int:
        """Throw away what comes after so many bytes."""
        with self.part.open("ab") as file:
            file.truncate(have)
        return have

    def add(self, data: bytes) -> None:
        """Put bytes behind those that are there."""
        with self.part.open("ab") as file:
            file.write(data)

    def finish(self) -> bool:
        """Give the whole file its name; False, and nothing of it, where its checksum is wrong."""
        if self.part.stat().st_size != self.size or not self._sound(self.part):
            self.part.unlink()
            return False
        _settle(self.part, self.path)
        return True

    def _sound(self, path: Path) -> bool:
        with path.open("rb") as file:
            return bool(hashlib.file_digest(file, "sha256").hexdigest() == self.entry["sha256"])


def _fetched(at: At, base: str, file: _File) -> Flow[None]:
    """Have a file whole."""
    if (yield Work(file.there)):
        return
    yield Work(lambda: file.part.parent.mkdir(parents=True, exist_ok=True))
    yield from _filled(at, base, file)
    if not (yield Work(file.finish)):  # perhaps what was there was of another file: once more, from nothing
        yield from _filled(at, base, file)
        if not (yield Work(file.finish)):
            raise _damaged(file)


def _damaged(file: _File) -> DataError:
    return DataError(
        f"{file.name} is not what the manifest says; the export is damaged, or somebody between changes it: run the spec again",
        file=file.name,
    )


def _filled(at: At, base: str, file: _File) -> Flow[None]:
    """Fetch what is missing of a file, over broken connections."""
    tries, short = Tries(at.outage), 0
    while (have := (yield Work(file.begun))) != file.size:
        if short > _SHORT:
            raise _damaged(file)
        try:
            refusal, wait = yield from _connected(base, file, have, tries)
            short += refusal is None
        except httpx.TransportError as error:
            refusal, wait = error, None
        if (yield Work(file.begun)) != file.size:
            pause = tries.pause(wait)
            if pause is None:
                failure = refusal or httpx.ReadError("the file ended too soon")
                raise unreachable(at, failure) from failure
            yield Pause(pause)


def _connected(base: str, file: _File, have: int, tries: Tries) -> Flow[tuple[Exception | None, float | None]]:
    """Take what one connection brings; why the service would not for the moment, and how long it asks to wait."""
    ask = Ask("GET", base + quote(file.name), headers={"Range": f"bytes={have}-"} if have else {})
    answer: Answer = yield Listen(ask)
    if answer.status in (HTTPStatus.OK, HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
        yield Work(lambda: file.cut(0))
    if answer.status in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
        yield from _poured(file, tries)
    elif answer.status != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
        refusal = error_of(answer, f"GET {ask.path}")
        if answer.status != REFUSED and answer.status not in UNSURE:
            raise refusal
        return refusal, retry_after(answer)
    return None, None


def _poured(file: _File, tries: Tries) -> Flow[None]:
    """Put what comes into a file, also when it breaks off."""
    waiting = bytearray()
    try:
        while (chunk := (yield More())) is not None:
            tries.renew()
            waiting += chunk
            file.fetched += len(chunk)
            if len(waiting) >= _PIECE:
                data, waiting = bytes(waiting), bytearray()
                yield Work(lambda data=data: file.add(data))  # type: ignore[misc]
        yield Hush()
    finally:
        file.add(bytes(waiting))


def _prepare(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make the folder.

    Raises:
        SpecError: it holds another export.
        StorageError: it cannot be made or read.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = folder / MANIFEST
        if there.exists() and json.loads(there.read_bytes()) != manifest:
            raise SpecError(f"{str(folder)!r} holds another export; choose a folder of its own", out=str(folder))
    except (OSError, ValueError) as error:
        raise StorageError(
            f"{str(folder)!r} cannot be used: {error}; choose another folder", out=str(folder)
        ) from error


def _write(path: Path, data: bytes) -> None:
    part = path.with_name(path.name + _PART)
    part.write_bytes(data)
    _settle(part, path)


def _settle(part: Path, path: Path) -> None:
    """Give a file its name, for good."""
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(path)
