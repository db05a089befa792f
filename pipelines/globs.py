"""Finding the files of a glob: local folders with `os.scandir`, buckets by listing.

`*`, `?` and `[...]` stop at `/`; `**` is any number of folders; names that begin with a dot are matched only by a
part that begins with one. A path to a folder means every file below it.
"""

import os
import re
import stat
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from stages.errors import DataError, SpecError

_WILD = re.compile(r"[*?\[]")
_LONGEST_NAME = 255  # bytes; what Linux and macOS allow
_ANY_DEPTH = "**"
_EVERYBODY = stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH

#: Says whether a resolved folder or file may be read.
Allowed = Callable[[str], bool]


@dataclass(slots=True)
class Found:
    """Files below a root, unsorted: paths relative to the root, sizes in bytes and versions."""

    root: str
    paths: list[str] = field(default_factory=list)
    sizes: "array[int]" = field(default_factory=lambda: array("q"))
    times: "array[int]" = field(default_factory=lambda: array("q"))  # local: modification time in ns
    tags: list[str] = field(default_factory=list)  # S3: the entity tag


def split(glob: str) -> tuple[str, list[str]]:
    """A glob as its root (the longest prefix without wildcards) and the parts below it.

    Raises:
        SpecError: it climbs with `..` below a wildcard, or has `[...]` around what is no set of characters.
    """
    parts = glob.split("/")
    first = next((i for i, part in enumerate(parts) if _WILD.search(part)), len(parts) - 1)
    root, below = "/".join(parts[:first]) or ("/" if glob.startswith("/") else "."), parts[first:]
    if ".." in below:
        message = f"the path {glob!r} has `..` after a wildcard; write the folder that is meant"
        raise SpecError(message, path=glob)
    for part in below:
        try:
            re.compile(_part(part))
        except re.error as error:
            message = f"the path {glob!r} has {part!r}, which is no pattern: {error.msg}; write sets such as `[a-z]`"
            raise SpecError(message, path=glob) from error
    return root, [part for part in below if part not in {"", "."}]


def is_wild(glob: str) -> bool:
    """Whether a path has a wildcard."""
    return _WILD.search(glob) is not None


def find_local(glob: str, allowed: Allowed) -> Found:
    """The files of a local glob with their sizes and modification times.

    Raises:
        SpecError: the root, or what a symbolic link points to, is not allowed, or the path cannot be a path.
        DataError: a file or folder cannot be read, is no regular file, or links run in a circle.
    """
    _must_be_short(glob)
    if os.path.isdir(glob):  # noqa: PTH112  # Path.is_dir fails for some paths
        root, parts = glob.rstrip("/") or "/", [_ANY_DEPTH, "*"]
    elif os.path.lexists(glob):
        root, parts = os.path.split(glob)[0] or ".", []
    else:
        root, parts = split(glob)
    root = os.path.abspath(root)  # noqa: PTH100  # Path.absolute keeps `..`
    _must_be_allowed(os.path.realpath(root), root, allowed)
    found = Found(root)
    walk = _Walk(found, allowed)
    if not parts:
        walk.add_literal(root, os.path.basename(glob))  # noqa: PTH119  # strings throughout: a million of them
    elif os.path.isdir(root):  # noqa: PTH112  # the same as above
        walk.match(root, _joined_depths(parts), (os.path.realpath(root),))
    return found


def matcher(parts: Sequence[str]) -> re.Pattern[str]:
    """A pattern for whole paths below the root, for storage that lists keys."""
    whole = "".join(
        r"(?:(?!\.)[^/]+/)*" if part == _ANY_DEPTH else _part(part) + ("/" if i < len(parts) - 1 else "")
        for i, part in enumerate(_joined_depths(parts))
    )
    return re.compile(whole + r"\Z")


def _joined_depths(parts: Sequence[str]) -> list[str]:
    """`**/**` means `**`, and a last `**` means `**/*`."""
    joined = [part for i, part in enumerate(parts) if part != _ANY_DEPTH or i == 0 or parts[i - 1] != _ANY_DEPTH]
    return [*joined, "*"] if joined[-1] == _ANY_DEPTH else joined


def _part(part: str) -> str:
    """The regular expression of one part of a glob; a dot at the start must be written."""
    out = "" if part.startswith(".") else r"(?!\.)"
    at = 0
    while at < len(part):
        end = part.find("]", at + 2)
        if part[at] == "[" and end > 0:
            inner = re.sub(r"[\\\[&~|]", r"\\\g<0>", part[at + 1 : end])
            out += "[" + ("^" + inner[1:] if inner[0] == "!" else inner.replace("^", r"\^", 1)) + "]"
            at = end
        else:
            out += {"*": "[^/]*", "?": "[^/]"}.get(part[at], re.escape(part[at]))
        at += 1
    return out


class _Walk:
    """One walk over local folders."""

    def __init__(self, found: Found, allowed: Allowed) -> None:
        self.found = found
        self.allowed = allowed
        self._cut = len(found.root.rstrip("/")) + 1

    def match(self, folder: str, parts: list[str], above: tuple[str, ...]) -> None:
        """Add the files below `folder` that match `parts`; `above` are the real paths of the folders on the way."""
        part, rest = parts[0], parts[1:]
        deep = part == _ANY_DEPTH
        if deep:
            part, rest = rest[0], rest[1:]
        name = re.compile(_part(part) + r"\Z").match
        for entry in _entries(folder):
            hit = name(entry.name) is not None
            if hit and not rest and not entry.is_dir():
                self._add(entry)
            elif (hit and rest) or (deep and entry.name[0] != "."):
                if not entry.is_dir():
                    continue
                below = self._enter(entry, above)
                if hit and rest:
                    self.match(entry.path, rest, below)
                if deep and entry.name[0] != ".":
                    self.match(entry.path, parts, below)

    def add_literal(self, root: str, name: str) -> None:
        """Add the one file that was named."""
        for entry in _entries(root):
            if entry.name == name:
                self._add(entry)

    def _enter(self, entry: os.DirEntry[str], above: tuple[str, ...]) -> tuple[str, ...]:
        if not entry.is_symlink():
            return above
        real = os.path.realpath(entry.path)
        _must_be_allowed(real, entry.path, self.allowed)
        if real in above or any(place.startswith(real + "/") for place in above):
            message = f"the link {entry.path!r} leads back to {real!r}, a folder above it; name a narrower path"
            raise DataError(message, path=entry.path)
        return (*above, real)

    def _add(self, entry: os.DirEntry[str]) -> None:
        path = entry.path
        if entry.is_symlink():
            _must_be_allowed(os.path.realpath(path), path, self.allowed)
        try:
            status = entry.stat()
        except OSError as error:
            message = f"the input {shown(entry.path)} cannot be read: {error.strerror}; repair or remove it"
            raise DataError(message, path=shown(entry.path)) from error
        if not stat.S_ISREG(status.st_mode):
            message = f"the input {shown(entry.path)} is not a regular file; remove it or name a narrower path"
            raise DataError(message, path=shown(entry.path))
        if status.st_mode & _EVERYBODY != _EVERYBODY and not os.access(entry.path, os.R_OK):
            message = f"the input {shown(entry.path)} cannot be read: permission denied; give this user the right to"
            raise DataError(message, path=shown(entry.path))
        self.found.paths.append(path[self._cut :])
        self.found.sizes.append(status.st_size)
        self.found.times.append(status.st_mtime_ns)


def shown(path: str) -> str:
    """A path for messages; bytes that are not UTF-8 are escaped."""
    return repr(path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


def _entries(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except OSError as error:
        message = f"the folder {shown(folder)} cannot be read: {error.strerror}; give this user the right to"
        raise DataError(message, path=shown(folder)) from error


def _must_be_short(glob: str) -> None:
    for part in glob.split("/"):
        if len(part.encode("utf-8", "replace")) > _LONGEST_NAME and not is_wild(part):
            message = f"the path has {part[:20]!r}… in it, a name of more than {_LONGEST_NAME} bytes, which no file has; check it"
            raise SpecError(message, path=glob)


def _must_be_allowed(real: str, path: str, allowed: Allowed) -> None:
    if not allowed(real):
        where = f"{path!r}" if real == path else f"{path!r} (it leads to {real!r})"
        message = f"the path {where} is outside the roots that may be read; move the data or allow its folder"
        raise SpecError(message, path=path)
