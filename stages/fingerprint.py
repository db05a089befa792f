"""Canonical JSON and the keys made from it.

Equal values have equal text: keys sorted, no spaces, floats in shortest form. What has no canonical
form (NaN, sets, objects) is refused, because a constant stand-in would make different work look the same.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

KEY_LENGTH = 16


def canonical(value: Any) -> str:
    """Canonical JSON of `value`.

    Raises:
        TypeError: the value (or a part of it) has no canonical form.

    """
    _check(value)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def key(value: Any) -> str:
    """The first 16 hex digits of the SHA-256 of the value's canonical JSON."""
    return digest(canonical(value).encode())[:KEY_LENGTH]


def digest(data: bytes) -> str:
    """SHA-256 of `data` in lower-case hex."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content in lower-case hex."""
    with path.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _check(value: Any) -> None:
    if value is None or isinstance(value, (str, bool, int)):
        return
    if isinstance(value, float):
        if not math.isfinite(value):
            message = f"{value!r} has no canonical form"
            raise TypeError(message)
    elif isinstance(value, Mapping):
        for name, part in value.items():
            if not isinstance(name, str):
                message = f"the key {name!r} is not text, so the mapping has no canonical form"
                raise TypeError(message)
            _check(part)
    elif isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        for part in value:
            _check(part)
    else:
        message = f"{type(value).__name__} has no canonical form"
        raise TypeError(message)
