"""The SDK and a real service between which connections break and which restarts: nothing is lost, and nothing done twice."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cut_connections import Proxy
from service_runs import Served, service, spec_of, texts

from pipelines.client import Client, State


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("connections")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder) as found:
        yield found


@pytest.fixture
def proxy(served: Served):
    with Proxy(served.url) as found:
        yield found


def waiting(folder: Path, learner: str):
    """A spec whose run waits for a person."""
    label = {"learner": learner, "oracle": "human", "budget": 4, "rounds": 1, "held_out": 0}
    return spec_of(texts(folder), f"waits-{learner}", label=label)


def answer_all(served: Served, learner: str) -> None:
    with Client(served.url, served.submitter) as tamis:
        questions = [q for q in tamis.labels(limit=100).questions if q["queue"].startswith(learner)]
        for question, label in zip(questions, ("high", "low") * 2, strict=True):
            tamis.label(question["queue"], question["doc_id"], label)


def test_an_answer_that_is_lost_does_not_make_a_second_job(served, proxy, folder):
    spec = spec_of(texts(folder), "lost-answer")
    proxy.limit(0, 10)  # the job is accepted, and nobody hears of it; then a line that breaks off
    with Client(proxy.url, served.submitter, patience=250) as tamis:
        job = tamis.submit(spec)
        assert proxy.connections >= 3
        assert [run.id for run in tamis.runs(name="lost-answer")] == [job.id]
        assert tamis.wait(job.id).check().state is State.SUCCEEDED


def test_a_stream_that_is_cut_again_and_again_tells_everything_once(served, proxy, folder):
    heard, asked = [], threading.Event()
    with Client(proxy.url, served.submitter, outage=250) as tamis, ThreadPoolExecutor(1) as pool:
        job = tamis.submit(waiting(folder, "cut")).id

        def listen() -> None:
            with Client(proxy.url, served.submitter, outage=250) as listener:
                for event in listener.events(job):
                    heard.append(event.number)
                    if "person's label" in str(event.data.get("note")):
                        asked.set()
                    proxy.cut()

        listening = pool.submit(listen)
        assert asked.wait(280)
        answer_all(served, "cut")
        listening.result(280)
    assert b"last-event-id: " in proxy.asked.lower()  # it went on where it was
    assert heard == [event["number"] for event in served.events(job)]


def test_a_download_through_breaking_lines_is_whole_and_fetches_nothing_twice(served, proxy, folder, tmp_path):
    path = folder / "large.jsonl"
    lines = (
        json.dumps({"id": str(i), "text": " ".join(f"{i * n * 7919 % 99_991:x}" for n in range(1, 60))})
        for i in range(9_000)
    )
    path.write_text("\n".join(lines))
    with Client(served.url, served.submitter) as tamis:
        run = tamis.wait(tamis.submit(spec_of(path, "large")).id).check()
        whole = tamis.download(run.id, tmp_path / "whole")
    nbytes = sum(file["bytes"] for file in whole.manifest["files"])
    proxy.limit(nbytes // 3, nbytes // 3)
    with Client(proxy.url, served.submitter, outage=250) as tamis:
        found = tamis.download(run.id, tmp_path / "out")
    assert proxy.connections >= 3
    assert b"range: bytes=" in proxy.asked.lower()
    for one, other in zip(found.files, whole.files, strict=True):
        assert one.read_bytes() == other.read_bytes()
    assert found.fetched < whole.fetched + nbytes // 10


def test_who_waits_does_not_notice_that_the_service_restarts(served, proxy, folder):
    heard, asked = [], threading.Event()

    def hear(event) -> None:
        heard.append(event.number)
        if "person's label" in str(event.data.get("note")):
            asked.set()

    with Client(proxy.url, served.submitter, outage=280) as tamis, ThreadPoolExecutor(1) as pool:
        job = tamis.submit(waiting(folder, "restart")).id
        ended = pool.submit(tamis.wait, job, hear=hear)
        assert asked.wait(280)
        served.kill()
        proxy.cut()
        served.start()
        proxy.aim(served.url)
        answer_all(served, "restart")
        run = ended.result(280).check()
    assert (run.state, run.attempt) == (State.SUCCEEDED, 1)
    assert heard == [event["number"] for event in served.events(job)]
