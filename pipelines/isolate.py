"""Finds the rows that break a stage: those that crash its process, run it out of memory or out of time, or raise.

Rows are tried in isolated processes and a failing group is cut into sixteen until single rows are left: at most
16 p log16(n) tries for p such rows among n, of which only p log16(n) fail. Halving needs fewer tries but more failures,
and failures are what costs: a process, or all the time there is. A try of any number of rows gets the memory and the
time of one document: a group that is merely large is cut until it fits, so a row is found only if it fails alone,
in a fresh process.
"""

import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NoReturn, Self

from pipelines.engine import Reason
from pipelines.nursery import Nursery, Worker
from stages.errors import StageError

Probe = Callable[[Sequence[int]], None]

#: Seconds for loading models and compiling kernels in a fresh process, before the first row.
OPENING_SECONDS = 120.0
#: Into how many parts a failing group is cut.
PARTS = 16


@dataclass(frozen=True, slots=True)
class Poison:
    """A row that fails alone, and how."""

    row: int
    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class _Call:
    probe: Probe
    rows: tuple[int, ...]

    def __call__(self) -> None:
        self.probe(self.rows)


def find_poison(probe: Probe, rows: int, *, memory_bytes: int, seconds: float, most: int | None = None) -> list[Poison]:
    """The rows on which `probe` fails alone, in order.

    Args:
        probe: picklable; does the work on these rows and raises where it cannot. It is first called without rows,
            so that what it loads and keeps is not held against a row's time.
        rows: how many there are, numbered from 0.
        memory_bytes: address space that a process may map beyond what a fresh one maps.
        seconds: time for one try.
        most: stop looking once more than this many are found.

    Raises:
        StageError: the process dies or hangs before it has seen a row.
    """
    found: list[Poison] = []
    with _Isolation(probe, memory_bytes, seconds) as isolation:
        groups = [range(rows)] if rows else []
        while groups and (most is None or len(found) <= most):
            group = groups.pop()
            failure = isolation.fails(group)
            if failure is None:
                continue
            if len(group) == 1:
                found.append(Poison(group[0], *failure))
            else:
                groups += reversed(_parts(group))
    return found


def _parts(group: range) -> list[range]:
    """At most `PARTS` parts of nearly equal length, none empty."""
    size = -(-len(group) // PARTS)
    return [group[i : i + size] for i in range(0, len(group), size)]


class _Isolation:
    """Processes that may die; one is kept until it does."""

    def __init__(self, probe: Probe, memory_bytes: int, seconds: float) -> None:
        self._probe, self._memory_bytes, self._seconds = probe, memory_bytes, seconds
        self._nursery = Nursery()
        self._worker: Worker | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._worker is not None:
            self._worker.socket.close()
        self._nursery.close()

    def fails(self, group: Sequence[int]) -> tuple[Reason, str] | None:
        """How the rows fail, or None. One row's failure counts only in a process that has seen no other row."""
        used = self._worker is not None
        failure = self._try(group)
        return self._try(group) if failure is not None and used and len(group) == 1 else failure

    def _try(self, group: Sequence[int]) -> tuple[Reason, str] | None:
        worker = self._worker = self._worker or self._fresh()
        failure = self._ask(worker, group, self._seconds)
        if failure is not None:
            self._drop(worker)
        return failure

    def _fresh(self) -> Worker:
        worker = self._nursery.fork(self._memory_bytes)
        failure = self._ask(worker, (), max(OPENING_SECONDS, self._seconds))
        if failure is not None and failure[0] != "error":
            self._give_up(worker, failure[1])
        return worker

    def _give_up(self, worker: Worker, message: str) -> NoReturn:
        self._drop(worker)
        raise StageError(
            f"a process that looks for the rows that break a stage fails before it has seen one: {message}; "
            f"it may use {self._memory_bytes / 1e6:,.0f} MB"
        )

    def _ask(self, worker: Worker, group: Sequence[int], seconds: float) -> tuple[Reason, str] | None:
        worker.send(pickle.dumps(_Call(self._probe, tuple(group)), pickle.HIGHEST_PROTOCOL))
        if not worker.socket.poll(seconds):
            return "timeout", f"took longer than {seconds:g} s"
        try:
            _, failure = pickle.loads(worker.socket.recv_bytes())  # noqa: S301  # from our own worker
        except (EOFError, ConnectionError):
            return "crash", f"the process {self._drop(worker)}"
        if failure is None:
            return None
        reason, message, _ = failure
        limit = f"needed more than {self._memory_bytes / 1e6:,.0f} MB: " if reason == "oom" else ""
        return reason, limit + message

    def _drop(self, worker: Worker) -> str:
        self._worker = None
        return worker.end()
