"""What a run tells while it goes on: time, throughput, the loss so far; to the log, and to whoever listens."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from trainer.guards import Health, smoothing
from trainer.job import Curve, Progress
from trainer.journal import Journal

Listener = Callable[[Progress], None]


class Clock:
    """Seconds of a run over all its lives; what a kill threw away is not counted."""

    def __init__(self) -> None:
        self._before = {"seconds": 0.0, "cpu_seconds": 0.0, "waited": 0.0}
        self._inherited = {"inherited_seconds": 0.0, "inherited_cpu_seconds": 0.0}
        self._started: tuple[float, float] | None = None

    def begin(self, state: Mapping[str, float]) -> dict[str, float]:
        """Go on from what `state` gave; gives the same."""
        self._before = {name: state[name] for name in self._before}
        self._inherited = {name: state[name] for name in self._inherited}
        return self._before | self._inherited

    def inherit(self) -> dict[str, float]:
        """Everything so far was a trunk's; gives the totals."""
        self._inherited = {f"inherited_{name}": self._before[name] for name in ("seconds", "cpu_seconds")}
        return self._before | self._inherited

    def start(self) -> None:
        """Begin to count."""
        self._started = (time.perf_counter(), time.process_time())

    def elapsed(self) -> float:
        """Wall seconds since `start`."""
        return 0.0 if self._started is None else time.perf_counter() - self._started[0]

    def cpu(self) -> float:
        """CPU seconds of this process since `start`."""
        return 0.0 if self._started is None else time.process_time() - self._started[1]

    def state(self, waited: float, cpu: float) -> dict[str, float]:
        """Totals, given the seconds waited for data and the CPU seconds of all processes since `start`."""
        now = {"seconds": self.elapsed(), "cpu_seconds": cpu, "waited": waited}
        return {name: self._before[name] + now[name] for name in now} | self._inherited


class Reporter:
    """Makes a `Progress` of every `every` steps; writes it to the log and hands it to a listener.

    peak: tokens a second if the devices did nothing but their peak; None where that is unknown.
    """

    def __init__(self, journal: Journal, listener: Listener | None, *, every: int, peak: float | None) -> None:
        self._journal = journal
        self._listener = listener
        self._every = every
        self._peak = peak
        self._at: tuple[float, int] | None = None
        self._first: tuple[float, int] | None = None

    def start(self, done: int) -> None:
        """Begin to measure, `done` steps being done."""
        self._at = self._first = (time.perf_counter(), done)

    def due(self, done: int) -> bool:
        """Whether a report belongs after so many steps; that of the last one always does."""
        return done % self._every == 0

    def report(
        self, facts: Mapping[str, Any], losses: Sequence[float], health: Health, *, tokens_per_step: int
    ) -> None:
        """Report where the run stands.

        facts: step, steps, learning_rate, gradient_norm and wait of a `Progress`; losses: of all steps so far.
        """
        if self._at is None or self._first is None:
            raise ValueError("the reporter was not started")
        now, done = time.perf_counter(), int(facts["step"])
        rate = (done - self._at[1]) * tokens_per_step / max(now - self._at[0], 1e-9)
        pace = (now - self._first[0]) / max(done - self._first[1], 1)
        self._at = (now, done)
        standing = Progress(
            **facts,
            tokens=done * tokens_per_step,
            loss=_mean(losses[(done - 1) // self._every * self._every :]),
            smoothed=health.smoothed,
            tokens_per_second=rate,
            mfu=None if self._peak is None else rate / self._peak,
            skipped=health.skipped,
            spikes=health.spikes,
            seconds_left=pace * (int(facts["steps"]) - done),
        )
        self._journal.write(standing.model_dump(mode="json"))
        if self._listener is not None:
            self._listener(standing)


def curve(losses: Sequence[float], *, tokens_per_step: int, every: int) -> Curve:
    """The smoothed loss after every `every` steps and after the last; points before the first finite loss are left out."""
    tokens: list[int] = []
    values: list[float] = []
    smoothed = smoothing(losses)
    for done, value in enumerate(smoothed, 1):
        if (done % every == 0 or done == len(losses)) and value is not None:
            tokens.append(done * tokens_per_step)
            values.append(value)
    return Curve(tokens=tuple(tokens), nats_per_token=tuple(values))


def _mean(losses: Sequence[float]) -> float | None:
    finite = [loss for loss in losses if math.isfinite(loss)]
    return math.fsum(finite) / len(finite) if finite else None
