"""Keeping the list of jobs short: what ended long ago is put away. No data is ever deleted by it.

    service/pins/{job or run}/{number}.json   {"pinned", "at"}: the highest number counts
    service/retired/{job}.json                {"run", "state", "at"}: the job was put away

Of a job that ended and is not among the last `keep_last`, nor pinned, this machine's logs, what was told of its progress and
its place in the list go. Its request stays, so that its Idempotency-Key makes no second job; so do its run's folder, steps, exports,
artifacts and labels, which are results and belong to whoever owns the store.
"""

import shutil
import threading
import time

from sqlalchemy import and_, delete, or_, select, update

from pipelines.service.database.engine import Database
from pipelines.service.database.tables import RunRow
from pipelines.service.errors import GoneError
from pipelines.service.folders import RETIRED, is_pinned, newest_pin, pin_path
from pipelines.service.history import History
from pipelines.service.settings import Settings
from pipelines.service.states import ENDED, RESTARTS, State
from pipelines.store import Store


class Retention:
    """Pins jobs, and puts away those that ended long ago."""

    def __init__(self, store: Store, database: Database, settings: Settings) -> None:
        self._store, self._database, self._settings = store, database, settings
        self.changing = threading.Lock()  # held by who resumes a job, so that none is put away meanwhile

    def pin(self, row: RunRow, on: bool) -> RunRow:  # noqa: FBT001 - what is asked is yes or no
        """Keep a job from being put away, or stop keeping it.

        Raises:
            GoneError: it was put away a moment ago.
        """
        value = {"pinned": on, "at": round(time.time(), 3)}
        with self.changing:
            if self._store.size(f"{RETIRED}/{row.id}.json") is not None:
                raise GoneError(f"the job {row.id} has just been put away; its run's results are where they were")
            while is_pinned(self._store, row.id) is not on:
                self._store.create_json(pin_path(row.id, newest_pin(self._store, row.id) + 1), value)
            with self._database.writing() as session:  # this column alone: others move on
                session.execute(update(RunRow).where(RunRow.id == row.id).values(pinned=on))
        row.pinned = on
        return row

    def apply(self) -> int:
        """Put away what is neither recent nor pinned; gives how many jobs that are."""
        most = self._settings.keep_last
        if most is None:
            return 0
        given_up = and_(RunRow.state == str(State.CRASHED), RunRow.restarts > RESTARTS)
        ended = or_(RunRow.state.in_([str(s) for s in ENDED]), given_up)
        query = (
            select(RunRow)
            .where(RunRow.managed, ~RunRow.pinned, ended)
            .order_by(RunRow.updated.desc(), RunRow.id.desc())
            .offset(most)
        )
        with self._database.reading() as session:
            old = session.scalars(query).all()
        return sum(self._retire(row) for row in old)

    def _retire(self, row: RunRow) -> bool:
        """Put one job away, unless it was resumed or pinned meanwhile: the note of it first, then everything that it is about."""
        with self.changing:
            history = History(self._store, row.id)
            history.refresh()
            moved_on = history.state not in ENDED and history.state is not State.CRASHED  # of these, those given up
            if moved_on or is_pinned(self._store, row.id):
                return False
            self._put_away(row)
        return True

    def _put_away(self, row: RunRow) -> None:
        note = {"run": row.run, "state": row.state, "at": round(time.time(), 3)}
        self._store.create_json(f"{RETIRED}/{row.id}.json", note)
        with self._database.writing() as session:
            session.execute(delete(RunRow).where(RunRow.id == row.id))
        shutil.rmtree(self._settings.state / "jobs" / row.id, ignore_errors=True)
        for path in list(self._store.list(f"service/jobs/{row.id}/events/")):
            self._store.delete(path)
