"""The worker processes: a nursery that has imported what every task needs, and the workers it forks.

A fork of a warm process starts in milliseconds where a fresh interpreter takes a second. The nursery never runs a
task and never has a second thread, so that forking it is safe; only a worker, which can be replaced, does work.

    driver --control socket--> nursery --fork--> worker --task socket--> driver

When the driver dies, the control socket closes, the nursery ends, and the kernel ends the workers with it.
"""

import contextlib
import ctypes
import importlib
import os
import pickle
import resource
import signal
import socket
import struct
import sys
import traceback
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from stages.errors import StageError, TamisError

#: What nearly every task needs; imported once, before the first fork.
PRELOAD = ("numpy", "numba", "obstore", "pyarrow.compute", "pyarrow.parquet", "pipelines.commit", "stages.base")

#: Requests to the nursery: one byte, and one descriptor (fork) or a process id (reap).
FORK, REAP = b"F", b"R"
#: Process ids and wait statuses on the control socket.
PAIR = struct.Struct("<qq")

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve fork requests on a socket until the driver goes away; arguments: its descriptor, more modules to import."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C ends
    control = socket.socket(fileno=int(sys.argv[1]))
    for name in (*PRELOAD, *sys.argv[2:]):
        importlib.import_module(name)
    children: set[int] = set()
    try:
        while True:
            request, descriptors, _, _ = socket.recv_fds(control, 1 + PAIR.size, 1)
            if not request:
                return
            if request == FORK:
                pid = _fork(control, descriptors[0])
                children.add(pid)
                control.sendall(PAIR.pack(pid, 0))
            else:
                pid = PAIR.unpack(request[1:])[0]
                _, status = os.waitpid(pid, 0)
                children.discard(pid)
                control.sendall(PAIR.pack(pid, status))
    except ConnectionError:
        return
    finally:
        for pid in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _fork(control: socket.socket, descriptor: int) -> int:
    nursery = os.getpid()
    pid = os.fork()
    if pid:
        os.close(descriptor)
        return pid
    status = 1
    try:
        control.close()
        _die_with(nursery)
        _serve(Connection(descriptor))
        status = 0
    finally:
        os._exit(status)  # never back into the nursery's loop


def _die_with(parent: int) -> None:
    """Ask the kernel, where it is Linux, to end this process when its parent ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _serve(tasks: Connection) -> None:
    """Run pickled tasks until the socket closes. The first message is the limit on added address space, or None."""
    import pyarrow as pa  # noqa: PLC0415  # imported by the nursery already

    pa.set_cpu_count(1)  # one worker a core
    with contextlib.suppress(EOFError, ConnectionError):
        limit = pickle.loads(tasks.recv_bytes())  # noqa: S301  # from our driver
        if limit is not None:
            pa.set_memory_pool(pa.system_memory_pool())  # the others reserve address space far ahead of need
            _limit_memory(limit)
        while True:
            tasks.send_bytes(answer(tasks.recv_bytes()))


def _limit_memory(added: int) -> None:
    """Let this process map at most `added` bytes more than it does now, where the kernel can hold it to that."""
    if sys.platform != "linux":
        return
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    most = pages * resource.getpagesize() + added
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def answer(task: bytes) -> bytes:
    """Run one pickled task; return the pickled pair (value, None) or (None, (reason, message, error)).

    This is the process boundary: whatever a task raises becomes an answer.
    """
    try:
        return pickle.dumps((pickle.loads(task)(), None), pickle.HIGHEST_PROTOCOL)  # noqa: S301  # from our driver
    except TamisError as error:
        failure = ("error", error.message, error)
    except MemoryError as error:
        failure = ("oom", described(error), _wrapped(error))
    except Exception as error:  # noqa: BLE001  # one of the two places where every failure becomes an answer
        failure = ("error", described(error), _wrapped(error))
    return pickle.dumps((None, failure), pickle.HIGHEST_PROTOCOL)


def described(error: BaseException) -> str:
    """The type and the message of an exception, in one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _wrapped(error: BaseException) -> StageError:
    frames = traceback.extract_tb(error.__traceback__)
    where = f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    fields: dict[str, Any] = {"traceback": "".join(traceback.format_exception(error))}
    return StageError(f"a task failed{where} with {described(error)}; the traceback is in the log", **fields)
