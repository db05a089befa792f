"""The service over HTTP, with real servers and real drivers."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from service_runs import Served, service, spec_of, texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder) as found:
        yield found


@pytest.fixture(scope="module")
def done(served: Served, folder: Path):
    """A job that has succeeded."""
    job = served.submit(spec_of(texts(folder)), forked_from="elsewhere")
    return served.until(job["id"])


def test_a_submitted_spec_runs_to_its_export(served, done, folder):
    assert (done["state"], done["attempt"], done["managed"]) == ("SUCCEEDED", 1, True)
    assert done["total"]["exported"] + done["total"]["rejected"] == 40
    assert (folder / "store" / "runs" / done["run"] / "ledger.json").exists()


def test_who_has_no_token_is_told_to_get_one(served):
    for path in ("/v1/runs", "/v1/runs/x", "/v1/runs/x/events"):
        answer = served.get(path, "wrong")
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "unauthorized-error"


def test_a_reader_may_look_and_not_submit(served, done):
    assert served.get(f"/v1/runs/{done['id']}", served.reader).status_code == 200
    assert served.post("/v1/runs", {"spec": {}}, served.reader).status_code == 403


def test_twenty_posts_with_one_key_make_one_job(served, folder):
    spec = spec_of(texts(folder, name="twenty.jsonl"), "twenty")
    with ThreadPoolExecutor(20) as pool:
        jobs = list(pool.map(lambda _: served.submit(spec, key="one"), range(20)))
    assert len({job["id"] for job in jobs}) == 1
    assert served.until(jobs[0]["id"])["state"] == "SUCCEEDED"
    other = served.post("/v1/runs", {"spec": {**spec, "keep": []}}, headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["type"]) == (422, "idempotency-error")


def test_events_are_told_in_order_and_again_from_where_somebody_stopped(served, done):
    events = list(served.events(done["id"]))
    assert [e["number"] for e in events] == list(range(1, len(events) + 1))
    states = [e["state"] for e in events if e["type"] == "state"]
    assert states == ["QUEUED", "STARTING", "RUNNING", "SUCCEEDED"]
    assert list(served.events(done["id"], after=2)) == events[2:]
    last = {"Last-Event-ID": str(len(events))}
    assert served.get(f"/v1/runs/{done['id']}/events", headers=last).status_code == 204
