"""The database as a cache of the store: the same on SQLite and PostgreSQL, and made again from the store at any time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from databases import binaries, postgres
from service_runs import service, spec_of, texts
from sqlalchemy import inspect, select, text

from pipelines.service import requests
from pipelines.service.database.cache import follow, reindex
from pipelines.service.database.engine import Database, sqlite_url
from pipelines.service.database.tables import Base, RunRow
from pipelines.service.errors import GoneError
from pipelines.service.folders import RETIRED, pin_path
from pipelines.service.history import NOTE, PROGRESS, History
from pipelines.service.requests import Request
from pipelines.service.retention import Retention
from pipelines.service.settings import Settings
from pipelines.service.states import State
from stages.errors import SpecError, StorageError


@pytest.fixture(scope="session")
def postgres_url():
    home = binaries()
    if home is None:
        pytest.skip("PostgreSQL is not installed, and only root can install it")
    with postgres(home) as url:
        yield url


@pytest.fixture(params=["sqlite", "postgres"])
def database(request, tmp_path):
    url = sqlite_url(tmp_path) if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    opened = Database(url)
    with opened.writing() as session:
        session.execute(text("DELETE FROM runs"))
    yield opened
    with opened.writing() as session:
        session.execute(text("DELETE FROM runs"))
    opened.close()


def submitted(store, name, number=0):
    text, body = requests.body_of({"name": name, "source": {"kind": "text", "path": "x"}})
    made = Request(requests.new_id("token", f"{name}-{number}"), name, text, "token", 1_000.0 + number, body, "/")
    requests.accept(store, made)
    history = History(store, made.job)
    history.move(State.QUEUED)
    return history


def rows(database):
    with database.reading() as session:
        found = session.scalars(select(RunRow).order_by(RunRow.created, RunRow.id)).all()
    return [{c.name: getattr(row, c.name) for c in RunRow.__table__.columns} for row in found]


def lived(store, number):
    """A job that crashed, went on, and ended in one of four ways."""
    history = submitted(store, "much", number)
    history.move(State.STARTING, attempt=1)
    history.tell(NOTE, 1, note="compiling")
    history.move(State.RUNNING)
    history.tell(PROGRESS, 1, step="stats", done=1, total=3, bytes=2**40)
    if number % 4 == 0:
        return history
    history.move(State.CRASHED, note="gone")
    history.move(State.STARTING, attempt=2)
    history.move(State.RUNNING)
    if number % 4 == 1:
        history.move(State.SUCCEEDED, run="much-1", total={"exported": 3}, export="exports/much/v1")
    elif number % 4 == 2:
        history.move(State.FAILED, error={"title": "no file matches 'ü'", "status": 409})
    else:
        history.move(State.CANCELLING)
    return history


def test_rows_that_follow_events_are_those_that_the_store_gives_again(store, database):
    for number in range(8):
        history = submitted(store, "few", 100 + number)
        follow(database, History(store, history.job))
        job = lived(store, number).job
        follow(database, History(store, job))
    followed = rows(database)

    assert len(followed) == 16
    assert {r["state"] for r in followed} == {"QUEUED", "RUNNING", "SUCCEEDED", "FAILED", "CANCELLING"}
    assert reindex(store, database) == 16
    assert rows(database) == followed


def test_events_read_in_parts_give_the_row_that_they_give_at_once(store, database):
    history = submitted(store, "parts")
    reader = History(store, history.job)
    for move in (
        (State.STARTING, {"attempt": 1}),
        (State.RUNNING, {}),
        (State.CRASHED, {}),
        (State.STARTING, {"attempt": 2}),
    ):
        follow(database, reader)
        history.move(move[0], **move[1])
    follow(database, reader)
    in_parts = rows(database)
    reindex(store, database)

    assert rows(database) == in_parts
    assert (in_parts[0]["attempt"], in_parts[0]["restarts"], in_parts[0]["number"]) == (2, 1, 5)


def test_runs_that_nobody_submitted_are_listed_once(finished_run, database):
    store = finished_run.store
    reindex(store, database)

    assert [(r["id"], r["managed"], r["state"], r["total"]) for r in rows(database)] == [
        (finished_run.run, False, "SUCCEEDED", dict(finished_run.ledger["total"]))
    ]


def test_migrations_make_the_tables_of_the_models(database):
    found = {c["name"]: (type(c["type"]).__name__, c["nullable"]) for c in inspect(database.engine).get_columns("runs")}
    again = Database(str(database.engine.url.render_as_string(hide_password=False)))
    again.close()

    assert set(found) == {c.name for c in Base.metadata.tables["runs"].columns}
    assert {n: nullable for n, (_, nullable) in found.items()} == {
        c.name: bool(c.nullable) for c in Base.metadata.tables["runs"].columns
    }


def test_what_is_pinned_while_others_are_put_away_stays_and_cannot_be_put_away_and_pinned_both(
    store, database, tmp_path
):
    retention = Retention(store, database, Settings(store.url, tmp_path, keep_last=0))
    jobs = [lived(store, number).job for number in (1, 2, 5)]
    reindex(store, database)
    store.create_json(pin_path(jobs[0], 1), {"pinned": True, "at": 0.0})  # the row does not say so yet
    assert retention.apply() == 2
    assert [row["id"] for row in rows(database)] == jobs[:1]
    assert store.size(f"{RETIRED}/{jobs[0]}.json") is None
    with pytest.raises(GoneError, match="has just been put away"):
        retention.pin(RunRow(id=jobs[1]), on=True)
    assert retention.apply() == 0


def test_a_service_on_postgresql_makes_one_run_of_twenty_posts_and_lists_what_sqlite_would(postgres_url, tmp_path):
    with service(tmp_path, "--database", postgres_url) as served:
        spec = spec_of(texts(tmp_path))
        with ThreadPoolExecutor(20) as pool:
            jobs = {job["id"] for job in pool.map(lambda _: served.submit(spec, key="one"), range(20))}
        (job,) = jobs
        assert served.until(job)["state"] == "SUCCEEDED"
        assert served.post(f"/v1/runs/{job}/pin", {"pinned": True}).json()["pinned"]
        first = served.get("/v1/runs", params={"limit": 1}).json()
        assert ([run["id"] for run in first["runs"]], first["next"]) == ([job], None)
        served.stop()
        served.options = ()  # SQLite, which has yet to be made
        served.start()
        assert served.get("/v1/runs", params={"limit": 1}).json() == first


def test_a_database_that_cannot_be_reached_is_said_without_its_password(tmp_path):
    with pytest.raises(StorageError) as raised:
        Database("postgresql+pg8000://me:hunter2@127.0.0.1:1/none")
    assert "127.0.0.1:1" in raised.value.message
    assert "hunter2" not in raised.value.message
    with pytest.raises(SpecError, match="is no URL that can be opened"):
        Database("none")
