"""The only way in which results are written: an attempt writes files, a commit record makes them true.

    1. data goes to a name that no other attempt has, is flushed, and is hashed as read back
    2. the stored file is opened again: size, and for Parquet the rows in its footer
    3. the commit record is created if absent; that is the one moment at which a result comes into being
    4. who loses deletes its own files and goes on with the winner's record

Readers trust records, never listings. A process may die at any moment: what it leaves is either a complete
result or files that no record names. Two processes may compute the same result: both end with the same record.
"""

import contextlib
import errno
import hashlib
import json
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import pyarrow as pa
import pyarrow.parquet as pq

from pipelines.store import Store, encode
from stages.errors import StorageError
from stages.failpoints import failpoint

Record = dict[str, Any]

#: What goes wrong with the disk that is written.
DISK = (errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOSPC, errno.EROFS)


class Attempt:
    """One try at computing the result at an address: a folder of the store and a name in it.

    Used as a context manager; leaving it without a commit deletes what was written. What only bridges two rounds of
    the same run need not be `durable`: it is not flushed, and `intact` tells whether it is still what was written.
    """

    def __init__(self, store: Store, folder: str, name: str, *, durable: bool = True) -> None:
        self.store = store
        self.folder = folder
        self.name = name
        self.durable = durable
        self.id = uuid.uuid4().hex[:16]
        self._files: list[Record] = []
        self._uploading: list[str] = []
        #: A record may name the files: from just before it is put until another attempt's is read.
        self._named = False

    @property
    def files(self) -> tuple[Record, ...]:
        """What was written so far: path, bytes, sha256, and rows for Parquet."""
        return tuple(self._files)

    def path(self, suffix: str = ".parquet") -> str:
        """The path in the store of this attempt's file with that suffix."""
        return f"{self.folder}/{self.name}.{self.id}{suffix}"

    @contextlib.contextmanager
    def file(self, suffix: str = ".parquet") -> Iterator[Path]:
        """A local path to write; afterwards the file is hashed, stored under `path(suffix)` and verified.

        Raises:
            StorageError: it cannot be written, or was not stored as it was written.

        """
        path = self.path(suffix)
        local = self.store.scratch() / path.rpartition("/")[2]
        try:
            yield local
            failpoint("data.before_put")
            sha256, size = _digest(local)
            self._uploading.append(path)
            self.store.upload(local, path, durable=self.durable)
            failpoint("data.after_put")
        except OSError as error:
            if error.errno not in DISK and error.filename != str(local):
                raise  # whoever writes may also read, and that is another story
            raise StorageError(
                f"cannot write {path!r} to the store {self.store.url}: {error}; check the disk and run again",
                store=self.store.url,
                path=path,
            ) from error
        finally:
            local.unlink(missing_ok=True)
        self._files.append({"path": path, "bytes": size, "sha256": sha256, **self._verified(path, size)})

    def commit(self, record: Mapping[str, Any]) -> Record:
        """Create the commit record, with `attempt` and `files` added, and return the record that holds.

        That is the winner's where another attempt was faster; this attempt's files are deleted then.

        Raises:
            StorageError: the record can neither be written nor read.

        """
        path = record_path(self.folder, self.name)
        data = encode({**record, "attempt": self.id, "files": self._files})
        failpoint("commit.before_put")
        self._named = True
        try:
            ours = self.store.create(path, data, durable=self.durable)
        except StorageError:
            # The write may have arrived although its answer was lost.
            ours = False
            if self.store.find(path) is None:
                raise
        failpoint("commit.after_put")
        if ours:
            return cast("Record", json.loads(data))
        winner = _record(self.store, path)
        if winner is None:
            raise self.store.missing(path)
        self._named = winner["attempt"] == self.id
        self._discard()
        return winner

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()

    def _discard(self) -> None:
        """Delete what was written, unless a record may name it."""
        if self._named:
            return
        while self._uploading:
            failpoint("discard.before_delete")
            self.store.delete(self._uploading[-1])
            self._uploading.pop()
            failpoint("discard.after_delete")

    def _verified(self, path: str, size: int) -> Record:
        stored = self.store.size(path)
        if stored != size:
            raise StorageError(
                f"{path!r} has {stored} bytes in the store {self.store.url} but {size} were written; run again",
                store=self.store.url,
                path=path,
            )
        if not path.endswith(".parquet"):
            return {}
        try:
            with self.store.open_input(path) as file:
                return {"rows": pq.read_metadata(file).num_rows}
        except (pa.ArrowException, OSError) as error:
            raise StorageError(
                f"{path!r} in the store {self.store.url} is not a whole Parquet file ({error}); run again",
                store=self.store.url,
                path=path,
            ) from error


def intact(store: Store, record: Mapping[str, Any]) -> bool:
    """Whether every file that a record names is there as it was written."""
    for file in record["files"]:
        if store.size(file["path"]) != file["bytes"]:
            return False
        with store.open_input(file["path"]) as content:
            if hashlib.sha256(content.read()).hexdigest() != file["sha256"]:
                return False
    return True


def record_path(folder: str, name: str) -> str:
    """The path of the commit record of an address."""
    return f"{folder}/commits/{name}.json"


def committed(store: Store, folder: str, name: str) -> Record | None:
    """The commit record of an address, or None where nothing is committed.

    Raises:
        StorageError: the record is unreadable or is none.

    """
    return _record(store, record_path(folder, name))


def seal(store: Store, folder: str, name: str, value: Mapping[str, Any]) -> Record:
    """Create the manifest `{folder}/manifests/{name}.json` if it is absent and return the one that is there.

    Raises:
        StorageError: it can neither be written nor read.

    """
    path = f"{folder}/manifests/{name}.json"
    failpoint("seal.before_put")
    try:
        store.create_json(path, value)
    except StorageError:
        # The write may have arrived although its answer was lost.
        if store.find_json(path) is None:
            raise
    failpoint("seal.after_put")
    return cast("Record", store.get_json(path))


def _record(store: Store, path: str) -> Record | None:
    record = store.find_json(path)
    if record is None:
        return None
    if not isinstance(record, dict) or not {"attempt", "files"} <= record.keys():
        raise StorageError(
            f"{path!r} in the store {store.url} is not a commit record; delete it and run again",
            store=store.url,
            path=path,
        )
    return record


def _digest(local: Path) -> tuple[str, int]:
    with local.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
