"""A real Ray cluster of one machine with its job server, as `ray start --head` starts it; ended with all of its processes."""

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-the-cluster-that-nobody-guesses"
#: What a job server needs beside Ray itself; a service needs none of it.
NEEDED = ("aiohttp", "aiohttp_cors", "colorful", "opencensus", "smart_open", "virtualenv")
SECONDS = 240.0


@dataclass
class Head:
    """A cluster, started or not; each start is another cluster at the same address."""

    port: int
    env: Mapping[str, str]
    process: subprocess.Popen[bytes] | None = None
    folder: Path | None = None

    @property
    def url(self) -> str:
        """Where its job server is."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until its job server answers."""
        self.folder = Path(tempfile.mkdtemp(prefix="tr-", dir="/tmp"))  # short, for sockets lie in it
        command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"]
        command += ["--include-dashboard=true", "--dashboard-host=127.0.0.1", f"--dashboard-port={self.port}"]
        command += ["--node-ip-address=127.0.0.1", f"--temp-dir={self.folder}", "--num-cpus=2"]
        command += ["--object-store-memory=80000000", "--port=0"]
        for name in ("dashboard-agent-listen-port", "dashboard-agent-grpc-port", "metrics-export-port"):
            command.append(f"--{name}={free_port()}")
        command.append(f"--ray-client-server-port={free_port()}")
        log = (self.folder / "start.log").open("wb")
        with log:
            self.process = subprocess.Popen(
                command, env=self.env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        until = time.monotonic() + SECONDS
        while not self._answers():
            assert self.process.poll() is None, (self.folder / "start.log").read_text()
            assert time.monotonic() < until, (self.folder / "start.log").read_text()
            time.sleep(0.1)  # its start needs the processor

    def stop(self) -> None:
        """End it at once, with everything that it started."""
        if self.process is None or self.folder is None:
            return
        whole = [p for p in processes() if str(self.folder) in _said(p) or self._ours(p)]
        for process in whole:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.kill()
        self.process.wait()
        psutil.wait_procs(whole, 30)  # what they still write would be in the way
        shutil.rmtree(self.folder, ignore_errors=True)
        self.process = self.folder = None

    def get(self, path: str) -> Any:
        """What its job server answers."""
        with self._client() as client:
            return client.get(path).json()

    def jobs(self, job: str) -> dict[str, str]:
        """The state of each of its jobs that is an attempt of one of ours."""
        return {j["submission_id"]: j["status"] for j in self.get("/api/jobs/") if job in str(j["submission_id"])}

    def _client(self) -> httpx.Client:
        return httpx.Client(
            base_url=self.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30, trust_env=False
        )

    def _answers(self) -> bool:
        try:
            return isinstance(self.get("/api/jobs/"), list)
        except (httpx.HTTPError, ValueError):
            return False

    def _ours(self, process: psutil.Process) -> bool:
        """Whether a job of this cluster is, or was, what started a process."""
        try:
            return process.environ().get("TAMIS_TEST_CLUSTER") == self.env["TAMIS_TEST_CLUSTER"]
        except psutil.Error:
            return False


def processes() -> Iterator[psutil.Process]:
    """Every process of this user but this one."""
    for process in psutil.process_iter():
        if process.pid != os.getpid():
            yield process


def driver_of(job: str) -> psutil.Process:
    """The one process that works on a job."""
    [found] = [p for p in processes() if {"pipelines.service.driver", job} <= set(_arguments(p))]
    return found


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def head() -> Iterator[Head]:
    """A started cluster that wants a token and knows this checkout."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"no job server: ray[default] is not installed ({', '.join(missing)})")
    port = free_port()
    env = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "TAMIS_"))}
    env |= {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}
    env |= {"RAY_memory_monitor_refresh_ms": "0", "TAMIS_TEST_CLUSTER": str(port)}
    found = Head(port, env)
    try:
        found.start()
        yield found
    finally:
        found.stop()


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _said(process: psutil.Process) -> str:
    return " ".join(_arguments(process))
