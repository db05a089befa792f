"""Finding in the store what the database does not know: jobs whose acceptance was cut short, runs that nobody submitted."""

from collections.abc import Iterable
from contextlib import suppress

from sqlalchemy import delete, select

from pipelines.runs import FINISHED, RunFolder
from pipelines.service import requests
from pipelines.service.database.cache import follow, unmanaged
from pipelines.service.database.engine import Database
from pipelines.service.database.tables import RunRow
from pipelines.service.folders import names_below, retired_jobs
from pipelines.service.history import ConflictError, History
from pipelines.service.states import State
from pipelines.store import Store


def accepted(store: Store, database: Database, job: str) -> None:
    """See that an accepted job is queued and has a row, however far its acceptance came before."""
    history = History(store, job)
    history.refresh()
    if history.state is None:
        with suppress(ConflictError):  # somebody else queued it meanwhile
            history.move(State.QUEUED, attempt=0)
    follow(database, History(store, job))


class Finder:
    """Brings the database up to the store. Looking again costs one listing and what has not ended."""

    def __init__(self, store: Store, database: Database) -> None:
        self._store, self._database = store, database
        self._ended: set[str] = set()

    def jobs(self) -> None:
        """Give every accepted job its row."""
        with self._database.reading() as session:
            known = set(session.scalars(select(RunRow.id).where(RunRow.managed)))
        retired = retired_jobs(self._store)
        for job in sorted(names_below(self._store, "service/jobs") - known - retired.keys()):
            if requests.find(self._store, job) is not None:
                accepted(self._store, self._database, job)

    def runs(self) -> None:
        """Give every run that is no job's its row, and take rows away that a job's run had before."""
        with self._database.reading() as session:
            taken = {run for run in session.scalars(select(RunRow.run).where(RunRow.managed)) if run}
        hidden = taken | {run for run in retired_jobs(self._store).values() if run}
        found = names_below(self._store, "runs") - hidden - self._ended
        self._put(sorted(found))
        with self._database.reading() as session:
            shown = hidden.intersection(session.scalars(select(RunRow.id).where(~RunRow.managed)))
        if shown:
            with self._database.writing() as session:
                session.execute(delete(RunRow).where(~RunRow.managed, RunRow.id.in_(shown)))

    def run(self, name: str) -> bool:
        """Give one run its row; False where the store has no such run."""
        return self._put([name]) > 0

    def _put(self, names: Iterable[str]) -> int:
        rows = []
        for name in names:
            folder = RunFolder(self._store, name)
            request = folder.find("spec.json")
            if not isinstance(request, dict) or "spec" not in request:
                continue  # none, or nothing that tamis wrote
            ledger = folder.find(FINISHED)
            state = "finished" if ledger else "unfinished"
            facts = {"run": name, "name": request["spec"]["name"], "created": request["created"], "state": state}
            rows.append(unmanaged(self._store, {**facts, "total": ledger["total"] if ledger else None}))
            if ledger:
                self._ended.add(name)
        if rows:
            with self._database.writing() as session:
                mine = RunRow.run.in_([row.id for row in rows])
                taken = set(session.scalars(select(RunRow.run).where(RunRow.managed, mine)))  # since they were listed
                for row in rows:
                    if row.id not in taken:
                        session.merge(row)
        return len(rows)
