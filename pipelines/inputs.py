"""Inputs, frozen: which files a source reads, in which versions, and how they are cut into units of ingest."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipelines.globs import Found, find_local, shown
from pipelines.input_files import InputFile, LocalInput
from stages.errors import DataError, SpecError
from stages.fingerprint import KEY_LENGTH, digest
from stages.sources.base import Source

FILES = pa.schema(
    [
        pa.field("source", pa.string(), nullable=False),  # name of the spec's source
        pa.field("path", pa.string(), nullable=False),  # below the root of the glob
        pa.field("uri", pa.string(), nullable=False),  # absolute path or s3://bucket/key
        pa.field("size", pa.int64(), nullable=False),
        pa.field("version", pa.string(), nullable=False),  # modification time in ns, or the entity tag
    ]
)

S3 = "s3://"
#: Stored bytes times this is the estimate of text, by ending; only packing depends on it.
_CHECKED_AT_ONCE = 10_000
PACKED = {".gz": 4, ".zst": 4, ".parquet": 4}


@dataclass(frozen=True, slots=True)
class PackFiles:
    """Some rows of a table of files; an object for each comes into being only while iterating."""

    rows: pa.Table

    def __iter__(self) -> Iterator[InputFile]:
        columns = [self.rows[c].to_pylist() for c in ("path", "uri", "size", "version")]
        if columns[1] and columns[1][0].startswith(S3):
            from pipelines.input_s3 import S3Input  # noqa: PLC0415  # local input needs no S3 client

            return map(S3Input, *columns)
        return map(LocalInput, *columns)

    def groups(self, small: int, together: int) -> Iterator[list[InputFile]]:
        """The files in order: neighbours of up to `small` bytes each and `together` in all, larger ones alone."""
        group: list[InputFile] = []
        held = 0
        for file in self:
            held += file.size
            if group and (held > together or file.size > small):
                yield group
                group, held = [], file.size
            group.append(file)
            if file.size > small:
                yield group
                group, held = [], 0
        if group:
            yield group

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle these rows alone; a slice would take its whole table along."""
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, self.rows.schema) as stream:
            stream.write_table(self.rows)
        return _unpickled, (sink.getvalue().to_pybytes(),)


def _unpickled(data: bytes) -> PackFiles:
    return PackFiles(pa.ipc.open_stream(data).read_all())


@dataclass(frozen=True, slots=True)
class Pack:
    """A unit of ingest: neighbouring rows of the table of files. Its name depends on those files alone."""

    name: str
    start: int
    stop: int

    def files(self, table: pa.Table) -> PackFiles:
        """The pack's files."""
        return PackFiles(table.slice(self.start, self.stop - self.start))


def freeze(name: str, source: Source, roots: Sequence[str | Path] | None = None) -> pa.Table:
    """The files of a source, sorted by path below the glob's root: source, path, uri, size, version.

    Args:
        name: of the source in the spec.
        source: what to read.
        roots: folders and `s3://` prefixes that may be read, links resolved; None: anything.

    Raises:
        SpecError: the path is outside the roots.
        DataError: nothing matches, or a file cannot be read.
    """
    path = source.path.removeprefix("file://")
    if path.startswith(S3):
        from pipelines.input_s3 import find_s3  # noqa: PLC0415  # local input needs no S3 client

        _s3_allowed(path, roots)
        found = find_s3(path)
    else:
        found = find_local(os.path.expanduser(path), _allowed(roots))  # noqa: PTH111  # a glob is not a path
    if not found.paths:
        message = (
            f"source {name!r} matches no file at {source.path!r}; check the path and its wildcards (`**` is any depth)"
        )
        raise DataError(message, source=name, path=source.path)
    return _table(name, found)


def packs(files: pa.Table, shard_bytes: int) -> list[Pack]:
    """Cut the table of one source's files into units of ingest, the same on every machine.

    A file with an estimated text of an eighth of a shard or more is a pack of its own. Smaller neighbours share
    one; where it ends is told by the hash of a path, so that an added file changes its own pack and no other.
    """
    target = max(1, shard_bytes // 2)
    sizes = files["size"].to_numpy()
    estimates = sizes * _factors(files["path"])
    chances = (
        np.array([xxhash.xxh3_64_intdigest(p) for p in files["path"].cast(pa.binary()).to_pylist()], np.uint64)
        / 2.0**64
    )
    stops: list[int] = []
    held = 0
    last = -1
    for at, (estimate, chance) in enumerate(zip(estimates.tolist(), chances.tolist(), strict=True)):
        if estimate >= shard_bytes / 8:
            if at - 1 != last:
                stops.append(at)
            stops.append(at + 1)
            last, held = at, 0
            continue
        held += estimate
        if (held >= target / 4 and chance < estimate / target) or held >= 4 * target:
            stops.append(at + 1)
            last, held = at, 0
    if last != len(sizes) - 1:
        stops.append(len(sizes))
    return [Pack(_name(files, a, b), a, b) for a, b in zip([0, *stops], stops, strict=False)]


def check(files: pa.Table) -> None:
    """Make sure that every file is still what it was when it was frozen.

    Raises:
        DataError: one is gone or has changed; names it.
    """
    for start in range(0, files.num_rows, _CHECKED_AT_ONCE):
        for file in PackFiles(files.slice(start, _CHECKED_AT_ONCE)):
            file.check()


def _table(name: str, found: Found) -> pa.Table:
    try:
        paths = pa.array(found.paths, pa.string())
    except UnicodeEncodeError as error:
        bad = next(p for p in found.paths if not _is_unicode(p))
        message = f"the name of the input {shown(bad)} below {shown(found.root)} is not UTF-8; rename the file"
        raise DataError(message, path=shown(bad)) from error
    order = pc.sort_indices(paths)
    paths = paths.take(order)
    sizes = pa.array(np.frombuffer(found.sizes, np.int64)).take(order)
    versions = (
        pa.array(found.tags, pa.string()) if found.tags else pa.array(np.frombuffer(found.times, np.int64))
    ).take(order)
    uris = pc.binary_join_element_wise(pa.scalar(found.root.rstrip("/")), paths, "/")
    table = pa.table(
        [pa.repeat(pa.scalar(name), len(paths)), paths, uris, sizes, versions.cast(pa.string())], schema=FILES
    )
    return table.filter(_first_of_equals(paths))


def _first_of_equals(paths: pa.Array) -> pa.Array:
    """A pattern with several `**` finds a file more than once."""
    if len(paths) < 2:  # noqa: PLR2004  # one has no neighbour
        return pa.array([True] * len(paths))
    return pa.concat_arrays([pa.array([True]), pc.not_equal(paths.slice(1), paths.slice(0, len(paths) - 1))])


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _factors(paths: pa.ChunkedArray) -> np.ndarray:
    factor = np.ones(len(paths), np.int64)
    for ending, times in PACKED.items():
        factor[pc.ends_with(paths, ending).to_numpy()] = times
    return factor


def _name(files: pa.Table, start: int, stop: int) -> str:
    """The path below the root is in every document's id, the uri tells apart equal paths below other roots."""
    rows = files.slice(start, stop - start)
    listed = [rows[c].to_pylist() for c in ("path", "uri", "size", "version")]
    return digest(orjson.dumps(listed))[:KEY_LENGTH]  # as `key` has it, without a look at each of a million files


def _allowed(roots: Sequence[str | Path] | None) -> "_Allowed":
    return _Allowed(None if roots is None else tuple(os.path.realpath(r) for r in roots if not str(r).startswith(S3)))


@dataclass(frozen=True, slots=True)
class _Allowed:
    roots: tuple[str, ...] | None

    def __call__(self, real: str) -> bool:
        return self.roots is None or any(real == r or real.startswith(r.rstrip("/") + "/") for r in self.roots)


def _s3_allowed(path: str, roots: Sequence[str | Path] | None) -> None:
    prefixes = [str(r).rstrip("/") + "/" for r in roots or () if str(r).startswith(S3)]
    if roots is not None and (".." in path.split("/") or not any(path.startswith(p) for p in prefixes)):
        message = f"the path {path!r} is outside the roots that may be read; move the data or allow its prefix"
        raise SpecError(message, path=path)
