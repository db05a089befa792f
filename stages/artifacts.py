"""What learners have fitted, as stages find it in a store: files named by their content, under a name with versions.

    artifacts/{name}/commits/{key}.json        the commit record: kind, identity, files with their hashes, card
    artifacts/{name}/{key}.{attempt}.{file}    the files
    artifacts/{name}/versions/{number}.json    {"key": ...}, created once; the highest number is `artifact:{name}`

`artifact:NAME` is the newest version, and `artifact:NAME-KEY` (16 hex digits) is one for ever. The key is a hash of the
kind, the identity (what the numbers depend on beside the files) and the files' contents, so it is what enters the key of
a step that reads the artifact.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from stages.base import Files
from stages.catalog import did_you_mean
from stages.errors import SpecError, StorageError
from stages.fingerprint import KEY_LENGTH, file_digest, key
from stages.versions import is_there, newest

PREFIX = "artifact:"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}\Z")
_PINNED = re.compile(rf"(?P<name>.+)-(?P<key>[0-9a-f]{{{KEY_LENGTH}}})\Z")


@dataclass(frozen=True, slots=True)
class Artifact:
    """A fitted thing. `identity` is what its numbers depend on beside its files, `card` what people want to know of it.

    `files` has for each file, by the name that its learner gave it, where it is (`path`), `bytes` and `sha256`.
    """

    name: str
    kind: str
    key: str
    identity: Mapping[str, Any]
    files: Mapping[str, Mapping[str, Any]]
    card: Mapping[str, Any]

    @property
    def id(self) -> str:
        """`NAME-KEY`: this content and no other."""
        return f"{self.name}-{self.key}"

    def path(self, files: Files, name: str) -> Path:
        """A local copy of one of its files, or the file itself, whose content is as it was committed.

        Raises:
            StorageError: it is missing or damaged.
        """
        facts = self.files[name]
        local = files.local(facts["path"])
        if file_digest(local) != facts["sha256"]:
            raise StorageError(
                f"the file {facts['path']!r} of artifact {self.id!r} does not have the content that it was committed "
                "with; restore it, or fit the artifact again under another name",
                path=facts["path"],
                artifact=self.id,
            )
        return local


def artifact_key(kind: str, identity: Mapping[str, Any], sha256: Mapping[str, str]) -> str:
    """The key of an artifact: 16 hex digits of its kind, its identity and its files' hashes."""
    return key({"kind": kind, "identity": dict(identity), "files": dict(sha256)})


def find(files: Files, reference: str, kind: str | None = None) -> Artifact:
    """The artifact that a spec names, which must be of that kind (None: of any).

    Raises:
        SpecError: the reference is none, there is no such artifact, or it is of another kind.
        StorageError: its record is damaged.
    """
    name, pinned = _parsed(reference)
    found = None
    if pinned is None and (wanted := newest_key(files, name)):
        found = load(files, name, wanted)
    elif pinned is not None and is_there(files, commit_path(name, pinned)):
        found = load(files, name, pinned)
    if found is None:
        known = names(files)
        hint = did_you_mean(name, known) if known else "; fit one with: tamis learn"
        raise SpecError(f"the store has no artifact {reference.removeprefix(PREFIX)!r}{hint}", artifact=reference)
    if kind is not None and found.kind != kind:
        raise SpecError(
            f"{reference!r} is an artifact of kind {found.kind!r} where one of kind {kind!r} is needed; name another",
            artifact=reference,
        )
    return found


def newest_key(files: Files, name: str) -> str | None:
    """The key of a name's newest version, or None where the name has none.

    Raises:
        StorageError: the version is damaged.
    """
    number = newest(lambda n: is_there(files, version_path(name, n)))
    return str(_json(files, version_path(name, number))["key"]) if number else None


def _parsed(reference: str) -> tuple[str, str | None]:
    """Name, and key where the reference pins one."""
    name = reference.removeprefix(PREFIX)
    if not reference.startswith(PREFIX) or not NAME.match(name):
        raise SpecError(f"{reference!r} names no artifact; write artifact:NAME", artifact=reference)
    pinned = _PINNED.match(name)
    return (pinned["name"], pinned["key"]) if pinned else (name, None)


def load(files: Files, name: str, wanted: str) -> Artifact:
    """The artifact with that name and key.

    Raises:
        StorageError: its record is missing or damaged.
    """
    path = commit_path(name, wanted)
    record = _json(files, path)
    try:
        identity, card = record["identity"], record["card"]
        own = dict(zip(record["roles"], record["files"], strict=True))
        found = Artifact(name, str(record["kind"]), wanted, identity, own, card)
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path!r} is not the record of an artifact; fit it again", path=path) from error
    if artifact_key(found.kind, identity, {role: file["sha256"] for role, file in own.items()}) != wanted:
        raise StorageError(
            f"the record {path!r} does not have the hash in its name; something changed it, so fit the artifact again",
            path=path,
        )
    return found


def _json(files: Files, path: str) -> Any:
    try:
        return json.loads(files.local(path).read_bytes())
    except ValueError as error:
        raise StorageError(
            f"{path!r} is not JSON ({error}); something else wrote it, so restore it", path=path
        ) from error


def version_path(name: str, number: int) -> str:
    """Where a version of a name is."""
    return f"artifacts/{name}/versions/{number:08d}.json"


def commit_path(name: str, wanted: str) -> str:
    """Where an artifact's record is."""
    return f"artifacts/{name}/commits/{wanted}.json"


@runtime_checkable
class _Listing(Protocol):
    """Files that can be listed, for suggestions."""

    def list(self, prefix: str) -> Iterator[str]:
        """The paths below a folder."""


def names(files: Files) -> list[str]:
    """The names that have a version, where the files can be listed."""
    if not isinstance(files, _Listing):
        return []
    first = version_path("", 1).removeprefix("artifacts/")
    return sorted({path.split("/")[1] for path in files.list("artifacts") if path.endswith(first)})
