"""Paths of inputs as people write them in specs."""

import os
import re
from pathlib import Path

from stages.errors import SpecError

SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def absolute(path: str, base: Path, where: str = "the source") -> str:
    """The path with `~` expanded and a relative one put below `base`; `s3://` stays as it is.

    Raises:
        SpecError: it is blank, or of another scheme.

    """
    if not path.strip() or "\0" in path:
        raise SpecError(f"{where} has the path {path!r}, which names nothing; write a file, a folder or a glob")
    path = path.removeprefix("file://")
    if scheme := SCHEME.match(path):
        if scheme[0] != "s3://" or path[len(scheme[0]) :].startswith("/") or path == scheme[0]:
            raise SpecError(
                f"{where} has a path that begins with {scheme[0]!r}; write a local path or s3://bucket/..., nothing else is read"
            )
        return path
    return str(base / os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser fails for unknown users
