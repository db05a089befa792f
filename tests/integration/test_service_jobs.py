"""Jobs that wait for people, are cancelled, resumed, killed, put away; and a service that forgets its database."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from service_runs import Served, drivers, given_up, service, spec_of, texts, until_asked, waiting_spec


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder) as found:
        yield found


def asked(served: Served, learner: str):
    found = served.get("/v1/labels/queue", params={"limit": 100}).json()
    return [q for q in found["questions"] if q["queue"].startswith(learner)]


def answer(served: Served, question, label, **fields):
    body = {"queue": question["queue"], "doc_id": question["doc_id"], "label": label}
    return served.post("/v1/labels", body | fields)


def test_a_run_waits_for_labels_through_the_crash_of_its_service_and_goes_on(served, folder):
    job = served.submit(waiting_spec(folder, "edu"))["id"]
    until_asked(served, job)
    questions = asked(served, "edu")
    assert len(questions) == 4
    assert all(q["text"] and q["labels"] == ["high", "low"] for q in questions)

    assert answer(served, questions[0], "high").status_code == 200
    assert answer(served, questions[0], "high").status_code == 200
    assert answer(served, questions[0], "low").status_code == 409
    assert answer(served, questions[1], "middle").status_code == 422
    assert answer(served, {**questions[1], "doc_id": "0" * 32}, "low").status_code == 404
    undone = served.post("/v1/labels", {"queue": questions[0]["queue"], "undo": True}).json()
    assert undone["undone"] == questions[0]["doc_id"]
    assert undone["queues"][0]["waiting"] == 4

    [driver] = drivers(folder / "store")
    served.kill()
    served.start()
    assert drivers(folder / "store") == [driver]
    for i, question in enumerate(questions):
        assert answer(served, question, ("high", "low")[i % 2]).status_code == 200
    done = served.until(job)
    assert (done["state"], done["attempt"], done["error"]) == ("SUCCEEDED", 1, None)
    assert asked(served, "edu") == []
    assert "edu" in [a["name"] for a in served.get("/v1/artifacts").json()["artifacts"]]


def test_jobs_are_cancelled_and_resumed_in_every_state(served, folder):
    running = served.submit(waiting_spec(folder, "running"))["id"]
    queued = served.submit(spec_of(texts(folder), "queued"))
    assert queued["state"] == "QUEUED"
    act = {name: lambda job, name=name: served.post(f"/v1/runs/{job}/{name}") for name in ("cancel", "resume")}

    assert act["resume"](queued["id"]).json()["state"] == "QUEUED"
    assert act["cancel"](queued["id"]).json()["state"] == "CANCELLED"
    again = act["cancel"](queued["id"])
    assert (again.status_code, again.json()["state"]) == (202, "CANCELLED"), "cancelling twice is cancelling once"

    until_asked(served, running)
    assert act["resume"](running).json()["state"] == "RUNNING"
    assert act["cancel"](running).json()["state"] in ("CANCELLING", "CANCELLED")
    assert served.until(running)["state"] == "CANCELLED"

    assert act["resume"](queued["id"]).json()["state"] in ("QUEUED", "STARTING")
    assert served.until(queued["id"])["state"] == "SUCCEEDED"
    for name in ("cancel", "resume"):
        assert act[name](queued["id"]).status_code == 409
    assert served.post(f"/v1/runs/{queued['id']}/cancel", token=served.reader).status_code == 403


def test_a_token_has_no_more_jobs_queued_than_it_may(served, folder):
    own = served.token("submit", queued=1)
    blocker = served.submit(waiting_spec(folder, "blocker"))["id"]
    served.until(blocker, ("RUNNING",))
    spec = spec_of(texts(folder), "second")
    first = served.submit(spec, own, key="first")
    refused = served.post("/v1/runs", {"spec": spec}, own)
    assert (refused.status_code, refused.json()["type"]) == (429, "quota-error")
    assert int(refused.headers["retry-after"]) > 0
    assert served.submit(spec, own, key="first")["id"] == first["id"], "what was accepted stays so"
    urgent = served.submit(spec_of(texts(folder), "urgent"), priority=5)
    served.post(f"/v1/runs/{blocker}/cancel")
    for job in (first, urgent):
        assert served.until(job["id"])["state"] == "SUCCEEDED"
    began = {
        j: next(e["at"] for e in served.events(j) if e.get("state") == "STARTING") for j in (first["id"], urgent["id"])
    }
    assert began[urgent["id"]] < began[first["id"]]


def test_a_job_whose_process_was_killed_starts_again_by_itself(served, folder):
    job = served.submit(waiting_spec(folder, "killed"))["id"]
    until_asked(served, job)
    [driver] = drivers(folder / "store")
    os.killpg(driver, signal.SIGKILL)
    for event in served.events(job):
        if event["type"] == "note" and event["attempt"] == 2 and "wait for" in event["note"]:
            break
    assert [event["state"] for event in _states(served, job)] == [
        "QUEUED",
        "STARTING",
        "RUNNING",
        "CRASHED",
        "STARTING",
        "RUNNING",
    ]
    served.post(f"/v1/runs/{job}/cancel")
    assert served.until(job)["state"] == "CANCELLED"


def _states(served: Served, job: str):
    found = []
    for event in served.events(job):
        found += [event] if event["type"] == "state" else []
        if event["attempt"] == 2 and event["type"] == "note":
            return found
    return found


def test_a_job_whose_process_cannot_begin_is_given_up_after_three_restarts_and_says_why(served):
    job, notes = given_up(served)
    assert notes == ["the process that did the work ended with status 5; its log says why"] * 4
    assert served.post(f"/v1/runs/{job}/resume").json()["attempt"] == 4
    assert served.until(job)["state"] == "SUCCEEDED"


def test_a_job_has_no_more_workers_than_its_token(served, folder):
    own = served.token("submit", workers=1)
    answer = served.post("/v1/runs", {"spec": spec_of(texts(folder), "wide"), "workers": 2}, token=own)
    assert (answer.status_code, answer.json()["limit"]) == (422, 1)
    assert "asks for 2 workers" in answer.json()["title"]
    job = served.submit(spec_of(texts(folder), "narrow"), own)["id"]
    assert served.until(job)["state"] == "SUCCEEDED"


def test_a_service_without_its_database_gives_the_same_answers(served, folder):
    def everything():
        return served.get("/v1/runs", params={"limit": 200}).json()

    spec = spec_of(texts(folder), "keyed")
    keyed = served.until(served.submit(spec, key="kept")["id"])["id"]
    pinned = next(run["id"] for run in everything()["runs"] if run["id"] != keyed)
    assert served.post(f"/v1/runs/{pinned}/pin", {"pinned": True}).json()["pinned"]
    before = everything()
    served.stop()
    for path in (folder / "store" / "service" / "state").glob("service.db*"):
        path.unlink()
    served.options = ("--reindex",)
    served.start()
    assert everything() == before
    served.stop()
    shutil.rmtree(folder / "store" / "service" / "state")
    served.options = ()
    served.start()
    assert everything() == before
    assert served.submit(spec, key="kept")["id"] == keyed, "keys are in the store, too"
    assert everything() == before


def test_retention_puts_jobs_away_and_deletes_no_result(served, folder):
    before = served.get("/v1/runs", params={"limit": 200}).json()["runs"]
    [pinned] = [run["id"] for run in before if run["pinned"]]
    served.until(served.submit(spec_of(texts(folder), "newest"))["id"])
    served.stop()
    served.options = ("--keep-last", "1")
    served.start()
    while len(left := served.get("/v1/runs").json()["runs"]) > 2:
        assert served.process.poll() is None
    assert pinned in [run["id"] for run in left]
    stay = {run["id"] for run in left}
    first = next(run for run in before if run["id"] not in stay and run["state"] == "SUCCEEDED")
    gone = served.get(f"/v1/runs/{first['id']}")
    assert (gone.status_code, gone.json()["type"]) == (410, "gone-error")
    assert served.get(f"/v1/runs/{first['run']}").json()["total"] == first["total"]
    assert served.get(f"/v1/runs/{first['run']}/export").status_code == 200
    again = served.post("/v1/runs", {"spec": spec_of(texts(folder), "keyed")}, headers={"Idempotency-Key": "kept"})
    assert (again.status_code, again.json()["type"]) == (410, "gone-error"), "it makes no second job"
