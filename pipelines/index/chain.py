"""The chain of an index's manifests: the only thing that is trusted, and the only place where writers meet.

A writer reads the newest manifest, prepares what the next one names, and creates it if absent. Of two writers one
wins; the other throws away what it prepared and begins again from the winner's manifest.
"""

import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any

from pipelines.commit import record_path
from pipelines.store import Store, encode
from stages.catalog import did_you_mean
from stages.errors import SpecError, StorageError
from stages.failpoints import failpoint
from stages.index.manifest import Manifest, manifest_path, parse
from stages.versions import newest

BEFORE_MANIFEST = "index.before_manifest"
AFTER_MANIFEST = "index.after_manifest"
BEFORE_SWEEP = "index.before_sweep"
#: Places of this package where a test can make a process die.
PLACES = (BEFORE_MANIFEST, AFTER_MANIFEST, BEFORE_SWEEP)

#: Files that a merge has replaced are kept this long for those who still read an older manifest.
RETIRED_SECONDS = 86_400
#: Files that no manifest names are abandoned after this long.
ABANDONED_SECONDS = 7 * 86_400
#: Folders of an index whose files manifests name.
FOLDERS = ("segments", "removed", "filters")


def find(store: Store, index: str) -> Manifest | None:
    """The newest manifest of an index, or None where there is no such index."""
    number = newest(lambda n: store.size(manifest_path(index, n)) is not None)
    if not number:
        return None
    path = manifest_path(index, number)
    return parse(store.get(path), path)


def get(store: Store, index: str) -> Manifest:
    """The newest manifest of an index.

    Raises:
        SpecError: there is no such index.
    """
    manifest = find(store, index)
    if manifest is None:
        known = names(store)
        hint = did_you_mean(index, known) if known else "; make it with: tamis index add INDEX RUN"
        raise SpecError(f"the store {store.url} has no index {index!r}{hint}", index=index)
    return manifest


def names(store: Store) -> list[str]:
    """The names of the store's indexes."""
    first = manifest_path("", 1).removeprefix("indexes/")
    return sorted({p.split("/")[1] for p in store.list("indexes") if p.endswith(first)})


def publish(store: Store, index: str, manifest: Manifest) -> bool:
    """Make a manifest the newest one; False where another writer was faster.

    Raises:
        StorageError: it can neither be written nor read.
    """
    path = manifest_path(index, manifest.number)
    data = encode({**manifest.json(), "writer": uuid.uuid4().hex})
    failpoint(BEFORE_MANIFEST)
    try:
        ours = store.create(path, data)
    except StorageError:
        ours = False
        if store.find(path) is None:
            raise
    failpoint(AFTER_MANIFEST)
    return ours or store.get(path) == data  # an answer may get lost although the write arrived


def retire(manifest: Manifest, gone: Iterable[str]) -> dict[str, float]:
    """What the next manifest says of segments and tables that it no longer names, by name."""
    now = time.time()
    kept = {name: at for name, at in manifest.retired.items() if now - at < RETIRED_SECONDS}
    return kept | {name: round(now, 3) for name in gone}


def fresh_name() -> str:
    """A name that no other attempt has, and that tells when it was made."""
    return f"{int(time.time()):010x}-{uuid.uuid4().hex[:8]}"


def sweep(store: Store, index: str, manifest: Manifest) -> None:
    """Delete old files that no manifest names: what merges replaced and what killed writers left."""
    failpoint(BEFORE_SWEEP)
    named = {entry["name"] for entry in (*manifest.segments, manifest.removed or {}, manifest.place) if "name" in entry}
    now = time.time()
    for folder in FOLDERS:
        for path in list(store.list(f"indexes/{index}/{folder}")):
            name = path.rpartition("/")[2].partition(".")[0]
            if name not in named and name not in manifest.retired and now - _made(name) > ABANDONED_SECONDS:
                store.delete(path)


def discard(store: Store, folder: str, entry: Mapping[str, Any]) -> None:
    """Delete the files of an attempt that no manifest came to name."""
    store.delete(record_path(folder, entry["name"]))
    for file in entry["files"]:
        store.delete(file["path"])


def _made(name: str) -> float:
    """When a file of that name was begun, in seconds since 1970."""
    digits = name.partition("-")[0]
    return float(int(digits, 16)) if digits.isalnum() else time.time()
