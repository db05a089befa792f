"""The driver's side of worker processes: a handle on the nursery and on each worker it forked."""

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Self

from pipelines.worker import FORK, PAIR, REAP

#: One worker a core, so libraries must not start threads of their own, least of all in the process that forks.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
) | {"TOKENIZERS_PARALLELISM": "false", "JE_ARROW_MALLOC_CONF": "background_thread:false"}

#: What a library prints goes there: the driver's stdout may be JSON.
STDERR = 2

#: How a worker ended whose nursery died first.
GONE = "ended with the process that started it"


@dataclass
class Worker:
    """One worker process and, while it is busy, what it works on."""

    pid: int
    socket: Connection
    nursery: "Nursery"
    task: Any = None
    started: float = 0.0
    sent: int = 0
    ended: str | None = None

    def end(self) -> str:
        """Kill the process, if it still lives, and say how it ended."""
        if self.ended is None:
            if not self.nursery.dead:  # else the kernel has ended the worker, and its id may belong to another process
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.pid, signal.SIGKILL)
            self.socket.close()
            self.ended = self.nursery.reap(self.pid)
        return self.ended

    @property
    def lives(self) -> bool:
        """Whether there is no news of it: from an idle worker, which says nothing unasked, news can only be its end."""
        return self.ended is None and not self.socket.poll()

    def send(self, task: bytes) -> None:
        """Hand over a pickled task; a dead worker shows when its answer is awaited."""
        self.started = time.monotonic()
        self.sent += 1
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.socket.send_bytes(task)


class Nursery:
    """The process that forks workers. Starting it returns at once; the first fork waits until it is warm.

    preload: modules that its tasks need beside what nearly all do; they must start no thread.
    """

    def __init__(self, preload: Sequence[str] = ()) -> None:
        self.dead = False
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            self._process = subprocess.Popen(  # noqa: S603  # our own interpreter
                [sys.executable, "-P", "-c", "from pipelines.worker import main; main()", str(number), *preload],
                stdin=subprocess.DEVNULL,
                stdout=STDERR,
                pass_fds=(number,),
                env=os.environ | ONE_THREAD | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            )
        self._control = ours

    def fork(self, memory_bytes: int | None = None) -> Worker:
        """A new worker that may map at most `memory_bytes` more than a fresh one does.

        Raises:
            ConnectionError: the nursery has died.

        """
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [FORK], [theirs.fileno()])
        pid, _ = self._reply()
        worker = Worker(pid, Connection(ours.detach()), self)
        worker.send(pickle.dumps(memory_bytes))
        return worker

    def reap(self, pid: int) -> str:
        """Wait for a killed worker and say how it ended; afterwards its id may belong to another process."""
        if self.dead:
            return GONE
        try:
            self._control.sendall(REAP + PAIR.pack(pid, 0))
            _, status = self._reply()
        except ConnectionError:
            self.dead = True
            return GONE
        code = os.waitstatus_to_exitcode(status)
        return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with status {code}"

    def close(self) -> None:
        """End the nursery and with it every worker."""
        self._control.close()
        self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _reply(self) -> tuple[int, int]:
        data = b""
        while len(data) < PAIR.size:
            part = self._control.recv(PAIR.size - len(data))
            if not part:
                raise ConnectionResetError("the process that starts workers has died")
            data += part
        pid, status = PAIR.unpack(data)
        return pid, status
