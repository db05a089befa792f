"""How work is spread over processes: one small seam, two engines behind it.

A task is a picklable callable without arguments. Engines run it at least once, in any order; the commit protocol
makes repeating it harmless. Bytes go through files: tasks carry paths, outcomes carry small statistics.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from stages.errors import SpecError, TamisError

Task = Callable[[], Any]
Reason = Literal["error", "crash", "oom", "timeout"]

#: Up to this many bytes of input, starting Ray costs more than it gives.
LOCAL_BYTES = 50_000_000

#: How often a task is tried when its process dies.
TRIES = 2

#: A worker is replaced after this many tasks, so that what a library leaks stays bounded.
TASKS_A_WORKER = 500


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a task has no value.

    error: it raised (`error` holds a TamisError); crash: its process died twice; oom: it ran out of memory;
    timeout: it took longer than it was given.
    """

    reason: Reason
    message: str
    error: TamisError | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of the task at position `index`."""

    index: int
    value: Any = None
    failure: Failure | None = None


def cores() -> int:
    """How many processor cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Engine(Protocol):
    """Runs tasks in other processes."""

    #: How many tasks run at the same time.
    slots: int

    def each(self, tasks: Iterable[Task], *, seconds: float | None = None) -> Iterator[Outcome]:
        """Run every task and yield its outcome, in any order.

        Tasks are pulled as there is room for them. A task whose process dies is tried once more. Closing the
        iterator cancels what runs.

        Args:
            tasks: picklable callables.
            seconds: how long one task may take; None is for ever.

        """

    def close(self) -> None:
        """End every process that this engine started."""


def open_engine(
    name: str = "auto",
    workers: int | None = None,
    address: str | None = None,
    input_bytes: int | None = None,
    preload: Sequence[str] = (),
) -> Engine:
    """The engine of that name: `local`, `ray`, or `auto` (local below 50 MB of input, else ray).

    preload: modules that every task needs; the local engine imports them once for all its workers.

    Raises:
        SpecError: the name is unknown, or an address is given to the local engine.

    """
    if name == "auto":
        small = address is None and input_bytes is not None and input_bytes < LOCAL_BYTES
        name = "local" if small else "ray"
    if workers is not None and workers < 1:
        raise SpecError(f"--workers is {workers}, but at least one worker must work", workers=workers)
    if name == "local":
        if address is not None:
            raise SpecError("the local engine has no address; use --engine ray or leave --address out", address=address)
        from pipelines.engine_local import LocalEngine  # noqa: PLC0415  # the command line must start at once

        return LocalEngine(workers, preload)
    if name == "ray":
        from pipelines.engine_ray import RayEngine  # noqa: PLC0415  # importing Ray takes a second

        return RayEngine(workers, address)
    raise SpecError(f"there is no engine {name!r}; choose local, ray or auto", engine=name)
