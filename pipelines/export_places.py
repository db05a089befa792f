"""How an export appears whole, or not at all.

In a folder, files are made in a staging folder on the same file system, and one rename of that folder is the moment
at which the export exists. In a bucket, a number `v{n}` is claimed by a create-if-absent, data goes there, and
`manifest.json` comes last: readers trust a manifest only. An export is recognised by the `key` in its manifest, so
whoever is killed at any moment and runs again ends with one export of the same bytes, and finished files of the
attempt before are not written again.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from pipelines.store import Store, encode
from stages.errors import SpecError, StorageError
from stages.failpoints import failpoint

MANIFEST = "manifest.json"
STAGED = ("data", "done", "making")
#: What writing an export took. Not in its manifest, which is the same whoever writes it.
Facts = Mapping[str, Any]
VERSION = re.compile(r"v([1-9]\d*)\Z")


class Target(Protocol):
    """Where workers hand over finished files. Picklable."""

    def find(self, name: str) -> dict[str, Any] | None:
        """The record of a file that is already there."""

    def scratch(self) -> Path:
        """A local folder for files in the making."""

    def put(self, local: Path, name: str, record: Mapping[str, Any]) -> None:
        """Take over a finished, flushed file."""


@dataclass(frozen=True, slots=True)
class Found:
    """A finished export: where it is and what its manifest says."""

    where: str
    manifest: dict[str, Any]
    facts: Mapping[str, Any]  # what writing it took; empty when nobody could note it


class Place(Protocol):
    """Where an export comes to be."""

    def find(self, key: str) -> Found | None:
        """The finished export with that key."""

    def staging(self, key: str) -> contextlib.AbstractContextManager[Target]:
        """Where its files are made; nobody else makes them meanwhile, unless with the same bytes."""

    def publish(self, key: str, names: list[str], documents: Mapping[str, bytes], facts: Facts) -> Found:
        """Make the export appear, with these small files beside the data files called `names`; note `facts`."""


# -- folders -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FolderTarget:
    """A staging folder: data/ will be the export, done/ has a record for each finished file of it."""

    folder: str

    def find(self, name: str) -> dict[str, Any] | None:
        """The record of a file that is already there."""
        with contextlib.suppress(FileNotFoundError):
            record: dict[str, Any] = json.loads((Path(self.folder) / "done" / f"{name}.json").read_bytes())
            if (Path(self.folder) / "data" / name).stat().st_size == record["bytes"]:
                return record
        return None

    def scratch(self) -> Path:
        """A folder on the same file system."""
        return Path(self.folder) / "making"

    def put(self, local: Path, name: str, record: Mapping[str, Any]) -> None:
        """Rename the file into place, then note it."""
        failpoint("export.before_put")
        _rename(local, Path(self.folder) / "data" / name)
        failpoint("export.between_puts")
        note = self.scratch() / f"{local.name}.json"
        _write(note, encode(record))
        _rename(note, Path(self.folder) / "done" / f"{name}.json")
        failpoint("export.after_put")


@contextlib.contextmanager
def _staged(folder: Path) -> Iterator[Target]:
    """The staging folder, held by this process alone; kept when the work fails, so that it can go on later."""
    with _saying(str(folder)):
        lock = _locked(folder)
        for name in STAGED:  # whoever held the lock before may have finished and cleaned up
            (folder / name).mkdir(parents=True, exist_ok=True)
    with lock:
        yield FolderTarget(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _locked(folder: Path) -> BinaryIO:
    """The folder's lock file, locked; a killed process holds no lock."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = (folder / "lock").open("wb")
        except FileNotFoundError:
            continue  # another process cleaned up between the two calls
        fcntl.flock(lock, fcntl.LOCK_EX)
        return lock


def _complete(folder: Path, names: list[str], documents: Mapping[str, bytes]) -> Path:
    """The staging folder's data with the small files added, anything else removed, and all of it flushed."""
    data = folder / "data"
    for extra in data.iterdir():
        if extra.name not in names:
            extra.unlink()
    for name, content in documents.items():
        _write(data / name, content)
    _flush(data)
    return data


@dataclass(frozen=True, slots=True)
class InStore:
    """`exports/{name}/v{n}` of a local store, known to the run under `runs/{run}/export-{format}.json`."""

    store: Store
    name: str
    note: str  # path of the run's record of its export

    @property
    def root(self) -> Path:
        """The folder of all versions."""
        return Path(self.store.url) / "exports" / self.name

    def find(self, key: str) -> Found | None:
        """The export that the run has noted, or the one that was published before it could be noted."""
        known = self.store.find_json(self.note)
        first = [known["version"]] if known else []
        for version in dict.fromkeys([*first, *reversed(_versions(self.root))]):
            found = _manifest(self.root / version)
            if found is not None and found.get("key") == key:
                return self._noted(version, found, {})
        return None

    def staging(self, key: str) -> contextlib.AbstractContextManager[Target]:
        """A folder below staging/."""
        return _staged(self._folder(key))

    def publish(self, key: str, names: list[str], documents: Mapping[str, bytes], facts: Facts) -> Found:
        """Rename the staged folder to the next free version."""
        with _saying(str(self.root)):
            data = _complete(self._folder(key), names, documents)
            self.root.mkdir(parents=True, exist_ok=True)
            number = 1 + max((int(v[1:]) for v in _versions(self.root)), default=0)
            failpoint("export.before_publish")
            while not _moved(data, self.root / f"v{number}"):
                number += 1
            failpoint("export.after_publish")
        found = _manifest(self.root / f"v{number}")
        assert found is not None
        return self._noted(f"v{number}", found, facts)

    def _noted(self, version: str, manifest: dict[str, Any], facts: Facts) -> Found:
        failpoint("export.before_note")
        self.store.create_json(self.note, {"version": version, "path": f"exports/{self.name}/{version}", **facts})
        failpoint("export.after_note")
        return Found(str(self.root / version), manifest, _cost(self.store.get_json(self.note)))

    def _folder(self, key: str) -> Path:
        return Path(self.store.url) / "staging" / f"export-{key}"


@dataclass(frozen=True, slots=True)
class InFolder:
    """A folder of the user's choice, outside the store."""

    folder: Path

    def find(self, key: str) -> Found | None:
        """The export, when the folder holds the very same one already.

        Raises:
            SpecError: the folder holds something else.
        """
        if not self.folder.exists():
            return None
        if not self.folder.is_dir():
            raise SpecError(f"{str(self.folder)!r} is a file; give --out a folder that is empty or not there yet")
        if not any(self.folder.iterdir()):
            return None
        found = _manifest(self.folder)
        if found is not None and found.get("key") == key:
            return Found(str(self.folder), found, {})
        message = f"the folder {str(self.folder)!r} is not empty; give --out a folder that is empty or not there yet"
        raise SpecError(message, out=str(self.folder))

    def staging(self, key: str) -> contextlib.AbstractContextManager[Target]:
        """A hidden folder beside it."""
        return _staged(self._folder(key))

    def publish(self, key: str, names: list[str], documents: Mapping[str, bytes], facts: Facts) -> Found:
        """Rename the staged folder.

        Raises:
            SpecError: somebody filled the folder meanwhile.
        """
        with _saying(str(self.folder)):
            data = _complete(self._folder(key), names, documents)
            failpoint("export.before_publish")
            moved = _moved(data, self.folder)
            failpoint("export.after_publish")
        if not moved:
            message = f"the folder {str(self.folder)!r} was filled by something else meanwhile; give --out another one"
            raise SpecError(message, out=str(self.folder))
        found = _manifest(self.folder)
        assert found is not None
        return Found(str(self.folder), found, facts)

    def _folder(self, key: str) -> Path:
        return self.folder.parent / f".{self.folder.name}.tamis-{key}"


# -- buckets -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class BucketTarget:
    """A claimed version in a bucket, and the folder with a record for each finished file of it."""

    store: Store
    folder: str
    done: str

    def find(self, name: str) -> dict[str, Any] | None:
        """The record of a file that is already there."""
        record: dict[str, Any] | None = self.store.find_json(f"{self.done}/{name}.json")
        return record

    def scratch(self) -> Path:
        """A temporary folder."""
        return self.store.scratch()

    def put(self, local: Path, name: str, record: Mapping[str, Any]) -> None:
        """Upload the file, then note it."""
        failpoint("export.before_put")
        self.store.upload(local, f"{self.folder}/{name}")
        failpoint("export.between_puts")
        self.store.create_json(f"{self.done}/{name}.json", record)
        failpoint("export.after_put")


@dataclass(frozen=True, slots=True)
class InBucket:
    """`exports/{name}/v{n}` of a store in a bucket; the manifest comes last."""

    store: Store
    name: str
    note: str

    def find(self, key: str) -> Found | None:
        """The export of the claimed version, when it has its manifest."""
        known = self.store.find_json(self.note)
        if known is None:
            return None
        found = self.store.find_json(f"{known['path']}/{MANIFEST}")
        if found is None or found["key"] != key:
            return None
        return Found(f"{self.store.url}/{known['path']}", found, _cost(known))

    @contextlib.contextmanager
    def staging(self, key: str) -> Iterator[Target]:
        """The version that this key has claimed, now or before."""
        yield BucketTarget(self.store, f"exports/{self.name}/{self._claim(key)}", f"staging/export-{key}")

    def publish(self, key: str, names: list[str], documents: Mapping[str, bytes], facts: Facts) -> Found:
        """Write the small files, the manifest last, and note the version."""
        folder = f"exports/{self.name}/{self._claim(key)}"
        for name, content in sorted(documents.items(), key=lambda item: item[0] == MANIFEST):
            failpoint("export.before_publish")
            self.store.create(f"{folder}/{name}", content)
            failpoint("export.after_publish")
        self.store.create_json(self.note, {"version": folder.rpartition("/")[2], "path": folder, **facts})
        for name in names:
            self.store.delete(f"staging/export-{key}/{name}.json")
        found = self.store.get_json(f"{folder}/{MANIFEST}")
        return Found(f"{self.store.url}/{folder}", found, _cost(self.store.get_json(self.note)))

    def _claim(self, key: str) -> str:
        number = 1
        while True:
            path = f"staging/claims/{self.name}/v{number}.json"
            if self.store.create_json(path, {"key": key}) or self.store.get_json(path)["key"] == key:
                return f"v{number}"
            number += 1


# -- files -------------------------------------------------------------------------------------------------------------


def _cost(note: Mapping[str, Any]) -> Facts:
    return {name: note[name] for name in ("cpu_seconds",) if name in note}


def _versions(root: Path) -> list[str]:
    """The versions in a folder, oldest first."""
    if not root.is_dir():
        return []
    return sorted((p.name for p in root.iterdir() if VERSION.match(p.name)), key=lambda v: int(v[1:]))


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        message = f"the manifest of {str(folder)!r} cannot be read: {error}; move that folder away"
        raise StorageError(message, path=str(folder)) from error
    return found if isinstance(found, dict) else None


def _moved(data: Path, place: Path) -> bool:
    """Whether the folder could be renamed: there was nothing, or an empty folder."""
    try:
        data.rename(place)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            return False
        raise
    _flush(place.parent)
    return True


def _rename(local: Path, place: Path) -> None:
    local.replace(place)
    _flush(place.parent)


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _saying(where: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        message = f"cannot write the export {where!r}: {error}; check the disk and run again"
        raise StorageError(message, path=where) from error
