"""What a spec may name: everything that could be a path or an address is looked at before anything is read.

A spec has paths in many places (sources, texts, panels, profiles, rule files, encoders), and stages of other distributions have
their own. So every string is held against the roots, whatever its field: a string that is no path harms nothing there.
"""

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from stages.errors import SpecError

#: Fields of a rule in `keep` whose strings are words and never opened. Elsewhere these may be the names of steps.
WORDS = frozenset({"cite", "reason", "where", "eq", "in"})
_WILD = re.compile(r"[*?\[]")
_KIND = re.compile(r"(?:file|llm|artifact):(?!//)")
_REMOTE = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
_LONGEST = 4_000


class OutsideRootsError(SpecError):
    """A spec names what is not below a root."""

    type = "outside-roots"


def check_paths(spec: Mapping[str, Any], folder: Path, roots: Sequence[str]) -> None:
    """See whether every path that a spec could name is below a root, links resolved.

    Raises:
        OutsideRootsError: one is not.
        SpecError: it is nested too deeply.
    """
    local = [os.path.realpath(os.path.expanduser(r)) for r in roots if not r.startswith("s3://")]  # noqa: PTH111 - strings
    buckets = [r.rstrip("/") + "/" for r in roots if r.startswith("s3://")]
    try:
        strings = list(_strings(spec, ""))
    except RecursionError as error:
        raise SpecError("the spec is nested too deeply to be one; see what wrote it") from error
    for place, text in strings:
        if not _allowed(text, folder, local, buckets):
            raise OutsideRootsError(
                f"the spec's {place} names {text[:200]!r}, which is outside the roots that this service may read; move the data "
                "below one, or start the service with --root",
                where=place,
            )


def _allowed(text: str, folder: Path, local: Sequence[str], buckets: Sequence[str]) -> bool:
    path = _KIND.sub("", text, count=1).removeprefix("file://")
    if path.startswith("s3://"):
        return ".." not in path.split("/") and any((path + "/").startswith(b) for b in buckets)
    if _REMOTE.match(path):
        return False
    if "\0" in path or len(path) > _LONGEST:
        return "/" not in path
    if not path or ("/" not in path and path != ".." and path[0] != "~" and not (folder / path).exists()):
        return True
    # As a glob and as a name: a field that takes no globs would open a folder that has a wildcard in its name.
    # With and without what stands before it: a field that takes no `file:` would take it for a folder.
    return all(_below(folder, name, local) for name in {path, _root(path), text.removeprefix("file://")})


def _below(folder: Path, path: str, roots: Sequence[str]) -> bool:
    real = os.path.realpath(folder / os.path.expanduser(path))  # noqa: PTH111 - `~` alone is a path too
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots)


def _root(path: str) -> str:
    """What stands before the first wildcard; behind it nothing climbs, and links are looked at when they are met."""
    parts = path.split("/")
    first = next((i for i, part in enumerate(parts) if _WILD.search(part)), len(parts))
    if ".." in parts[first:]:
        return path
    return "/".join(parts[:first]) or ("/" if path.startswith("/") else ".")


def _strings(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, below in value.items():
            if not (place.startswith("keep[") and name in WORDS):
                if "/" in str(name) or str(name).startswith("~"):
                    yield place or "top", str(name)
                yield from _strings(below, f"{place}.{name}" if place else str(name))
    elif isinstance(value, (list, tuple)):
        for i, below in enumerate(value):
            yield from _strings(below, f"{place}[{i}]")
