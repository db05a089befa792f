import http.client
import pickle
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.commit import Attempt, committed
from pipelines.engine_local import LocalEngine
from pipelines.store import Store
from stages.errors import StorageError

pytestmark = pytest.mark.s3

FOLDER = "steps/stats-0123456789abcdef"


class Proxy(ThreadingHTTPServer):
    """Stands between a client and the S3 server and breaks what it is told to, as networks and endpoints do."""

    daemon_threads = True

    def __init__(self, endpoint: str) -> None:
        super().__init__(("127.0.0.1", 0), _Forward)
        self.target = urlsplit(endpoint).netloc
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.lose_answers = 0  # to conditional writes: they arrive, and the connection breaks
        self.conflicts = 0  # conditional writes answered with 409
        self.unavailable = 0  # requests answered with 503
        self.ignore_conditions = False


class _Forward(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        conditional = self.headers.get("If-None-Match") is not None
        if self.server.unavailable:
            self.server.unavailable -= 1
            return self._answer(503, b"<Error><Code>SlowDown</Code></Error>", {})
        if conditional and self.server.conflicts:
            self.server.conflicts -= 1
            return self._answer(409, b"<Error><Code>ConditionalRequestConflict</Code></Error>", {})
        headers = dict(self.headers.items())
        if self.server.ignore_conditions:
            headers.pop("If-None-Match", headers.pop("if-none-match", None))
        upstream = http.client.HTTPConnection(self.server.target)
        upstream.request(self.command, self.path, body, headers)
        answer = upstream.getresponse()
        content = answer.read()
        upstream.close()
        if conditional and self.server.lose_answers:
            self.server.lose_answers -= 1
            self.close_connection = True
            return None
        return self._answer(answer.status, content, dict(answer.getheaders()))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # the names that http.server calls

    def _answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in {"connection", "content-length", "date", "server", "transfer-encoding"}:
                self.send_header(name, value)
        length = headers.get("Content-Length", str(len(content))) if self.command == "HEAD" else str(len(content))
        self.send_header("Content-Length", length)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name that http.server gives
        """Say nothing: failures are the point."""


@pytest.fixture
def bucket(s3_server: dict[str, Any], request: pytest.FixtureRequest) -> Store:
    return Store.open(f"s3://{s3_server['bucket']}/{request.node.name}")


@pytest.fixture
def proxy(s3_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with Proxy(s3_server["endpoint"]) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def far(proxy: Proxy, s3_server: dict[str, Any], request: pytest.FixtureRequest) -> Store:
    """A store behind the proxy."""
    return Store.open(f"s3://{s3_server['bucket']}/{request.node.name}")


def test_only_the_first_create_wins(bucket: Store) -> None:
    assert [bucket.create("a/b.json", b"first"), bucket.create("a/b.json", b"second")] == [True, False]
    assert bucket.get("a/b.json") == b"first"


def test_absent_is_an_answer_to_find_and_a_failure_to_get(bucket: Store) -> None:
    assert (bucket.find("none"), bucket.size("none")) == (None, None)
    for read in (bucket.get, bucket.open_input, lambda p: bucket.read_range(p, 0, 1)):
        with pytest.raises(StorageError, match="none"):
            read("none")


def test_a_committed_parquet_file_reads_back_through_ranged_requests(bucket: Store) -> None:
    table = pa.table({"text": ["naïve", "漢字 かな", "שלום", "👩‍👩‍👧", "e\u0301"]})
    with Attempt(bucket, FOLDER, "shard") as attempt:
        with attempt.file() as path:
            pq.write_table(table, path)
        record = attempt.commit({"count": 5})

    assert committed(bucket, FOLDER, "shard") == record
    with bucket.open_input(record["files"][0]["path"]) as file:
        assert pq.read_table(file).equals(table)
    assert not (bucket.scratch() / path.name).exists()


def test_a_file_of_many_parts_arrives_whole(bucket: Store) -> None:
    data = bytes(range(256)) * 50_000
    local = bucket.scratch() / f"parts-{bucket.url.rpartition('/')[2]}"
    local.write_bytes(data)

    bucket.upload(local, "a/big")

    assert bucket.get("a/big") == data
    assert bucket.read_range("a/big", 10_000_000, 5) == data[10_000_000:10_000_005]


def test_a_listing_is_sorted_and_deleting_is_the_same_twice(bucket: Store) -> None:
    for path in ("s/b/2", "s/b/10", "s/a.x", "s/a/z", "sister/x"):
        bucket.create(path, b"")
    bucket.delete("s/b/2")
    bucket.delete("s/b/2")

    assert list(bucket.list("s")) == ["s/a.x", "s/a/z", "s/b/10"]


def test_the_loser_deletes_its_files(bucket: Store) -> None:
    with Attempt(bucket, FOLDER, "shard") as first, Attempt(bucket, FOLDER, "shard") as second:
        for attempt in (first, second):
            with attempt.file(".bin") as path:
                path.write_bytes(attempt.id.encode())
        won, lost = first.commit({}), second.commit({})

    assert won == lost
    assert list(bucket.list("steps")) == [f"{FOLDER}/commits/shard.json", first.path(".bin")]


def test_a_pickled_store_holds_no_credentials(bucket: Store) -> None:
    bucket.create("a", b"1")
    data = pickle.dumps(bucket)

    assert pickle.loads(data).get("a") == b"1"
    assert bucket.url.encode() in data
    assert len(data) < 200 + len(bucket.url)


@pytest.mark.parametrize("name", ["local", pytest.param("ray", marks=pytest.mark.ray)])
def test_workers_of_both_engines_open_the_bucket_again(
    bucket: Store, request: pytest.FixtureRequest, name: str
) -> None:
    engine = request.getfixturevalue("ray_engine") if name == "ray" else LocalEngine(2)
    won = [o.value for o in engine.each([partial(bucket.create, "one", b"1")] * 6)]
    if name == "local":
        engine.close()

    assert sorted(won) == [False] * 5 + [True]


def test_a_write_whose_answer_was_lost_is_recognised_as_our_own(far: Store, proxy: Proxy) -> None:
    proxy.lose_answers = 1
    with Attempt(far, FOLDER, "shard") as attempt:
        with attempt.file(".bin") as path:
            path.write_bytes(b"data")
        record = attempt.commit({})

    assert record["attempt"] == attempt.id
    assert far.get(attempt.path(".bin")) == b"data"


def test_a_write_whose_every_answer_was_lost_is_recognised_too(far: Store, proxy: Proxy) -> None:
    proxy.lose_answers = 100
    with Attempt(far, FOLDER, "shard") as attempt:
        record = attempt.commit({})

    assert record["attempt"] == attempt.id


def test_a_conflict_is_tried_again(far: Store, proxy: Proxy) -> None:
    proxy.conflicts = 3

    assert far.create("a", b"1")
    assert (proxy.conflicts, far.get("a")) == (0, b"1")


def test_an_endless_conflict_is_a_storage_error(far: Store, proxy: Proxy) -> None:
    proxy.conflicts = 1_000_000

    with pytest.raises(StorageError, match=r"cannot write 'a'.*conflict each time"):
        far.create("a", b"1")


def test_a_server_that_is_busy_for_a_moment_is_asked_again(far: Store, proxy: Proxy) -> None:
    proxy.unavailable = 2

    assert far.create("a", b"1")
    assert (proxy.unavailable, far.get("a")) == (0, b"1")


def test_an_endpoint_that_ignores_conditions_is_refused(proxy: Proxy, s3_server: dict[str, Any]) -> None:
    proxy.ignore_conditions = True

    with pytest.raises(StorageError, match="ignores If-None-Match"):
        Store.open(f"s3://{s3_server['bucket']}/careless")


def test_a_server_that_is_gone_is_a_storage_error(s3_server: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    with pytest.raises(StorageError, match=r"cannot read 'format.json' in s3://corpus/gone"):
        Store.open("s3://corpus/gone")
