"""Keeping what learners have fitted: files first, then the record that makes them true, then a version of the name."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.commit import Attempt
from pipelines.store import Store
from stages.artifacts import NAME, Artifact, artifact_key, commit_path, load, names, version_path
from stages.errors import SpecError, StorageError
from stages.fingerprint import file_digest
from stages.versions import newest


def checked_name(name: str) -> str:
    """Return a name for an artifact when it can be one.

    Raises:
        SpecError: it cannot.
    """
    if not NAME.match(name):
        raise SpecError(f"an artifact cannot be called {name!r}; write letters, digits, '.', '_' and '-' (at most 80)")
    return name


def keep(
    store: Store,
    name: str,
    kind: str,
    files: Mapping[str, Path],
    *,
    identity: Mapping[str, Any],
    card: Mapping[str, Any],
) -> Artifact:
    """Commit files as an artifact and make it the newest version of its name.

    Equal content under one name is one artifact; the card of the first stays. `identity` is what the numbers depend on
    beside the files (how words are made, say); `card` is for people: data, settings, metrics, cost.

    Raises:
        SpecError: it cannot have that name.
        StorageError: the store cannot be written.
    """
    checked_name(name)
    hashes = {role: file_digest(path) for role, path in files.items()}
    wanted = artifact_key(kind, identity, hashes)
    if store.size(commit_path(name, wanted)) is None:
        with Attempt(store, f"artifacts/{name}", wanted) as attempt:
            for role, path in files.items():
                with attempt.file(f".{role}") as into:
                    shutil.copyfile(path, into)
            attempt.commit({"kind": kind, "identity": dict(identity), "roles": list(files), "card": dict(card)})
    make_newest(store, name, wanted)
    return load(store, name, wanted)


def listed(store: Store) -> list[dict[str, Any]]:
    """Every name that has a version, sorted: its newest artifact's id, kind and what it is, and when it was named.

    `created` is in seconds since 1970, and null where the store does not tell (S3). A damaged artifact is listed with what
    is wrong as its `problem`; otherwise that is null.
    """
    return [{"name": name, **_entry(store, name)} for name in names(store)]


def _entry(store: Store, name: str) -> dict[str, Any]:
    try:
        path = version_path(name, _newest(store, name))
        artifact = load(store, name, str(store.get_json(path)["key"]))
    except StorageError as error:
        return {**dict.fromkeys(("id", "kind", "what", "created")), "problem": error.message}
    what = artifact.card.get("what")
    return {
        "id": artifact.id,
        "kind": artifact.kind,
        "what": what if isinstance(what, str) else None,
        "created": round(store.local(path).stat().st_mtime, 3) if store.is_local else None,
        "problem": None,
    }


def _newest(store: Store, name: str) -> int:
    """The number of a name's newest version, 0 where it has none."""
    return newest(lambda n: store.size(version_path(name, n)) is not None)


def make_newest(store: Store, name: str, wanted: str) -> None:
    """Make the artifact with that key the newest version of its name, unless it is already."""
    while True:
        number = _newest(store, name)
        if number and store.get_json(version_path(name, number))["key"] == wanted:
            return
        if store.create_json(version_path(name, number + 1), {"key": wanted}):
            return
