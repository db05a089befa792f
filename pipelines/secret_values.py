"""Secrets by reference: a profile says `secret://NAME`, and the value is looked up only where it is used.

NAME is a variable of the environment, or else a line NAME=VALUE of the file that TAMIS_SECRETS names (by default
~/.config/tamis/secrets), which nobody but its owner may read. No file of ours holds a value, and `redact` takes values, tokens and
passwords out of what is shown.
"""

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages.errors import SpecError

REFERENCE = "secret://"
FILE = "TAMIS_SECRETS"
HIDDEN = "[secret]"
#: A shorter value stands in ordinary text by chance, and cutting it out there would garble every message.
SHORTEST = 6
_EVERYBODY = stat.S_IRWXG | stat.S_IRWXO
_TOKEN = re.compile(r"(tamis_[a-z0-9]{12}_)[A-Za-z0-9_-]{43}")
_CREDENTIALS = re.compile(r"\b(bearer|basic)(\s+)[A-Za-z0-9._~+/=-]{12,}", re.IGNORECASE)
_PASSWORD = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s/:@]*):[^\s/@]+@")
_values: set[str] = set()


def resolve(reference: str, what: str) -> str:
    """The value of `secret://NAME`; `what` names the field that has it, for the message.

    Raises:
        SpecError: it is nowhere, or others may read the file.
    """
    name = reference.removeprefix(REFERENCE)
    value = os.environ.get(name) or _from_file(name)
    if not value:
        raise SpecError(
            f"{what} is {reference}, and the environment has no variable {name!r}; set it, or write {name}=VALUE into {file()}, "
            "before asking (it is never stored)",
            secret=name,
        )
    know(value)
    return value


def know(value: str) -> None:
    """Take a value out of everything that this process shows from now on."""
    if len(value) >= SHORTEST:
        _values.add(value)


def file() -> Path:
    """Where the file of secrets is, if there is one."""
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(os.environ.get(FILE) or home / "tamis" / "secrets")


def _from_file(name: str) -> str | None:
    path = file()
    try:
        with path.open(encoding="utf-8") as lines:
            if os.fstat(lines.fileno()).st_mode & _EVERYBODY:
                raise SpecError(f"others may read the secrets in {path}; say: chmod 600 {path}", path=str(path))
            pairs = dict(line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"the secrets in {path} cannot be read: {error}; see to the file", path=str(path)) from error
    return pairs.get(name)


def redact(text: str) -> str:
    """The text without secrets that this process has looked up, and without tokens and passwords."""
    for value in _values:
        text = text.replace(value, HIDDEN)
    text = _TOKEN.sub(rf"\1{HIDDEN}", text)
    text = _CREDENTIALS.sub(rf"\1\2{HIDDEN}", text)
    return _PASSWORD.sub(rf"\1:{HIDDEN}@", text)


def redacted(value: Any) -> Any:
    """A value as JSON holds it, every text in it redacted."""
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, Mapping):
        return {redact(k) if isinstance(k, str) else k: redacted(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [redacted(v) for v in value]
    return value
