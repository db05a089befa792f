"""What tests of the service are made of: a real server on loopback, its tokens, and jobs that end.

    with service(tmp_path) as served:
        job = served.submit(spec_of(corpus))["id"]
        assert served.until(job)["state"] == "SUCCEEDED"

The store is `tmp_path / "store"`, and `tmp_path` is a root: specs may read what a test writes there.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from pipelines.service import tokens
from pipelines.service.tokens import Quota
from pipelines.store import Store

ROOT = Path(__file__).parents[2]
PATIENCE = 280.0
WORDS = [letter * 3 + "word" for letter in "abcdefghijklmnopqrstuvwxyz"]
ENDED = ("SUCCEEDED", "FAILED", "CANCELLED")


@dataclass
class Served:
    """A service, started or not. Its tokens live in the store, so they hold over restarts."""

    folder: Path
    options: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    url: str = ""
    sign_in: str = ""
    first_token: str | None = None
    process: subprocess.Popen[str] | None = None

    def __post_init__(self) -> None:
        self.store = Store.open(self.folder / "store")
        self.admin = self.token("admin")
        self.submitter = self.token("submit")
        self.reader = self.token("read")

    def token(self, scope: str, **quota: int) -> str:
        """A new token of that scope, with limits of its own."""
        return tokens.create(self.store, scope, quota=Quota(**quota))[0]

    def start(self) -> "Served":
        """Start a server process and wait until it listens."""
        command = [sys.executable, "-m", "pipelines.cli", "serve", "--port", "0", "--store", self.store.url]
        command += ["--root", str(self.folder), "--engine", "local", "--workers", "1", *self.options]
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", **self.env}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, cwd=self.folder)
        assert self.process.stderr is not None
        said = []
        for line in self.process.stderr:
            said.append(line)
            *_, last = line.split() or [""]
            if " at http" in line:
                self.url = last
            elif "first admin token" in line:
                self.first_token = last
            elif "/sign-in?link=" in line:
                self.sign_in = last
                break
        else:
            raise AssertionError(f"the service ended with {self.process.wait()}: {''.join(said)}")
        self.log = _Drained(self.process)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End the server; its drivers go on."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End the server as a crash would."""
        self.stop(signal.SIGKILL)

    def client(self, token: str | None = None, **options: Any) -> httpx.Client:
        """An HTTP client with a token; without one it has the admin's."""
        headers = {"Authorization": f"Bearer {self.admin if token is None else token}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE, trust_env=False, **options)

    def get(self, path: str, token: str | None = None, **options: Any) -> httpx.Response:
        """GET with a token."""
        with self.client(token) as client:
            return client.get(path, **options)

    def post(self, path: str, body: Any = None, token: str | None = None, **options: Any) -> httpx.Response:
        """POST JSON with a token."""
        with self.client(token) as client:
            return client.post(path, json=body, **options)

    def submit(self, spec: Mapping[str, Any], token: str | None = None, key: str | None = None, **fields: Any) -> Any:
        """Submit a spec that must be accepted; gives the job."""
        headers = {} if key is None else {"Idempotency-Key": key}
        answer = self.post("/v1/runs", {"spec": spec, **fields}, token, headers=headers)
        assert answer.status_code in (200, 202), answer.text
        return answer.json()

    def events(self, job: str, after: int = 0) -> Iterator[dict[str, Any]]:
        """A job's events as they come, until the stream ends."""
        headers = {"Last-Event-ID": str(after)} if after else {}
        with self.client() as client, client.stream("GET", f"/v1/runs/{job}/events", headers=headers) as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    yield json.loads(line.removeprefix("data: "))

    def until(self, job: str, states: Sequence[str] = ENDED) -> Any:
        """Wait until a job is in one of some states, or has ended; gives the job."""
        after = 0
        while (found := self.get(f"/v1/runs/{job}").json())["state"] not in (*states, *ENDED):
            for event in self.events(job, after):  # also what was before it was resumed
                after = event["number"]
                if event["type"] == "state" and event["state"] in states:
                    break
        return found


class _Drained:
    """Reads what a server prints, so that its pipe is never full."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr is not None
        with process.stderr:
            self.lines.extend(process.stderr)


@contextmanager
def service(folder: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
    """A started service over `folder / "store"`, with `folder` as its root; ended afterwards, with its drivers."""
    served = Served(folder, options, env or {}).start()
    try:
        yield served
    finally:
        if served.process is not None and served.process.poll() is None:
            served.stop()
        end_drivers(folder / "store")


def drivers(store: Path) -> list[int]:
    """The pids of the drivers that work on jobs of a store."""
    found = []
    for lock in (store / "service" / "state" / "jobs").glob("*/lock"):
        text = lock.read_text().strip()
        command = Path(f"/proc/{text}/cmdline")
        if text.isdigit() and command.exists() and b"pipelines.service.driver" in command.read_bytes():
            found.append(int(text))
    return found


def end_drivers(store: Path) -> None:
    """End every driver of a store with all of its processes."""
    for pid in drivers(store):
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def texts(folder: Path, documents: int = 40, name: str = "texts.jsonl") -> Path:
    """A small corpus of documents of 1 to 40 words, written once."""
    path = folder / name
    lines = [
        {"id": f"doc-{i}", "text": " ".join(WORDS[(i * 7 + n) % 26] for n in range(1 + i % 40))}
        for i in range(documents)
    ]
    if not path.exists():
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def looped(doing: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine gives, run in a thread of its own: a browser of other tests may have a loop in this one."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, doing).result()


def spec_of(path: Path, name: str = "small", **sections: Any) -> dict[str, Any]:
    """A spec that keeps documents of 10 words or more and rejects the others."""
    return {
        "name": name,
        "source": {"kind": "jsonl", "path": str(path)},
        "measure": {"stats": {"kind": "text_stats"}},
        "keep": [{"column": "stats.words", "ge": 10, "on_null": "drop", "reason": "short"}],
        "write": {"kind": "parquet"},
        **sections,
    }


def waiting_spec(folder: Path, learner: str, budget: int = 4) -> dict[str, Any]:
    """A spec whose run waits until a person has labelled documents."""
    label = {"learner": learner, "oracle": "human", "budget": budget, "rounds": 1, "held_out": 0}
    return spec_of(texts(folder), f"waits-{learner}", label=label)


def until_note(served: Served, job: str, words: str, attempt: int = 1) -> dict[str, Any]:
    """Wait until a note of an attempt says something."""
    for event in served.events(job):
        if event["type"] == "note" and event["attempt"] == attempt and words in event["note"]:
            return event
    raise AssertionError(served.get(f"/v1/runs/{job}").json())


def until_asked(served: Served, job: str, attempt: int = 1) -> None:
    """Wait until an attempt of a job asks for labels."""
    until_note(served, job, "wait for a person's label", attempt)


def given_up(served: Served) -> tuple[str, list[str]]:
    """A job whose process ends before it begins, four times; gives it and what was said of each crash."""
    there, away = served.folder / "store" / "format.json", served.folder / "format.json"
    there.rename(away)  # to drivers, which open the store anew, it is none
    try:
        job = served.submit(spec_of(texts(served.folder), "hopeless"))["id"]
        crashes: list[dict[str, Any]] = []
        for event in served.events(job):
            crashes += [event] if event.get("state") == "CRASHED" else []
            if len(crashes) == 4:
                break
    finally:
        away.rename(there)
    assert [event["attempt"] for event in crashes] == [1, 2, 3, 4]
    assert served.until(served.submit(spec_of(texts(served.folder), "hopeful"))["id"])["state"] == "SUCCEEDED"
    assert served.get(f"/v1/runs/{job}").json()["state"] == "CRASHED"
    return job, [event["note"] for event in crashes]
