"""Other exports of finished runs, each written by a process of its own below a root.

{state}/exports/{id}/request.json  answer.json  log  lock

The process outlives the service, and its lock tells whether it lives. What the latest `KEPT` said stays to be asked for.
"""

import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipelines.service.claims import Claim, holder
from pipelines.service.errors import NotFoundError, TooManyError
from pipelines.service.settings import Settings
from pipelines.store import Store
from stages.errors import SpecError

AT_ONCE = 1
RETRY_SECONDS = 30
KEPT = 100
_FIELD = re.compile(r"[a-z][a-z0-9_]{0,63}\Z")


class Exporting:
    """Starts exports and tells where they stand."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self._store, self._settings = store, settings
        self._lock = threading.Lock()
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, run: str, kind: str, out: str, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Begin to write a run in a format; gives where it stands.

        Raises:
            SpecError: the folder is outside the roots, or a setting is no plain field.
            TooManyError: another export is under way.
        """
        folder = self._allowed(out)
        command = [
            sys.executable,
            "-m",
            "pipelines.cli",
            "export",
            run,
            "--format",
            kind,
            "--out",
            str(folder),
            "--json",
        ]
        command += ["--store", self._store.url, "--engine", "local"]
        for name, value in settings.items():
            if not _FIELD.match(name):
                raise SpecError(
                    f"the setting {name!r} is no field of a format; `GET /v1/stages` tells them", setting=name
                )
            command += ["--set", f"{name}={json.dumps(value)}"]
        with self._lock:
            if self._under_way() >= AT_ONCE:
                raise TooManyError(
                    "another export is under way; try again when it has ended", retry_after=RETRY_SECONDS
                )
            identity = secrets.token_hex(8)
            place = self._place(identity)
            place.mkdir(parents=True)
            (place / "request.json").write_text(json.dumps({"run": run, "format": kind, "out": str(folder)}))
            self._children[identity] = self._begin(place, command)
        return self.status(identity)

    @staticmethod
    def _begin(place: Path, command: list[str]) -> subprocess.Popen[bytes]:
        """Start the process, which holds the folder's lock as long as it lives."""
        claim = Claim.take(place)
        assert claim is not None, "the folder is new"
        try:
            with claim, (place / "answer.json").open("wb") as answer, (place / "log").open("wb") as log:
                return subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=answer,
                    stderr=log,
                    pass_fds=[claim.fd],
                    start_new_session=True,
                )
        except OSError as error:
            shutil.rmtree(place, ignore_errors=True)
            raise SpecError(
                f"the export cannot be started: {error.strerror}; give shorter settings, or see to the machine"
            ) from error

    def _under_way(self) -> int:
        """How many processes live; of those that ended, the oldest are forgotten."""
        self._children = {i: child for i, child in self._children.items() if child.poll() is None}
        places = sorted(self._place("").glob("*/request.json"), key=lambda path: path.stat().st_mtime)
        ended = [path.parent for path in places if holder(path.parent) is None]
        for place in ended[:-KEPT]:
            shutil.rmtree(place, ignore_errors=True)
        return len(places) - len(ended)

    def status(self, identity: str) -> dict[str, Any]:
        """Where an export stands.

        Raises:
            NotFoundError: there is none of that id.
        """
        place = self._place(identity)
        if not (place / "request.json").exists():
            raise NotFoundError(f"there is no export {identity!r} of this service", export=identity)
        asked = json.loads((place / "request.json").read_text())
        found: dict[str, Any] = {"id": identity, **asked, "state": "RUNNING", "result": None, "error": None}
        if holder(place) is not None:
            return found
        try:
            answer = json.loads((place / "answer.json").read_text())
        except (OSError, ValueError):
            answer = {"type": "stage-error", "status": 500, "title": "the export was interrupted; ask for it again"}
        failed = "title" in answer and "status" in answer
        return (
            {**found, "state": "FAILED", "error": answer}
            if failed
            else {**found, "state": "SUCCEEDED", "result": answer}
        )

    def _place(self, identity: str) -> Path:
        return self._settings.state / "exports" / identity

    def _allowed(self, out: str) -> Path:
        """The real path of a folder below a root that is not in the store."""
        if "\0" in out:
            raise SpecError("the folder's name has a null character, which no folder has")
        real = os.path.realpath(out)
        roots = [os.path.realpath(root) for root in self._settings.roots if not root.startswith("s3://")]
        store = os.path.realpath(self._store.url) if self._store.is_local else None
        inside = store is not None and _below(real, store)
        if inside or not os.path.isabs(out) or not any(_below(real, root) and real != root for root in roots):  # noqa: PTH117
            raise SpecError(
                f"{out!r} is no folder below a root outside the store; name one below what `tamis serve --root` allows",
                out=out,
            )
        return Path(real)


def _below(path: str, folder: str) -> bool:
    return path == folder or path.startswith(folder.rstrip("/") + "/")
