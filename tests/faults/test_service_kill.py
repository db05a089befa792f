"""kill -9 of the service is a normal event: every job that was accepted ends exactly once, with the export that it would have had.

The moments are drawn by seed over twice the time that a job takes here, so they fall before, in and after every part of a job's life.
"""

import random
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

import httpx
import pytest
from service_runs import Served, service, spec_of, texts

from pipelines.run import Options, run
from pipelines.spec import from_data
from pipelines.store import Store

MOMENTS, MANY = 1, 50
JOBS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def served(folder: Path) -> Iterator[Served]:
    with service(folder, "--jobs", "2") as found:
        yield found


@pytest.fixture(scope="module")
def usual(served: Served, folder: Path) -> float:
    """Seconds that a job takes from its submission to its end, once kernels are compiled."""
    for name in ("first", "usual"):
        began = time.monotonic()
        assert served.until(served.submit(job_spec(folder, name))["id"])["state"] == "SUCCEEDED"
    return time.monotonic() - began


def job_spec(folder: Path, name: str) -> dict[str, Any]:
    """A spec with a corpus of its own, so that nothing of it was computed before."""
    path = folder / f"{name}.jsonl"
    if not path.exists():
        plain = texts(folder, 60, "plain.jsonl").read_text()
        path.write_text(plain.replace("aaaword", f"{name.replace('-', '')}word"))
    measure = {"clean": {"kind": "normalize"}, "stats": {"kind": "text_stats"}, "copies": {"kind": "exact_duplicates"}}
    keep = [
        {"column": "stats.words", "ge": 10, "on_null": "drop", "reason": "short"},
        {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
    ]
    return spec_of(path, name, measure=measure, keep=keep)


def kill_after(served: Served, seconds: float) -> None:
    """End the server as a crash would, some time from now."""
    assert served.process is not None
    try:
        served.process.wait(seconds)
    except TimeoutExpired:
        served.kill()


def attempt(served: Served, spec: dict[str, Any]) -> str | None:
    """Submit once, as a client whose answer may never come; gives the job where it came."""
    try:
        return str(served.submit(spec, key=spec["name"])["id"])
    except httpx.TransportError:
        return None


def undisturbed(folder: Path, spec: dict[str, Any]) -> dict[str, str]:
    """The files of the export that a spec has when nothing happens, with their hashes."""
    store = Store.open(folder / "undisturbed")
    done = run(from_data(spec, folder), store, Options("local", 1))
    manifest = store.get_json(f"{Path(done['export']).relative_to(store.url)}/manifest.json")
    return {file["name"]: file["sha256"] for file in manifest["files"]}


def ended_once(served: Served, folder: Path, spec: dict[str, Any], told: set[str]) -> None:
    """A job that was accepted is there once, ended once, was done once, and left what it should."""
    found = served.get("/v1/runs", params={"name": spec["name"], "limit": 200}).json()["runs"]
    [job] = [one["id"] for one in found if one["managed"]]
    assert told <= {job}, "who was told of a job was told of this one"
    assert served.until(job)["state"] == "SUCCEEDED"
    states = [event["state"] for event in served.events(job) if event["type"] == "state"]
    assert states.count("SUCCEEDED") == 1
    assert states[-1] == "SUCCEEDED"
    assert states.count("QUEUED") == 1
    assert states.count("RUNNING") == 1, "a driver outlives the service, so the work was done once"
    manifest = served.get(f"/v1/runs/{job}/export").json()["manifest"]
    assert {file["name"]: file["sha256"] for file in manifest["files"]} == undisturbed(folder, spec)


def one_moment(served: Served, folder: Path, usual: float, seed: int) -> None:
    moments = random.Random(seed)
    specs = [job_spec(folder, f"seed-{seed}-{n}") for n in range(JOBS)]
    told: list[set[str]] = [set() for _ in specs]
    for again in range(2):  # the second kill meets a service that is finding out about the first
        with ThreadPoolExecutor(JOBS) as pool:
            answers: list[Future[str | None]] = [pool.submit(attempt, served, spec) for spec in specs]
            kill_after(served, moments.uniform(0, 2 * usual / (1 + 3 * again)))
        for known, answer in zip(told, answers, strict=True):
            known |= {job for job in [answer.result()] if job is not None}
        served.start()
    for spec, known in zip(specs, told, strict=True):
        known.add(str(served.submit(spec, key=spec["name"])["id"]))
        ended_once(served, folder, spec, known)


@pytest.mark.parametrize("seed", range(MOMENTS))
def test_a_service_that_is_killed_loses_no_job_and_does_none_twice(served, folder, usual, seed):
    one_moment(served, folder, usual, seed)


@pytest.mark.long
@pytest.mark.timeout(14_400)
def test_fifty_kills_lose_no_job_and_do_none_twice(served, folder, usual):
    for seed in range(MOMENTS, MOMENTS + MANY):
        one_moment(served, folder, usual, seed)


def test_twenty_posts_with_one_key_through_a_kill_make_one_run(served, folder, usual):
    spec = job_spec(folder, "twenty")
    jobs: set[str | None] = set()
    with ThreadPoolExecutor(20) as pool:
        for kill in (True, False):
            answers = [pool.submit(attempt, served, spec) for _ in range(20)]
            if kill:
                kill_after(served, random.Random(20).uniform(0, usual / 2))
            jobs |= {answer.result() for answer in answers}
            if kill:
                served.start()
    assert len(jobs - {None}) == 1
    ended_once(served, folder, spec, jobs - {None})
    runs = [path for path in (folder / "store" / "runs").iterdir() if path.name.startswith("twenty")]
    assert len(runs) == 1


def answers(served: Served) -> dict[str, Any]:
    """What the service says of every run."""
    listed = served.get("/v1/runs", params={"limit": 200}).json()
    found: dict[str, Any] = {"runs": listed}
    for one in listed["runs"]:
        for path in ("", "/plan", "/steps", "/spec", "/export", "/report?format=json", "/documents?limit=5", "/log"):
            answer = served.get(f"/v1/runs/{one['id']}{path}")
            found[f"{one['id']}{path}"] = (answer.status_code, answer.content)
        found[f"{one['id']}/events"] = list(served.events(one["id"]))
    return found


def test_a_service_that_lost_its_database_gives_the_same_answers(served, folder, usual):
    before = answers(served)
    assert {status for key, found in before.items() if isinstance(found, tuple) for status in [found[0]]} == {200}
    served.kill()
    for path in (folder / "store" / "service" / "state").glob("service.db*"):
        path.unlink()
    served.options = (*served.options, "--reindex")
    served.start()
    assert answers(served) == before
