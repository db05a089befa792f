"""A folder as a store: durable, atomic, create-if-absent by hard link.

obstore's own local store neither flushes files nor folders, so a power cut could leave a commit record whose data
is empty; this one flushes the file before its name appears and the folder after.
"""

import contextlib
import errno
import os
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from stages.errors import StorageError
from stages.failpoints import failpoint

SCRATCH = ".scratch"

_ADVICE = {
    errno.ENOSPC: "free space there and run again; finished work is kept",
    errno.EDQUOT: "free space there and run again; finished work is kept",
    errno.EFBIG: "raise the limit on file sizes and run again; finished work is kept",
    errno.EROFS: "choose a store that can be written",
    errno.EACCES: "give this user the right to write there or choose another store",
    errno.EPERM: "give this user the right to write there or choose another store",
    errno.ENOTDIR: "a part of the path is a file; choose another store",
}


class LocalFiles:
    """The files below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._known: set[Path] = set()

    def find(self, path: str) -> bytes | None:
        """Return the content, or None where there is nothing."""
        with self._saying("read", path):
            try:
                return (self.root / path).read_bytes()
            except FileNotFoundError:
                return None

    def create(self, path: str, data: bytes, *, durable: bool = True) -> bool:
        """Create if absent: the data is flushed (if `durable`) under a temporary name, which is then linked."""
        target = self.root / path
        with self._saying("write", path):
            self._ensure(target.parent)
            temporary = self.scratch() / uuid.uuid4().hex
            try:
                _write(temporary, data, durable=durable)
                failpoint("store.before_link")
                os.link(temporary, target)
                failpoint("store.after_link")
            except FileExistsError:
                return False
            finally:
                temporary.unlink(missing_ok=True)
            if durable:
                _flush_folder(target.parent)
        return True

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Return up to `length` bytes from `offset`."""
        with self._saying("read", path), (self.root / path).open("rb") as file:
            file.seek(offset)
            return file.read(length)

    def open_input(self, path: str) -> pa.NativeFile:
        """Return a plain file: a memory map would end the process when the file is cut short."""
        with self._saying("read", path):
            return pa.OSFile(str(self.root / path))

    def upload(self, local: Path, path: str, *, durable: bool = True) -> None:
        """Move (from the scratch folder) or copy a file, flushed (if `durable`) before its name appears."""
        target = self.root / path
        with self._saying("write", path):
            self._ensure(target.parent)
            source = local
            if local.parent != self.root / SCRATCH:
                source = self.scratch() / uuid.uuid4().hex
            try:
                if source is not local:
                    shutil.copyfile(local, source)
                if durable:
                    _flush(source)
                failpoint("store.before_rename")
                source.replace(target)
                failpoint("store.after_rename")
            except BaseException:
                source.unlink(missing_ok=True)
                raise
            if durable:
                _flush_folder(target.parent)

    def size(self, path: str) -> int | None:
        """Return the size in bytes, or None where there is nothing."""
        with self._saying("read", path):
            try:
                return (self.root / path).stat().st_size
            except FileNotFoundError:
                return None

    def scratch(self) -> Path:
        """Return the folder for files in the making; it is on the store's own file system, so that renaming works."""
        folder = self.root / SCRATCH
        with self._saying("write", SCRATCH):
            self._ensure(folder)
        return folder

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the paths below `prefix`, sorted; files in the making are not among them."""
        with self._saying("list", prefix):
            yield from self._below(prefix)

    def _below(self, folder: str) -> Iterator[str]:
        try:
            with os.scandir(self.root / folder) as entries:
                names = sorted(f"{e.name}/" if e.is_dir() else e.name for e in entries if e.name != SCRATCH)
        except FileNotFoundError:
            return
        for name in names:
            path = f"{folder}/{name}" if folder else name
            if name.endswith("/"):
                yield from self._below(path[:-1])
            else:
                yield path

    def delete(self, path: str) -> None:
        """Delete; absent is fine."""
        with self._saying("delete", path):
            (self.root / path).unlink(missing_ok=True)

    def _ensure(self, folder: Path) -> None:
        """Make a folder and the ones above it, each flushed into its parent."""
        if folder in self._known:
            return
        if not folder.is_dir():
            self._ensure(folder.parent)
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            if not folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
            _flush_folder(folder.parent)
        self._known.add(folder)

    @contextlib.contextmanager
    def _saying(self, verb: str, path: str) -> Iterator[None]:
        """Turn an OSError into one sentence that names the file."""
        try:
            yield
        except OSError as error:
            self._known.clear()  # a folder may have been deleted under us
            number = error.errno or 0
            reason = os.strerror(number) if number else str(error)
            advice = _ADVICE.get(number, "check the disk and run again")
            where = self.root / path
            raise StorageError(
                f"cannot {verb} {str(where)!r}: {reason}; {advice}", store=str(self.root), path=path
            ) from error


def _write(path: Path, data: bytes, *, durable: bool) -> None:
    with path.open("xb", buffering=0) as file:
        view = memoryview(data)
        while view:
            view = view[file.write(view) :]
        if durable:
            os.fsync(file.fileno())


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


#: Flushing a folder makes the names in it durable.
_flush_folder = _flush
