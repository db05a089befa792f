"""What is asked of a Ray cluster's job server: where it is, and answers that come late, never, or from somebody else."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipelines.service.launchers import cluster
from pipelines.service.launchers.cluster import Backoff, Cluster, ClusterError, Standing, job_server
from pipelines.service.launchers.ray_jobs import RayJobsLauncher
from pipelines.service.settings import Settings
from stages.errors import SpecError


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in cluster.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN", "a-token")


@contextmanager
def answering(*pieces: bytes, again: bytes = b"") -> Iterator[tuple[str, list[bytes]]]:
    """A server that answers every request with some bytes, then with `again` for ever; gives its URL and what it heard."""
    heard: list[bytes] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection:
                try:
                    heard.append(connection.recv(1 << 16))
                    for piece in pieces:
                        connection.sendall(piece)
                    while again:
                        connection.sendall(again)
                    while not pieces and connection.recv(1):
                        pass
                except OSError:
                    continue

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", heard
    finally:
        listening.shutdown(socket.SHUT_RDWR)
        listening.close()
        thread.join()


def said(status: str, body: str) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


def test_the_address_is_the_given_one_else_the_environments_else_rays_default(monkeypatch):
    assert job_server(None) == "http://127.0.0.1:8265"
    monkeypatch.setenv("RAY_ADDRESS", "http://head:8265/")
    assert job_server(None) == "http://head:8265"
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", "https://api/ray")
    assert job_server(None) == "https://api/ray"
    assert job_server("http://mine:1") == "http://mine:1"


@pytest.mark.parametrize(
    "address",
    ["auto", "head:6379", "ray://head:10001", "http://", "http://a:b", "http://u:pw@h", "http://h?x", "http://["],
)
def test_what_is_no_address_of_a_job_server_is_refused_in_a_sentence(address):
    with pytest.raises(SpecError, match="write --ray-address http://HEAD:8265") as error:
        job_server(address)
    assert ":pw@" not in error.value.message


def test_a_cluster_that_takes_a_call_and_never_answers_is_given_up_in_time_and_left_alone_for_a_while():
    with answering() as (url, heard):
        client = Cluster(url, seconds=0.2)
        began = time.monotonic()
        with pytest.raises(ClusterError, match="does not answer"):
            client.check()
        for _ in range(100):
            with pytest.raises(ClusterError, match="does not answer"):
                client.standing("tamis-x-a1")
        assert time.monotonic() - began < 5
        assert len(heard) == 1
        assert b"authorization: bearer a-token" in heard[0].lower()


def test_an_answer_without_an_end_is_given_up():
    with answering(b"HTTP/1.1 200 OK\r\n\r\n", again=b" " * 65_536) as (url, _):
        began = time.monotonic()
        with pytest.raises(ClusterError, match="does not end"):
            Cluster(url, seconds=1.0).check()
        assert time.monotonic() - began < 60


def test_what_is_no_job_server_is_no_witness_of_a_jobs_end():
    with answering(said("404 Not Found", "404: Not Found")) as (url, _):
        client = Cluster(url)
        for call in (client.check, lambda: client.standing("tamis-x-a1"), lambda: client.stop("tamis-x-a1")):
            with pytest.raises(ClusterError, match="refuses with 404: 404: Not Found"):
                call()
    with answering(said("404 Not Found", "Job tamis-x-a1 does not exist")) as (url, _):
        assert Cluster(url).standing("tamis-x-a1") is None
    with answering(said("200 OK", "<html>")) as (url, _), pytest.raises(ClusterError, match="<html>"):
        Cluster(url).standing("tamis-x-a1")


def test_a_cluster_that_wants_another_token_says_which_variable_has_it():
    with answering(said("403 Forbidden", "no")) as (url, _), pytest.raises(ClusterError, match="RAY_AUTH_TOKEN_PATH"):
        Cluster(url).check()


def test_a_name_that_was_submitted_before_is_found_and_other_refusals_are_told():
    with answering(said("500 X", "Trace\nValueError: Job with submission_id tamis-x-a1 already exists. Use")) as (
        url,
        _,
    ):
        assert Cluster(url).submit("tamis-x-a1", "true", {}, {}) is False
    with answering(said("500 X", "Trace\nNo available agent")) as (url, _), pytest.raises(ClusterError, match="agent"):
        Cluster(url).submit("tamis-x-a1", "true", {}, {})


def test_who_starts_a_service_is_told_that_another_machine_must_see_its_folder(store, tmp_path):
    with answering(said("200 OK", '{"ray_version": "2.60.0"}')) as (url, _):
        other = url.replace("127.0.0.1", "0.0.0.0")  # the same server, and no loopback address
        remarks = [
            RayJobsLauncher(store, Settings(store.url, tmp_path, launcher="ray", ray_address=address)).remark()
            for address in (url, other)
        ]
    assert remarks[0] is None
    assert f"the store {store.url} is a folder" in remarks[1]
    assert other in remarks[1]


def test_pauses_grow_to_half_a_minute_and_begin_anew_when_it_works():
    now, pauses = 0.0, []
    backoff = Backoff(lambda: now)
    assert backoff.waiting() is None
    for _ in range(8):
        backoff.failed(ClusterError("away"))
        began = now
        while backoff.waiting() is not None:
            now += 0.5
        pauses.append(now - began)
    assert pauses == [1, 2, 4, 8, 16, 30, 30, 30]
    backoff.worked()
    assert backoff.trouble is None
    backoff.failed(ClusterError("away"))
    now += 1
    assert backoff.waiting() is None


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ("", ""),
        ("Job supervisor actor died: x", "Job supervisor actor died: x"),
        (
            "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\na\nNo module\n",
            "Job entrypoint command failed with exit code 1: No module",
        ),
    ],
)
def test_the_last_words_of_a_job_are_one_line(message, words):
    assert Standing("FAILED", message).last_words == words
