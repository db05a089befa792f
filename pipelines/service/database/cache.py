"""Rows of the database from what the store holds, one at a time or all of them."""

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from pipelines.runs import RunFolder, last_event, list_runs
from pipelines.service import requests
from pipelines.service.database.engine import Database
from pipelines.service.database.tables import RunRow
from pipelines.service.folders import PINS, is_pinned, names_below, retired_jobs
from pipelines.service.history import PROGRESS, STATE, Event, History
from pipelines.service.requests import Request
from pipelines.service.states import State
from pipelines.store import Store

#: An unmanaged run whose last event is older is taken for interrupted.
QUIET_SECONDS = 120.0


def row_of(request: Request) -> RunRow:
    """A row for a request of which nothing has happened yet."""
    return RunRow(
        id=request.job,
        name=request.name,
        managed=True,
        state=str(State.QUEUED),
        attempt=0,
        number=0,
        created=request.created,
        updated=request.created,
        priority=request.priority,
        token=request.token,
        run=None,
        spec_digest=request.body,
        restarts=0,
        progress=None,
        total=None,
        error=None,
        export=None,
        pinned=False,
    )


def apply(row: RunRow, event: Event) -> None:
    """Bring a row up to an event; events come in order, and one that the row knows changes nothing."""
    if event.number <= row.number:
        return
    row.number, row.attempt, row.updated = event.number, event.attempt, event.at
    row.run = event.data.get("run", row.run)
    if event.type == PROGRESS:
        row.progress = {**event.data, "at": event.at}
    elif event.type == STATE:
        _apply_state(row, event)


def _apply_state(row: RunRow, event: Event) -> None:
    row.state = event.data["state"]
    if row.state == State.QUEUED:
        row.restarts, row.error = 0, None
    elif row.state == State.CRASHED:
        row.restarts += bool(event.data.get("counts", True))
        row.error = event.data.get("error", row.error)
    elif row.state == State.FAILED:
        row.error = event.data.get("error")
    elif row.state == State.SUCCEEDED:
        row.total, row.export, row.error = event.data.get("total"), event.data.get("export"), None


def follow(database: Database, history: History) -> list[Event]:
    """Read what is new of a job and bring its row up to it; gives the new events."""
    events = history.refresh()
    if events:
        with database.writing() as session:
            row = session.get(RunRow, history.job, with_for_update=True)  # nobody writes what is older over it
            if row is None:
                request = requests.find(history.store, history.job)
                assert request is not None
                row = row_of(request)
                row.pinned = is_pinned(history.store, history.job)
                session.add(row)
            for event in events if row.number else _all(history):
                apply(row, event)
            if row.run is not None:  # somebody looked before the job had said that this run is its own
                session.execute(delete(RunRow).where(~RunRow.managed, RunRow.id == row.run))
    return events


def _all(history: History) -> list[Event]:
    """Every event from the first: a row that is new knows none."""
    return History(history.store, history.job).refresh()


def reindex(store: Store, database: Database, say: Callable[[str], None] = lambda _: None) -> int:
    """Make every row again from the store; gives how many there are."""
    with database.writing() as session:
        session.execute(delete(RunRow))
        gone, pins = retired_jobs(store), names_below(store, PINS)
        rows = (_from_request(store, request, pins) for request in requests.every(store) if request.job not in gone)
        count = _put(session, (row for row in rows if row.number))  # one without an event was never quite accepted
        taken = {run for run in (*session.scalars(select(RunRow.run)), *gone.values()) if run}
        count += _put(session, (unmanaged(store, found) for found in list_runs(store) if found["run"] not in taken))
    say(f"{count} runs were read from {store.url}")
    return count


def _put(session: Session, rows: Iterable[RunRow]) -> int:
    count = 0
    for row in rows:
        session.merge(row)
        count += 1
    session.flush()
    return count


def _from_request(store: Store, request: Request, pins: Collection[str]) -> RunRow:
    row = row_of(request)
    row.pinned = request.job in pins and is_pinned(store, request.job)
    for event in History(store, request.job).refresh():
        apply(row, event)
    return row


def unmanaged(store: Store, found: dict[str, Any]) -> RunRow:
    """A row for a run that was started without the service, as `list_runs` tells of it."""
    folder = RunFolder(store, found["run"])
    event = last_event(folder) or {}
    ended = found["state"] == "finished"
    updated = event.get("at", found["created"])
    quiet = time.time() - updated > QUIET_SECONDS
    return RunRow(
        id=found["run"],
        name=found["name"],
        managed=False,
        state=str(State.SUCCEEDED if ended else State.CRASHED if quiet else State.RUNNING),
        attempt=0,
        number=0,
        created=found["created"],
        updated=updated,
        priority=0,
        token=None,
        run=found["run"],
        spec_digest="",
        restarts=0,
        progress=None if ended or "step" not in event else dict(event),
        total=found["total"],
        error=None,
        export=folder.find("result.json")["export"] if ended else None,
        pinned=is_pinned(store, found["run"]),
    )
