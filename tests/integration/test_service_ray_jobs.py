"""Jobs as Ray Jobs of a real cluster: run, cancelled, killed, found again by a service that was killed, and cut off from it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from ray_head import ROOT, TOKEN, Head, driver_of, free_port, head
from service_runs import Served, given_up, service, spec_of, texts, until_asked, until_note, waiting_spec

from pipelines.run import Options
from pipelines.service import requests
from pipelines.service.driver import drive
from pipelines.service.history import STATE, ConflictError, History
from pipelines.service.launchers.cluster import Cluster
from pipelines.service.launchers.ray_jobs import submission
from pipelines.service.states import State
from pipelines.store import Store

COUNTS = ("documents_in", "quarantined", "exported", "rejected", "bytes_exported")
SECRET = "what-nobody-may-read-in-a-dashboard"


@pytest.fixture(scope="module")
def cluster():
    with head() as found:
        yield found


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("ray-jobs")


@pytest.fixture(scope="module")
def served(cluster: Head, folder: Path):
    options = ("--launcher", "ray", "--ray-address", cluster.url, "--engine", "ray", "--workers", "2")
    env = {"RAY_AUTH_TOKEN": TOKEN, "AWS_SECRET_ACCESS_KEY": SECRET, "TAMIS_TOKEN": SECRET}
    with service(folder, *options, env=env) as found:
        yield found


def states(store: Store, job: str):
    """The states of a job so far, with their attempts."""
    events = History(store, job).refresh()
    return [(str(e.data["state"]), e.attempt) for e in events if e.type == STATE]


def cancel(served: Served, job: str) -> None:
    served.post(f"/v1/runs/{job}/cancel")
    assert served.until(job)["state"] == "CANCELLED"


def files_of(served: Served, job: str):
    """A run's export: its manifest, and the bytes of its files."""
    files = served.get(f"/v1/runs/{job}/export").json()["manifest"]["files"]
    return files, [served.get(f"/v1/runs/{job}/export/{file['name']}").content for file in files]


@pytest.mark.ray
@pytest.mark.long
def test_a_job_on_a_cluster_ends_with_the_same_export_as_one_of_this_machine(cluster, served, folder, tmp_path):
    spec = spec_of(texts(folder))
    job = served.submit(spec)["id"]
    done = served.until(job)
    assert (done["state"], done["attempt"], done["error"]) == ("SUCCEEDED", 1, None)
    assert states(served.store, job) == [("QUEUED", 0), ("STARTING", 1), ("RUNNING", 1), ("SUCCEEDED", 1)]
    assert list(cluster.jobs(job)) == [submission(job, 1)]
    assert "the job has ended" in served.get(f"/v1/runs/{job}/log").text
    rejected = {"fate": "rejected", "limit": 100}
    with service(tmp_path, "--root", str(folder)) as here:
        other = here.submit(spec)["id"]
        same = here.until(other)
        assert {k: same["total"][k] for k in COUNTS} == {k: done["total"][k] for k in COUNTS}
        assert files_of(here, other) == files_of(served, job)
        found, again = (s.get(f"/v1/runs/{j}/documents", params=rejected) for s, j in ((here, other), (served, job)))
        assert found.status_code == 200
        assert found.json() == again.json()


@pytest.mark.ray
@pytest.mark.long
def test_the_cluster_is_told_no_secret(cluster, served, folder):
    job = served.submit(spec_of(texts(folder), "secretive"))["id"]
    assert served.until(job)["state"] == "SUCCEEDED"
    shown = json.dumps(cluster.get(f"/api/jobs/{submission(job, 1)}"))
    assert "TAMIS_ENDPOINTS" in shown
    assert SECRET not in shown
    assert TOKEN not in shown


@pytest.mark.ray
@pytest.mark.long
def test_a_cancelled_job_ends_with_its_driver(cluster, served, folder):
    job = served.submit(waiting_spec(folder, "cancelled"))["id"]
    until_asked(served, job)
    driver = driver_of(job)
    cancel(served, job)
    driver.wait(60)
    assert [state for state, _ in states(served.store, job)][-2:] == ["CANCELLING", "CANCELLED"]


@pytest.mark.ray
@pytest.mark.long
def test_a_job_whose_driver_was_killed_starts_again_by_itself(cluster, served, folder):
    job = served.submit(waiting_spec(folder, "killed"))["id"]
    until_asked(served, job)
    driver_of(job).kill()
    until_asked(served, job, attempt=2)
    told = states(served.store, job)
    assert told[2:] == [("RUNNING", 1), ("CRASHED", 1), ("STARTING", 2), ("RUNNING", 2)]
    [crashed] = [e for e in History(served.store, job).refresh() if e.data.get("state") == "CRASHED"]
    assert "exit code -9" in crashed.data["note"]
    cancel(served, job)


@pytest.mark.ray
@pytest.mark.long
def test_a_service_that_was_killed_finds_its_job_and_starts_it_no_second_time(cluster, served, folder):
    job = served.submit(waiting_spec(folder, "found"))["id"]
    until_asked(served, job)
    driver = driver_of(job)
    served.kill()
    served.start()
    other = served.submit(spec_of(texts(folder), "queued-behind"))["id"]  # it is looked at again
    assert driver_of(job) == driver
    questions = served.get("/v1/labels/queue", params={"limit": 100}).json()["questions"]
    for i, question in enumerate(q for q in questions if q["queue"].startswith("found")):
        body = {"queue": question["queue"], "doc_id": question["doc_id"], "label": ("high", "low")[i % 2]}
        assert served.post("/v1/labels", body).status_code == 200
    assert (served.until(job)["state"], served.until(other)["state"]) == ("SUCCEEDED", "SUCCEEDED")
    assert list(cluster.jobs(job)) == [submission(job, 1)]
    assert states(served.store, job) == [("QUEUED", 0), ("STARTING", 1), ("RUNNING", 1), ("SUCCEEDED", 1)]


@pytest.mark.ray
@pytest.mark.long
def test_a_job_that_the_cluster_cannot_begin_is_given_up_after_three_restarts_and_says_why(served, folder):
    job, notes = given_up(served)
    assert all("exit code 5" in note and str(folder / "store") in note for note in notes)
    served.post(f"/v1/runs/{job}/resume")
    assert served.until(job)["state"] == "SUCCEEDED"


@pytest.mark.ray
@pytest.mark.long
def test_what_is_submitted_twice_starts_once(cluster, tmp_path, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", TOKEN)
    client, line = Cluster(cluster.url), f"echo once >> {tmp_path / 'told'}"
    assert [client.submit("tamis-twice-a1", line, {}, {}) for _ in range(3)] == [True, False, False]
    while not (standing := client.standing("tamis-twice-a1")).ended:
        pass
    assert (standing.status, (tmp_path / "told").read_text()) == ("SUCCEEDED", "once\n")
    assert client.standing("tamis-nobody-a1") is None
    client.stop("tamis-nobody-a1")
    assert client.log("tamis-nobody-a1") == ""


@pytest.mark.ray
@pytest.mark.long
def test_jobs_outlast_their_cluster(cluster, served, folder):
    running = served.submit(waiting_spec(folder, "outlasts"))["id"]
    until_asked(served, running)
    cluster.stop()
    until_note(served, running, "does not answer")
    ready = served.get("/readyz")
    assert (ready.status_code, "does not answer" in ready.json()["title"]) == (503, True)
    assert served.get(f"/v1/runs/{running}/log").status_code == 503
    assert served.get(f"/v1/runs/{running}").json()["state"] == "RUNNING"

    served.stop()
    served.options = (*served.options, "--jobs", "2")
    refused = _serve(served.folder, served.options, {"RAY_AUTH_TOKEN": TOKEN})
    assert refused.returncode == 5
    assert f"the Ray cluster at {cluster.url} does not answer" in refused.stderr
    cluster.start()
    served.start()
    until_asked(served, running, attempt=2)
    crash = [e for e in History(served.store, running).refresh() if e.data.get("state") == "CRASHED"]
    assert "does not know the job" in crash[0].data["note"]

    cluster.stop()
    queued = served.submit(spec_of(texts(folder), "queued"))["id"]
    note = until_note(served, queued, "the job waits for it", attempt=0)
    assert "does not answer" in note["note"]
    assert served.get(f"/v1/runs/{queued}").json()["state"] == "QUEUED"
    cluster.start()
    assert served.until(queued)["state"] == "SUCCEEDED"
    cancel(served, running)
    assert served.get("/readyz").status_code == 200


def test_a_service_whose_cluster_cannot_be_reached_says_so_in_a_sentence(tmp_path):
    url = f"http://127.0.0.1:{free_port()}"
    said = _serve(tmp_path, ("--launcher", "ray"), {"RAY_ADDRESS": url})
    assert said.returncode == 5
    [line] = said.stderr.splitlines()
    assert f"the Ray cluster at {url} does not answer" in line
    assert "--ray-address" in line


@pytest.mark.parametrize(
    ("options", "env", "words"),
    [
        (("--launcher", "ray"), {"RAY_ADDRESS": "127.0.0.1:6379"}, "RAY_ADDRESS is '127.0.0.1:6379'"),
        (("--launcher", "ray", "--engine", "local"), {}, "--engine local"),
        *(
            pytest.param(options, {}, words, marks=pytest.mark.long)
            for options, words in (
                (("--launcher", "ray", "--ray-address", "auto"), "--ray-address is 'auto'"),
                (("--launcher", "ray", "--address", "auto"), "leave --address"),
                (("--ray-address", "http://127.0.0.1:1"), "say --launcher ray"),
            )
        ),
    ],
)
def test_settings_that_fit_no_cluster_are_refused(tmp_path, options, env, words):
    said = _serve(tmp_path, options, env)
    assert (said.returncode, words in said.stderr) == (2, True), said.stderr


@pytest.fixture
def queued(tmp_path, store):
    """A job of a store that nobody has started."""
    text, digest = requests.body_of(spec_of(texts(tmp_path), "late"))
    request = requests.Request("late", "late", text, "nobody", requests.now(), digest, str(tmp_path))
    requests.accept(store, request)
    History(store, request.job).move(State.QUEUED)
    return request.job


def test_a_driver_begins_its_attempt_where_its_launcher_could_not_say_so(store, queued):
    assert drive(store, queued, 1, Options("local", 1)) is State.SUCCEEDED
    assert states(store, queued) == [("QUEUED", 0), ("STARTING", 1), ("RUNNING", 1), ("SUCCEEDED", 1)]


def test_a_driver_that_comes_too_late_does_nothing(store, queued):
    History(store, queued).move(State.CANCELLED)
    with pytest.raises(ConflictError, match="CANCELLED"):
        drive(store, queued, 1, Options("local", 1))
    History(store, queued).move(State.QUEUED)
    History(store, queued).move(State.STARTING, attempt=1)
    History(store, queued).move(State.CRASHED, attempt=1)
    History(store, queued).move(State.STARTING, attempt=2)
    with pytest.raises(ConflictError, match="attempt 2"):
        drive(store, queued, 1, Options("local", 1))
    assert list(store.list("runs/")) == []


def _serve(folder: Path, options, env) -> subprocess.CompletedProcess[str]:
    """`tamis serve` that must end by itself."""
    command = [sys.executable, "-m", "pipelines.cli", "serve", "--port", "0", "--store", str(folder / "store")]
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TAMIS_"))}
    process = subprocess.Popen(
        [*command, *options], stderr=subprocess.PIPE, text=True, env={**clean, "PYTHONPATH": str(ROOT), **env}
    )
    try:
        _, said = process.communicate(timeout=120)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            process.wait()
    return subprocess.CompletedProcess(command, process.returncode, "", said)
