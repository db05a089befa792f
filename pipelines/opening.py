"""Stores and runs by the names that people give them."""

import os
from pathlib import Path

from pipelines.store import Store
from pipelines.view import RunView

DEFAULT_STORE = "./tamis-store"


def open_store(store: str | Path | Store | None, *, create: bool = False) -> Store:
    """The store at an address; None: `TAMIS_STORE`, else ./tamis-store.

    Raises:
        StorageError: it is absent and `create` is false, or cannot be read.
    """
    if isinstance(store, Store):
        return store
    return Store.open(str(store or os.environ.get("TAMIS_STORE") or DEFAULT_STORE), create=create)


def view(run: str, *, store: str | Path | Store | None = None) -> RunView:
    """A finished run, opened for reading.

    Raises:
        SpecError: no such run, or several.
        StorageError: the run has not finished, or the store cannot be read.
    """
    return RunView.open(open_store(store), run)
