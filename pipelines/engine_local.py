"""The engine of one machine: worker processes on its cores, nothing to set up.

Not concurrent.futures: there, one killed worker breaks the whole pool. Here it is replaced and its task is tried
once more. Workers end when the driver ends, however it ends.
"""

import pickle
import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Self

from pipelines.engine import TASKS_A_WORKER, TRIES, Failure, Outcome, Task, cores
from pipelines.nursery import Nursery, Worker
from stages.errors import StageError


@dataclass(slots=True)
class _Job:
    index: int
    data: bytes
    tries: int = 0


class LocalEngine:
    """Worker processes on this machine, one a core unless told otherwise. preload: see `Nursery`."""

    def __init__(self, workers: int | None = None, preload: Sequence[str] = ()) -> None:
        self.slots, self._preload = workers or cores(), tuple(preload)
        self._nursery: Nursery | None = Nursery(self._preload)
        self._idle: list[Worker] = []
        self._busy: dict[int, Worker] = {}

    @property
    def pids(self) -> tuple[int, ...]:
        """Process ids of the workers that work now."""
        return tuple(self._busy)

    def each(self, tasks: Iterable[Task], *, seconds: float | None = None) -> Iterator[Outcome]:
        """Run every task and yield its outcome; see `Engine.each`."""
        assert not self._busy, "an engine runs one sequence of tasks at a time"
        jobs = (_Job(i, pickle.dumps(t, pickle.HIGHEST_PROTOCOL)) for i, t in enumerate(tasks))
        again: deque[_Job] = deque()
        try:
            while True:
                self._fill(jobs, again)
                if not self._busy:
                    return
                yield from self._step(seconds, again)
        finally:
            for worker in tuple(self._busy.values()):
                self._end(worker)

    def close(self) -> None:
        """End the workers."""
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None
        for worker in (*self._idle, *self._busy.values()):
            worker.socket.close()
        self._idle.clear()
        self._busy.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self, jobs: Iterator[_Job], again: deque[_Job]) -> None:
        """Give every free slot a task."""
        while len(self._busy) < self.slots:
            job = again.popleft() if again else next(jobs, None)
            if job is None:
                return
            worker = self._take()
            job.tries += 1
            worker.task = job
            self._busy[worker.pid] = worker
            worker.send(job.data)

    def _take(self) -> Worker:
        """A worker that waits for a task: an idle one that still lives, else a new one."""
        while self._idle:
            worker = self._idle.pop()
            if worker.lives:
                return worker
            worker.end()
            self._mourn()
        for _ in range(TRIES):
            nursery = self._mourn()
            try:
                return nursery.fork()
            except ConnectionError:
                nursery.dead = True
        raise StageError(
            "worker processes die while they start, before any work; the reason stands above, and `tamis doctor` says "
            "what this machine lacks"
        )

    def _mourn(self) -> Nursery:
        """The nursery, or a new one where something killed it; no worker of the old one may take a task then."""
        if self._nursery is not None and not self._nursery.dead:
            return self._nursery
        if self._nursery is not None:
            self._nursery.close()
        for worker in self._idle:
            worker.end()
        self._idle.clear()
        self._nursery = Nursery(self._preload)
        return self._nursery

    def _step(self, seconds: float | None, again: deque[_Job]) -> Iterator[Outcome]:
        """Wait for something to happen and yield what is decided by it."""
        by_socket = {w.socket: w for w in self._busy.values()}
        for connection in wait(list(by_socket), timeout=self._patience(seconds)):
            worker = by_socket[connection]  # type: ignore[index]  # wait() gives back what it was given
            outcome = self._received(worker, again)
            if outcome is not None:
                yield outcome
        if seconds is not None:
            late = time.monotonic() - seconds
            for worker in [w for w in self._busy.values() if w.started <= late and w.lives]:
                job: _Job = worker.task
                self._end(worker)
                yield Outcome(job.index, failure=Failure("timeout", f"the task took longer than {seconds:g} s"))

    def _patience(self, seconds: float | None) -> float | None:
        if seconds is None:
            return None
        first = min(w.started for w in self._busy.values())
        return max(0.0, first + seconds - time.monotonic())

    def _received(self, worker: Worker, again: deque[_Job]) -> Outcome | None:
        job: _Job = worker.task
        try:
            value, failure = pickle.loads(worker.socket.recv_bytes())  # noqa: S301  # from our own worker
        except (EOFError, ConnectionError):
            how = self._end(worker)
            if job.tries < TRIES:
                again.append(job)
                return None
            return Outcome(job.index, failure=Failure("crash", f"the task's process {how}, {TRIES} times"))
        if worker.sent > TASKS_A_WORKER:
            self._end(worker)
        else:
            del self._busy[worker.pid]
            self._idle.append(worker)
        return Outcome(job.index, value, None if failure is None else Failure(*failure))

    def _end(self, worker: Worker) -> str:
        """End a busy worker and say how it ended."""
        del self._busy[worker.pid]
        how = worker.end()
        self._mourn()
        return how
