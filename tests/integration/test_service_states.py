"""What cancelling and resuming do in each state, over HTTP; and drivers that never begin, or whose cluster is gone.

`format.json` of the store is what a driver reads first and a running service reads no more: a pipe in its place holds drivers
in STARTING, for as long as nobody writes into it.
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from service_runs import Served, drivers, end_drivers, service, spec_of, texts, until_asked, waiting_spec
from sqlalchemy import text as sql

from pipelines.service import requests, tokens
from pipelines.service.database.cache import reindex
from pipelines.service.database.engine import Database, sqlite_url
from pipelines.service.database.tables import RunRow
from pipelines.service.history import PROGRESS, STATE, ConflictError, History
from pipelines.service.launchers.ray_jobs import RayJobsLauncher
from pipelines.service.launchers.subprocess import SubprocessLauncher
from pipelines.service.requests import Request
from pipelines.service.service import Service
from pipelines.service.settings import Settings, state_folder
from pipelines.service.states import State
from pipelines.service.supervisor import Supervisor
from stages.errors import StorageError


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with service(tmp_path_factory.mktemp("states")) as found:
        yield found


@contextmanager
def held_at_the_door(store: Path) -> Iterator[None]:
    """Drivers that start meanwhile wait before they do anything."""
    door, away = store / "format.json", store / "format.away"
    door.rename(away)
    os.mkfifo(door)
    try:
        yield
    finally:
        away.replace(door)


def asked(served: Served, job: str, what: str):
    """What asking for something answers: its status, and the job's state."""
    answer = served.post(f"/v1/runs/{job}/{what}")
    return answer.status_code, answer.json().get("state")


def states(served: Served, job: str):
    return [str(e.data["state"]) for e in History(served.store, job).refresh() if e.type == STATE]


def test_a_job_that_is_starting_or_about_to_be_cancelled(served):
    store = served.folder / "store"
    with held_at_the_door(store):
        job = served.submit(spec_of(texts(served.folder), "starting"))["id"]
        served.until(job, ("STARTING",))
        assert asked(served, job, "resume") == (202, "STARTING")
        [driver] = drivers(store)  # its pid is known before it can say it
        os.kill(driver, signal.SIGSTOP)
        assert asked(served, job, "cancel") == (202, "CANCELLING")
        assert asked(served, job, "cancel") == (202, "CANCELLING")
        assert asked(served, job, "resume") == (409, "CANCELLING")
        os.kill(driver, signal.SIGCONT)
        assert served.until(job)["state"] == "CANCELLED"
    assert asked(served, job, "cancel") == (202, "CANCELLED")
    assert asked(served, job, "resume")[0] == 202
    assert served.until(job)["state"] == "SUCCEEDED"
    assert asked(served, job, "cancel") == (409, "SUCCEEDED")
    assert states(served, job) == [
        *("QUEUED", "STARTING", "CANCELLING", "CANCELLED"),
        *("QUEUED", "STARTING", "RUNNING", "SUCCEEDED"),
    ]


def test_a_job_that_has_failed_cannot_be_cancelled_and_can_be_resumed(served):
    path = served.folder / "broken.jsonl"
    path.write_text('{"id": "a", "text": "fine"}\n{"id": \n')
    source = {"kind": "jsonl", "path": str(path), "max_malformed": 0}
    job = served.submit({**spec_of(path, "failing"), "source": source})["id"]
    failed = served.until(job)
    assert (failed["state"], failed["error"]["status"]) == ("FAILED", 409)
    assert asked(served, job, "cancel") == (409, "FAILED")
    assert asked(served, job, "resume")[0] == 202
    assert served.until(job, ("RUNNING",))["attempt"] == 2
    assert served.until(job)["state"] == "FAILED"


def test_a_job_that_has_crashed_and_waits_is_cancelled_and_resumed(served):
    first = served.submit(waiting_spec(served.folder, "crashes"))["id"]
    until_asked(served, first)
    other = served.submit(waiting_spec(served.folder, "goes-first"), priority=5)["id"]
    [driver] = drivers(served.folder / "store")
    os.killpg(driver, signal.SIGKILL)
    until_asked(served, other)
    assert asked(served, first, "cancel") == (202, "CANCELLED")
    assert asked(served, first, "resume") == (202, "QUEUED")
    assert served.get(f"/v1/runs/{first}").json()["error"] is None
    assert asked(served, other, "cancel")[0] == 202
    until_asked(served, first, attempt=2)
    assert states(served, first) == [
        *("QUEUED", "STARTING", "RUNNING", "CRASHED", "CANCELLED"),
        *("QUEUED", "STARTING", "RUNNING"),
    ]
    assert asked(served, first, "cancel")[0] == 202
    assert served.until(first)["state"] == "CANCELLED"


def moved(supervisor: Supervisor, history: History, to: State):
    """Look after the jobs until one is in a state; gives the event that says so."""
    while True:
        supervisor.look()
        for event in history.refresh():
            if event.type == STATE and event.data["state"] == to:
                return event


def test_a_driver_that_does_not_begin_in_time_is_ended_and_its_job_says_so(tmp_path):
    store = tmp_path / "store"
    settings = Settings(str(store), state_folder(str(store)), roots=(str(tmp_path),), engine="local", start_seconds=0.5)
    own = Service(settings)
    token = tokens.check(own.store, tokens.create(own.store, "submit")[0])
    try:
        row, _ = own.submit(token, spec_of(texts(tmp_path)))
        with held_at_the_door(store):
            crashed = moved(own.supervisor, History(own.store, row.id), State.CRASHED)
        own.cancel(token, row.id)
        moved(own.supervisor, History(own.store, row.id), State.CANCELLED)
    finally:
        own.close()
        end_drivers(store)
    assert crashed.attempt == 1
    assert "did not begin its work within" in crashed.data["note"]
    assert crashed.data["counts"], "a driver that never begins is given up after three restarts"


def test_a_cancelled_job_of_a_cluster_that_is_gone_for_good_is_let_go_and_its_driver_can_tell_nothing_more(
    store, tmp_path
):
    settings = Settings(store.url, tmp_path, cancel_seconds=0.5, launcher="ray")
    with cluster() as url:
        launcher = RayJobsLauncher(store, replace(settings, ray_address=url))
    text, body = requests.body_of(spec_of(texts(tmp_path)))
    request = Request(requests.new_id("token", "gone"), "gone", text, "token", 1_000.0, body, "/")
    requests.accept(store, request)
    history = History(store, request.job)
    for to, attempt in ((State.QUEUED, 0), (State.STARTING, 1), (State.RUNNING, 1), (State.CANCELLING, 1)):
        history.move(to, attempt=attempt)
    database = Database(sqlite_url(tmp_path))
    supervisor = Supervisor(store, database, launcher, settings, lambda *_: None)
    try:
        reindex(store, database)
        cancelled = moved(supervisor, history, State.CANCELLED)
    finally:
        database.close()
    assert "does not answer" in cancelled.data["note"]
    assert cancelled.data["note"].endswith("whether the process ended is not known")
    with pytest.raises(ConflictError, match="is CANCELLED, at attempt 1, so attempt 1 is over"):
        History(store, request.job).tell(PROGRESS, 1, step="stats", done=1, total=2)


def test_a_row_that_could_not_be_written_is_brought_up_to_its_history_by_the_next_look(store, tmp_path):
    text, body = requests.body_of(spec_of(texts(tmp_path)))
    request = Request(requests.new_id("token", "full"), "full", text, "token", 1_000.0, body, "/")
    requests.accept(store, request)
    history, settings = History(store, request.job), Settings(store.url, tmp_path)
    history.move(State.QUEUED)
    history.move(State.STARTING, attempt=1)
    history.move(State.RUNNING)
    database = Database(sqlite_url(tmp_path))
    heard = []
    supervisor = Supervisor(
        store, database, SubprocessLauncher(store, settings), settings, lambda _, e: heard.append(e)
    )
    try:
        reindex(store, database)
        history.move(State.SUCCEEDED, run="full-1", total={"exported": 3}, export="exports/full/v1")
        with database.writing() as session:
            session.execute(sql("CREATE TRIGGER full BEFORE UPDATE ON runs BEGIN SELECT RAISE(FAIL, 'disk full'); END"))
        with pytest.raises(StorageError, match="disk full"):
            supervisor.look()
        assert heard == []
        with database.writing() as session:
            session.execute(sql("DROP TRIGGER full"))
        supervisor.look()
        with database.reading() as session:
            row = session.get(RunRow, request.job)
    finally:
        database.close()
    assert (row.state, row.run, row.total) == ("SUCCEEDED", "full-1", {"exported": 3})
    assert heard[-1].data["state"] == "SUCCEEDED"


@contextmanager
def cluster() -> Iterator[str]:
    """What answers as a cluster's job server does when it is asked its version; gone afterwards."""

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"ray_version": "2.60.0"}')

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
