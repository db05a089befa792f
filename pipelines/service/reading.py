"""What runs left in the store, opened for those who look: views, plans, steps, explanations, reports, exports."""

import threading
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pipelines import artifacts as artifacts_of
from pipelines.explain import Explanation, explain, explain_at, is_doc_id
from pipelines.preview import preview
from pipelines.runs import FINISHED, RunFolder
from pipelines.service import history as histories
from pipelines.service import requests
from pipelines.service.database.tables import RunRow
from pipelines.service.errors import NotFoundError, PreparingError
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.explorers import PAIRS, Explorers
from pipelines.service.history import PROGRESS, STATE, ConflictError, Event
from pipelines.service.listing import Listing
from pipelines.service.settings import Settings
from pipelines.service.states import State
from pipelines.spec import Spec, from_data
from pipelines.store import Store
from pipelines.view import RunView
from stages.artifacts import PREFIX, find
from stages.errors import SpecError

#: Finished runs that stay open.
OPEN_VIEWS = 16


class Reading:
    """Reads runs. A finished run never changes, so what was opened stays open for a while."""

    def __init__(self, store: Store, settings: Settings, listing: Listing) -> None:
        self._store, self._settings, self._listing = store, settings, listing
        self._views: OrderedDict[str, RunView] = OrderedDict()
        self._explorers = Explorers(settings.state / "explorer")
        self.pairs_folder = settings.state / "explorer" / PAIRS
        self._lock = threading.Lock()

    def tidy(self) -> None:
        """Delete what was made for browsing and not asked for lately, where it takes much room."""
        self._explorers.tidy()

    def close(self) -> None:
        """Close what is open."""
        self._explorers.close()
        with self._lock:
            self._views.clear()

    def view(self, name: str) -> RunView:
        """A finished run.

        Raises:
            NotFoundError: there is none of that name.
            ConflictError: it has not finished.
        """
        run = self._run(name, finished=True)
        with self._lock:
            if run in self._views:
                self._views.move_to_end(run)
                return self._views[run]
        opened = RunView.open(self._store, run)
        with self._lock:
            self._views[run] = opened
            while len(self._views) > OPEN_VIEWS:
                self._views.popitem(last=False)
        return opened

    def explain(self, name: str, document: str) -> dict[str, Any]:
        """Why a document stayed or went.

        Raises:
            NotFoundError: the run has no such document.
            ConflictError: several documents have that name.
        """
        try:
            return self._explained(self.view(name), document).json()
        except SpecError as error:
            if "candidates" in error.fields:
                raise ConflictError(error.message, **error.fields) from error
            if "document" in error.fields:
                message = (
                    f"the run has no document {document!r}; a document's id or the beginning of its doc_id names it"
                )
                raise NotFoundError(message, **error.fields) from error
            raise

    def _explained(self, view: RunView, document: str) -> Explanation:
        """The explanation of a document, found by its doc_id without reading the ids of all where they are indexed."""
        if is_doc_id(document):
            with suppress(PreparingError):
                place = self._explorers.get(view.run, lambda: view).find(document.lower())
                if place is not None:
                    return explain_at(view, place)
        return explain(view, document)

    def explorer(self, name: str) -> Explorer:
        """The browser of a finished run's documents.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has not finished.
            PreparingError: its documents are still being indexed.
        """
        view = self.view(name)
        return self._explorers.get(view.run, lambda: view)

    def prepare(self, run: str) -> None:
        """See that the browser of a run that has just finished is there when somebody asks for it."""
        self._explorers.prepare(run, lambda: self.view(run))

    def plan(self, name: str) -> dict[str, Any]:
        """The steps of a run with their keys, as they were planned; of a job that waits, what it would do.

        Raises:
            NotFoundError: there is no such run.
            SpecError, DataError: a job that waits cannot be planned any more.
        """
        row = self._listing.row(name)
        found = RunFolder(self._store, row.run).find("plan.json") if row.run else None
        if found is not None:
            return {"run": row.run, "computed": False, "text": found["text"], "steps": found["steps"]}
        made = preview(self._spec(row), self._store.url, self._settings.readable)
        steps = [{"name": line["step"], **{k: v for k, v in line.items() if k != "step"}} for line in made["steps"]]
        return {"run": row.run, "computed": True, "text": made["text"], "steps": steps}

    def steps(self, name: str) -> list[dict[str, Any]]:
        """Where each step of a run stands: from the ledger when it has finished, else from what was told.

        Raises:
            NotFoundError: there is no such run.
        """
        row = self._listing.row(name)
        folder = RunFolder(self._store, row.run) if row.run else None
        made = (folder.find("plan.json") if folder else None) or {"sources": {}, "steps": []}
        kinds = dict.fromkeys(made["sources"], "source") | {s["name"]: s["kind"] for s in made["steps"]}
        ledger = folder.find(FINISHED) if folder else None
        if ledger is not None:
            done = ledger["steps"]
            names = [step for step in dict.fromkeys([*kinds, *done]) if step in done]  # in the order of the plan
            return [_done(step, kinds.get(step), done[step]) for step in names]
        told: dict[str, Mapping[str, Any]] = {}
        for event in self.events(row):
            if event.type == PROGRESS:
                told[event.data["step"]] = event.data
        names = list(dict.fromkeys([*told, *kinds]))
        return [_told(step, kinds.get(step), told.get(step)) for step in names]

    def report(self, name: str, kind: str) -> bytes:
        """The report of a finished run as `html` or `json`.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has not finished.
        """
        from pipelines.report import write  # noqa: PLC0415 - templates are only for who reads a report

        view = self.view(name)
        found = self._store.find(f"runs/{view.run}/report.{kind}")
        if found is None:
            write(view)
            found = self._store.get(f"runs/{view.run}/report.{kind}")
        return found

    def exports(self, name: str) -> dict[str, Any]:
        """Where a finished run's export is, with its manifest.

        Raises:
            NotFoundError: there is no such run.
            ConflictError: it has not finished, or its export was deleted.
        """
        run = self._run(name, finished=True)
        path = str(RunFolder(self._store, run).find("result.json")["export"])
        below = path.removeprefix(self._store.url).strip("/")
        manifest = self._store.find_json(f"{below}/manifest.json")
        if manifest is None:
            raise ConflictError(f"the export {path} is gone; submit the run's spec again, which writes it", run=run)
        return {"run": run, "path": path, "below": below, "manifest": manifest}

    def spec(self, name: str) -> dict[str, Any]:
        """The spec of a job or run, in the order in which it was written where that is known.

        Raises:
            NotFoundError: there is no such run.
        """
        row = self._listing.row(name)
        request = requests.find(self._store, row.id) if row.managed else None
        if request is not None:
            return request.spec_data()
        found: dict[str, Any] = RunFolder(self._store, str(row.run)).find("spec.json")["spec"]
        return found

    def events(self, row: RunRow, after: int = 0) -> list[Event]:
        """What happened to a job or run since an event."""
        if not row.managed:
            return self._told_by_run(row, after)
        found: list[Event] = []
        while (event := histories.read(self._store, row.id, after + 1)) is not None:
            found.append(event)
            after = event.number
        return found

    def artifacts(self) -> list[dict[str, Any]]:
        """The artifacts of the store, by name."""
        return artifacts_of.listed(self._store)

    def artifact(self, name: str) -> dict[str, Any]:
        """An artifact's record: what it was fitted from and what it is worth.

        Raises:
            NotFoundError: there is none.
        """
        try:
            found = find(self._store, PREFIX + name.removeprefix(PREFIX))
        except SpecError as error:
            raise NotFoundError(error.message, **error.fields) from error
        files = {role: {k: v for k, v in file.items() if k != "path"} for role, file in found.files.items()}
        return {
            "name": found.name,
            "id": found.id,
            "kind": found.kind,
            "identity": found.identity,
            "card": found.card,
        } | {"files": files}

    def _run(self, name: str, *, finished: bool = False) -> str:
        """The store's run of a job or run.

        Raises:
            NotFoundError: there is no such job.
            ConflictError: it has no run yet, or (`finished`) has not finished.
        """
        row = self._listing.row(name)
        run = row.run
        ended = run is not None and (row.state == State.SUCCEEDED or RunFolder(self._store, run).finished)
        if run is None or (finished and not ended):
            raise ConflictError(
                f"the run {row.id} is {row.state} and has not finished; wait for it, or resume it",
                job=row.id,
                state=row.state,
            )
        return run

    def _told_by_run(self, row: RunRow, after: int) -> list[Event]:
        """What a run that nobody submitted noted of itself."""
        folder, found = RunFolder(self._store, row.id), []
        while (value := folder.find(f"events/{after + 1:08d}.json")) is not None:
            after += 1
            data = {k: v for k, v in value.items() if k not in ("at", "state")}
            if value["state"] == "finished":
                found.append(Event(after, value["at"], STATE, 0, {"state": str(State.SUCCEEDED), "run": row.id}))
            else:
                found.append(Event(after, value["at"], PROGRESS, 0, data))
        return found

    def _spec(self, row: RunRow) -> Spec:
        request = requests.find(self._store, row.id)
        if request is None:
            raise ConflictError(f"the run {row.id} stopped before it was planned; submit its spec", job=row.id)
        return from_data(request.spec_data(), Path(request.folder))


def _done(name: str, kind: str | None, line: Mapping[str, Any]) -> dict[str, Any]:
    shards = line["computed_shards"] + line["cached_shards"]
    return {
        "name": name,
        "kind": kind,
        "state": "done",
        "done": shards,
        "total": shards,
        "bytes": line["bytes"],
        "ledger": line,
    }


def _told(name: str, kind: str | None, data: Mapping[str, Any] | None) -> dict[str, Any]:
    line: dict[str, Any] = {"name": name, "kind": kind, "state": "waiting", "done": None, "total": None, "bytes": None}
    if data is not None:
        state = "done" if data["done"] >= data["total"] else "running"
        line |= {"state": state, "done": data["done"], "total": data["total"], "bytes": data.get("bytes")}
    return {**line, "ledger": None}
