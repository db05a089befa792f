"""Limits of a token: jobs that run at once, their workers together, bytes that one may read."""

import pytest
from service_runs import Served, service, spec_of, texts, until_asked, waiting_spec


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with service(tmp_path_factory.mktemp("quotas"), "--jobs", "4") as found:
        yield found


def state(served: Served, job: str):
    return served.get(f"/v1/runs/{job}").json()["state"]


def ended(served: Served, *jobs: str):
    for job in jobs:
        served.post(f"/v1/runs/{job}/cancel")
        assert served.until(job)["state"] == "CANCELLED"


def test_a_token_runs_no_more_jobs_at_once_than_it_may_and_others_pass_by(served):
    own = served.token("submit", running=1)
    first = served.submit(waiting_spec(served.folder, "first"), own)["id"]
    until_asked(served, first)
    second = served.submit(waiting_spec(served.folder, "second"), own, priority=9)["id"]
    other = served.submit(waiting_spec(served.folder, "other"))["id"]
    until_asked(served, other)
    assert state(served, second) == "QUEUED"
    ended(served, first)
    until_asked(served, second)
    ended(served, second, other)


def test_the_running_jobs_of_a_token_have_no_more_workers_together_than_it_may(served):
    own = served.token("submit", workers=2)
    first = served.submit(waiting_spec(served.folder, "one"), own, workers=1)["id"]
    until_asked(served, first)
    wide = served.submit(waiting_spec(served.folder, "wide"), own, workers=2)["id"]
    narrow = served.submit(waiting_spec(served.folder, "narrow"), own, workers=1)["id"]
    until_asked(served, narrow)
    assert state(served, wide) == "QUEUED"
    ended(served, first, narrow)
    until_asked(served, wide)
    ended(served, wide)


def test_a_job_reads_no_more_bytes_than_its_token_may(served):
    path = texts(served.folder)
    size = path.stat().st_size
    refused = served.post("/v1/runs", {"spec": spec_of(path, "large")}, served.token("submit", bytes_in=size - 1))
    assert (refused.status_code, refused.json()["type"]) == (422, "quota-error")
    assert (refused.json()["bytes"], refused.json()["limit"]) == (size, size - 1)
    job = served.submit(spec_of(path, "fits"), served.token("submit", bytes_in=size))["id"]
    assert served.until(job)["state"] == "SUCCEEDED"
