"""What the SDK does about connections that break and services that refuse, against a small server that does just that."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from service_runs import looped

from pipelines.client import (
    AsyncClient,
    Client,
    DataError,
    State,
    StorageError,
    TooManyError,
    UnfinishedError,
    UnreachableError,
)
from pipelines.client.server_events import Message, Parser

RUN: dict = {
    "id": "job",
    "name": "small",
    "managed": True,
    "state": "RUNNING",
    "version": 2,
    "pinned": False,
    **dict.fromkeys(("created", "updated", "priority", "restarts", "attempt"), 0),
    **dict.fromkeys(("run", "token", "progress", "total", "error", "export")),
}
EVENTS = [
    {"type": "state", "attempt": 0, "state": "QUEUED"},
    {"type": "state", "attempt": 1, "state": "RUNNING"},
    {"type": "progress", "attempt": 1, "step": "stats", "done": 1, "total": 2, "bytes": 3},
    {"type": "note", "attempt": 1, "note": "é\u2028 waits"},
    {"type": "state", "attempt": 1, "state": "SUCCEEDED", "run": "r", "export": "e", "total": {"exported": 1}},
]
DATA = bytes(range(256)) * 20_000


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        """Say nothing."""

    def do_GET(self):
        self.server.play(self, self.path.partition("?")[0])

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts.append((self.headers["Idempotency-Key"], body))
        self.server.play(self, self.path)

    def tell(self, value, status=200, **headers):
        self.send(json.dumps(value).encode(), status, **headers)

    def send(self, data, status=200, *, size=None, **headers):
        self.send_response(status)
        self.send_header("Content-Length", str(len(data) if size is None else size))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(data)

    def stream(self):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        return lambda text: self.wfile.write(b"%x\r\n%s\r\n" % (len(text.encode()), text.encode()))

    def break_off(self):
        self.close_connection = True
        self.connection.shutdown(2)


class Playing(ThreadingHTTPServer):
    """Breaks off streams and files the first times, and refuses what is posted."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.posts, self.streams, self.ranges, self.ends = [], [], [], threading.Event()
        self.served = DATA
        self.manifest = {
            "files": [{"name": "data.bin", "bytes": len(DATA), "sha256": hashlib.sha256(DATA).hexdigest()}]
        }

    def play(self, http, path):
        if http.command == "POST":
            self.posted(http)
        elif path.endswith("/events"):
            self.events(http, path)
        elif path == "/v1/runs/job" and len(self.streams) > 2:
            http.tell(RUN | {"state": "SUCCEEDED", "version": 5})
        elif path in ("/v1/runs/job", "/v1/runs/silent"):
            http.tell(RUN | {"id": path.rpartition("/")[2]})
        elif path.endswith("/export"):
            http.tell({"run": "r", "path": "e", "manifest": self.manifest})
        elif path.endswith("/data.bin"):
            self.file(http)
        elif path.endswith("/manifest.json"):
            http.tell(self.manifest)
        else:
            http.tell({"type": "not-found-error", "status": 404, "title": "there is no such thing"}, 404)

    def posted(self, http):
        if len(self.posts) == 1:
            http.break_off()
        elif len(self.posts) == 2:
            http.tell({"type": "quota-error", "status": 429, "title": "wait"}, 429, Retry_After="0")
        elif len(self.posts) == 3:
            http.tell({"type": "storage-error", "status": 503, "title": "wait"}, 503, Retry_After="0")
        else:
            http.tell(RUN, 202)

    def events(self, http, path):
        after = int(http.headers.get("Last-Event-ID", 0))
        self.streams.append(after)
        say = http.stream()
        say(": still there\n\n")
        if "silent" in path:
            self.ends.wait(60)
            return http.break_off()
        breaks = len(self.streams) < 3
        for number, event in list(enumerate(EVENTS, 1))[after : after + 2 if breaks else None]:
            say(f"id: {number}\ndata: {json.dumps({'number': number, 'at': 1.0, **event}, ensure_ascii=False)}\n\n")
        if breaks:
            say("id: 7\nda")
            return http.break_off()
        return http.wfile.write(b"0\r\n\r\n")

    def file(self, http):
        start = int((http.headers.get("Range") or "bytes=0-")[6:-1])
        self.ranges.append(start)
        if start == 0 and len(self.ranges) == 1:
            http.send(self.served[:3_000_000], size=len(self.served))
            http.break_off()
        else:
            http.send(self.served[start:], 206 if start else 200)


@pytest.fixture
def server():
    with Playing() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.ends.set()
        found.shutdown()


def blocking(server, what):
    with Client(server.url, "token", patience=60) as tamis:
        found = getattr(tamis, what[0])(*what[1:])
        return list(found) if what[0] == "events" else found


def awaited(server, what):
    async def go():
        async with AsyncClient(server.url, "token", patience=60) as tamis:
            found = getattr(tamis, what[0])(*what[1:])
            return [event async for event in found] if what[0] == "events" else await found

    return looped(go())


both = pytest.mark.parametrize("do", [blocking, awaited])


@both
def test_a_job_is_submitted_with_one_key_however_often_it_takes(do, server):
    assert do(server, ("submit", {"name": "small"})).id == "job"
    assert len(server.posts) == 4
    assert len(set(server.posts)) == 1


@both
def test_every_event_comes_once_over_broken_streams(do, server):
    found = do(server, ("events", "job"))
    assert [event.number for event in found] == [1, 2, 3, 4, 5]
    assert [event.state for event in found if event.state] == [State.QUEUED, State.RUNNING, State.SUCCEEDED]
    assert found[3].data == {"note": "é\u2028 waits"}
    assert server.streams == [0, 2, 4]


@both
def test_waiting_goes_on_over_broken_streams_and_ends_with_the_run(do, server):
    assert do(server, ("wait", "job")).check().state is State.SUCCEEDED


@both
def test_waiting_ends_in_time_though_the_stream_is_silent(do, server):
    with pytest.raises(UnfinishedError):
        do(server, ("wait", "silent", 1.2))


@both
def test_a_download_goes_on_where_it_broke_off(do, server, tmp_path):
    found = do(server, ("download", "job", tmp_path))
    assert (tmp_path / "data.bin").read_bytes() == DATA
    assert server.ranges[0] == 0
    assert 0 < server.ranges[1] <= 3_000_000
    assert found.fetched >= len(DATA)


def test_what_was_left_of_another_file_is_fetched_anew(server, tmp_path):
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1_000)
    blocking(server, ("download", "job", tmp_path))
    assert (tmp_path / "data.bin").read_bytes() == DATA
    assert server.ranges == [1_000, 0]


@pytest.mark.parametrize("served", [DATA[:-1], DATA + b"x", DATA[:-1] + b"x"])
def test_a_file_that_is_not_what_the_manifest_says_is_never_there(server, tmp_path, served):
    server.served = served
    with pytest.raises(DataError, match=r"data\.bin is not what the manifest says"):
        blocking(server, ("download", "job", tmp_path))
    assert not (tmp_path / "data.bin").exists()
    assert not (tmp_path / "manifest.json").exists()


def test_a_manifest_names_nothing_outside_the_folder(server, tmp_path):
    for name in ("../data.bin", "/etc/data.bin", "a/../../data.bin", "a\\b"):
        server.manifest = {"files": [{"name": name, "bytes": 1, "sha256": ""}]}
        with pytest.raises(DataError, match="no file of an export"):
            blocking(server, ("download", "job", tmp_path / "out"))


def test_a_client_without_patience_is_told_what_is_wrong(server):
    spec = {"name": "small"}
    with Client(server.url, "token", patience=0) as tamis:
        with pytest.raises(UnreachableError, match="does not answer"):
            tamis.submit(spec)
        with pytest.raises(TooManyError) as refused:
            tamis.submit(spec)
        assert refused.value.problem() == {"type": "quota-error", "status": 429, "title": "wait", "retry_after": 0}
        with pytest.raises(StorageError, match="wait"):
            tamis.submit(spec)
    with Client("http://127.0.0.1:1", "token", patience=0) as nowhere, pytest.raises(UnreachableError) as error:
        nowhere.run("job")
    assert error.value.exit_code == StorageError.exit_code


lines = st.text(st.characters(codec="utf-8", exclude_characters="\r\n\0"), max_size=8)


@given(
    st.lists(st.tuples(lines, st.lists(lines, min_size=1, max_size=3))),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.data(),
)
def test_messages_do_not_depend_on_how_their_bytes_were_cut(told, end, data):
    text = "".join(
        end.join([": still there", "", f"id: {i}", *(f"data: {line}" for line in parts), "", ""]) for i, parts in told
    )
    raw = (text + end).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    parser = Parser()
    chunks = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    found = [message for chunk in chunks for message in parser.feed(chunk)]
    if end == "\r":
        found += parser.feed(b"x")  # who ended the last line with \r might have meant \r\n
    assert found == [Message(i, "message", "\n".join(parts)) for i, parts in told]
