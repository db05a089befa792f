"""The engine of many machines: Ray Core tasks, on an embedded local Ray or on an existing cluster.

Ray carries pickled tasks and small answers; bytes live in files. Ray's own retries are off, because a document
that runs a worker out of memory would be tried for ever; this engine tries a crashed task once more, as the local
one does. Ray is imported when an engine is made: it takes a second.
"""

import os
import pickle
import shutil
import signal
import socket
import tempfile
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from pipelines.engine import TASKS_A_WORKER, TRIES, Failure, Outcome, Task, cores
from pipelines.nursery import ONE_THREAD
from pipelines.worker import answer
from stages.errors import SpecError, StorageError

#: Set before Ray is imported and started, so that its own processes inherit them.
SETTINGS = {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray is about to make the default; else it warns
    "RAY_DEDUP_LOGS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".*",  # what Ray tells about dead workers goes to stdout, where JSON is expected
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_memory_usage_threshold": "0.9",
    "RAY_task_oom_retries": "0",
    "RAY_worker_niceness": "0",  # by default Ray's workers yield to everything else on the machine
}
#: Bytes of shared memory of an embedded Ray; tasks and answers are small.
OBJECT_STORE_BYTES = 100_000_000
#: How long a cluster may take to answer.
CONNECT_SECONDS = 10.0
#: What the temporary folder of an embedded Ray is called, before its driver's process id; short, for sockets lie in it.
FOLDER = "tamis-ray-"
#: Variables that every task sees as the driver has them now; an embedded Ray also gets those of the second line.
SHARED_PREFIXES = ("TAMIS_", "AWS_ENDPOINT", "AWS_REGION", "AWS_DEFAULT_REGION")
EMBEDDED_PREFIXES = ("TAMIS_", "AWS_")


@dataclass(slots=True)
class _Job:
    index: int
    data: bytes
    tries: int = 0
    started: float = 0.0


class RayEngine:
    """Ray tasks, one a core: in a Ray of its own, or in the cluster at `address` (`auto` or `host:port`)."""

    def __init__(self, workers: int | None = None, address: str | None = None) -> None:
        os.environ.update({name: os.environ.get(name, value) for name, value in SETTINGS.items()})
        import ray  # noqa: PLC0415  # takes a second, and reads the settings above

        self._ray: Any = ray
        self._folder: str | None = None
        self._owner = not ray.is_initialized()
        self._embedded = self._owner and address is None
        if self._owner:
            self._connect(workers, address)
        elif address not in {None, "auto", self._ray.get_runtime_context().gcs_address}:
            raise SpecError(
                f"this process uses another Ray than the one at {address!r}; leave one out", address=address
            )
        self.slots = workers or max(1, int(self._ray.cluster_resources().get("CPU", 1)))
        self._remote = ray.remote(num_cpus=1, max_retries=0, max_calls=TASKS_A_WORKER, scheduling_strategy="SPREAD")(
            run_task
        )

    def _connect(self, workers: int | None, address: str | None) -> None:
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "namespace": "tamis"}
        if address is not None:
            try:
                _reach(address)
                self._ray.init(address=address, **quiet)
            except (OSError, ValueError, RuntimeError) as error:
                raise StorageError(
                    f"cannot reach the Ray cluster at {address!r} ({error}); check the address or leave it out",
                    address=address,
                ) from error
            return
        _sweep()
        self._folder = tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-")
        self._ray.init(
            address="local",
            num_cpus=workers or cores(),
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            _temp_dir=self._folder,
            _node_ip_address="127.0.0.1",
            **quiet,
        )

    def each(self, tasks: Iterable[Task], *, seconds: float | None = None) -> Iterator[Outcome]:
        """Run every task and yield its outcome; see `Engine.each`."""
        jobs = (_Job(i, pickle.dumps(t, pickle.HIGHEST_PROTOCOL)) for i, t in enumerate(tasks))
        again: deque[_Job] = deque()
        running: dict[Any, _Job] = {}
        # With a time limit nothing waits in Ray's queue, so that a task's time is its own.
        window = self.slots * (2 if seconds is None else 1)
        environment = self._environment()
        try:
            while True:
                while len(running) < window and (job := again.popleft() if again else next(jobs, None)):
                    job.tries += 1
                    job.started = time.monotonic()
                    running[self._remote.remote(job.data, environment, seconds)] = job
                if not running:
                    return
                done, _ = self._ray.wait(list(running), num_returns=1)
                for reference in done:
                    job = running.pop(reference)
                    outcome = self._outcome(reference, job, seconds)
                    if outcome is None:
                        again.append(job)
                    else:
                        yield outcome
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster; end an embedded Ray."""
        if self._owner and self._ray.is_initialized():
            self._ray.shutdown()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _environment(self) -> dict[str, str]:
        prefixes = EMBEDDED_PREFIXES if self._embedded else SHARED_PREFIXES
        return ONE_THREAD | {name: value for name, value in os.environ.items() if name.startswith(prefixes)}

    def _outcome(self, reference: Any, job: _Job, seconds: float | None) -> Outcome | None:
        """What became of a job; None when it is to be tried again."""
        errors = self._ray.exceptions
        try:
            value, failure = pickle.loads(self._ray.get(reference))  # noqa: S301  # from our own worker
        except errors.OutOfMemoryError as error:
            return Outcome(job.index, failure=Failure("oom", _first_line(error)))
        except (errors.WorkerCrashedError, errors.NodeDiedError, errors.LocalRayletDiedError) as error:
            if seconds is not None and time.monotonic() - job.started >= seconds:
                return Outcome(job.index, failure=Failure("timeout", f"the task took longer than {seconds:g} s"))
            if job.tries < TRIES:
                return None
            return Outcome(
                job.index, failure=Failure("crash", f"the task's process died, {TRIES} times: {_first_line(error)}")
            )
        except errors.RayError as error:
            raise StorageError(f"Ray failed ({_first_line(error)}); run again, finished work is kept") from error
        return Outcome(job.index, value, None if failure is None else Failure(*failure))


def run_task(task: bytes, environment: Mapping[str, str], seconds: float | None) -> bytes:
    """Run one pickled task inside a Ray worker, with the driver's variables and a time limit that no code escapes."""
    for name in [n for n in os.environ if n.startswith("TAMIS_") and n not in environment]:
        del os.environ[name]
    os.environ.update(environment)
    import pyarrow as pa  # noqa: PLC0415  # after the variables that tell libraries to use one thread

    pa.set_cpu_count(1)  # one worker a core
    if seconds is None:
        return answer(task)
    # The kernel ends the process, even inside a loop that never gives the interpreter a turn.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        return answer(task)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _reach(address: str) -> None:
    """Connect and hang up, because Ray itself takes minutes to find out that nobody is there.

    Raises:
        OSError: nobody answers.
        SpecError: the address is not `auto` or `host:port`.
    """
    if address == "auto":
        return
    host, _, port = address.rpartition(":")
    if not host or "/" in host or not port.isdigit():
        raise SpecError(f"{address!r} is not the address of a Ray cluster; write auto or host:port", address=address)
    socket.create_connection((host.strip("[]"), int(port)), timeout=CONNECT_SECONDS).close()


def _sweep() -> None:
    """Delete the folders of embedded Rays whose drivers were killed."""
    for path in Path(tempfile.gettempdir()).glob(f"{FOLDER}*"):
        owner = path.name.removeprefix(FOLDER).partition("-")[0]
        if owner.isdigit() and not psutil.pid_exists(int(owner)):
            shutil.rmtree(path, ignore_errors=True)  # another user's is not ours to delete


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
