"""Folders of the store that the service reads as a whole: names in them, jobs that were put away, what is pinned."""

import os
from pathlib import Path

from pipelines.store import Store
from stages.versions import newest

RETIRED, PINS = "service/retired", "service/pins"


def names_below(store: Store, folder: str) -> set[str]:
    """The names of what is in a folder of the store."""
    if not store.is_local:
        return {path.split("/")[folder.count("/") + 1] for path in store.list(folder)}
    try:
        return set(os.listdir(Path(store.url) / folder))  # noqa: PTH208 - names are all that is wanted
    except FileNotFoundError:
        return set()


def retired_jobs(store: Store) -> dict[str, str | None]:
    """The jobs that retention put away, with their runs."""
    found = {}
    for name in names_below(store, RETIRED):
        value = store.find_json(f"{RETIRED}/{name}")
        if value is not None:
            found[name.removesuffix(".json")] = value["run"]
    return found


def is_pinned(store: Store, identity: str) -> bool:
    """Whether somebody keeps a job or run."""
    number = newest_pin(store, identity)
    return bool(number) and bool(store.get_json(pin_path(identity, number))["pinned"])


def newest_pin(store: Store, identity: str) -> int:
    """The number of the last word on whether a job or run is kept; 0 where there is none."""
    return newest(lambda n: store.size(pin_path(identity, n)) is not None)


def pin_path(identity: str, number: int) -> str:
    """Where a word on it is."""
    return f"{PINS}/{identity}/{number:08d}.json"
