"""The process that does a job's work: runs the spec, tells its history, and outlives the service that started it.

    python -m pipelines.service.driver --store S --job ID --attempt N --claim FD [--root R ...] [--workers N] [--engine E]

What it writes is in the store: when it is killed, another attempt goes on from what was committed. SIGTERM cancels.
"""

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from pipelines.run import Options, run
from pipelines.service import requests
from pipelines.service.claims import Claim
from pipelines.service.history import NOTE, PROGRESS, RUN, ConflictError, History
from pipelines.service.observe.logs import VARIABLE, bind, configure, logger
from pipelines.service.states import State
from pipelines.spec import from_data
from pipelines.store import Store
from stages.errors import TamisError

#: Seconds between two tellings of progress: a few hundred files for the longest job.
SOONEST, LATEST, OF_ELAPSED = 1.0, 30.0, 0.01
#: How far behind others a driver and its workers stand where the processor is wanted by several.
NICENESS = 10
_LOG = logger("tamis.driver")


class Telling:
    """A run's watch: passes its progress on to the job's history, seldom enough."""

    def __init__(self, history: History, attempt: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._history, self._attempt, self._clock = history, attempt, clock
        self._began = clock()
        bind(job=history.job, attempt=attempt)
        self._last = float("-inf")

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """Tell where a step stands, unless something was told a moment ago."""
        now = self._clock()
        wait = min(max(SOONEST, OF_ELAPSED * (now - self._began)), LATEST)
        if now - self._last >= wait or (done == total and now - self._last >= SOONEST / 4):
            self._history.tell(PROGRESS, self._attempt, step=name, done=done, total=total, bytes=nbytes)
            _LOG.info("progress", step=name, shard=done, shards=total, bytes=nbytes)
            self._last = now

    def opened(self, run: str) -> None:
        """Tell which run of the store it is."""
        bind(run=run)
        self._history.tell(RUN, self._attempt, run=run)

    def say(self, sentence: str) -> None:
        """Tell a sentence."""
        self._history.tell(NOTE, self._attempt, note=sentence)
        _LOG.info(sentence)


def drive(store: Store, job: str, attempt: int, options: Options) -> State:
    """Do the work of one attempt and tell how it ended.

    Raises:
        ConflictError: another attempt goes on, so this one must not.
    """
    request = requests.find(store, job)
    if request is None:
        raise ConflictError(f"the store {store.url} has no job {job}", job=job)
    history = History(store, job)
    history.refresh()
    if history.attempt == attempt - 1:  # who launched this was killed, or waits for an answer, and could not say so yet
        with suppress(ConflictError):
            history.move(State.STARTING, attempt=attempt)
    history.move(State.RUNNING, attempt=attempt)
    try:
        watch = Telling(history, attempt)
        done = run(from_data(request.spec_data(), Path(request.folder)), store, options, watch, watch.opened)
    except KeyboardInterrupt:
        return _end(history, State.CANCELLED, attempt)
    except ConflictError:
        raise
    except TamisError as error:
        _LOG.error(error.message, **{k: v for k, v in error.fields.items() if k in ("step", "shard", "row", "source")})
        return _end(history, State.FAILED, attempt, error=error.problem())
    return _end(history, State.SUCCEEDED, attempt, run=done["run"], **{k: v for k, v in done.items() if k != "run"})


def _end(history: History, state: State, attempt: int, **data: Any) -> State:
    """Tell the end. Who is interrupted or fails while a cancellation is under way was cancelled; nobody asked: crashed."""
    history.refresh()
    if history.state is State.CANCELLING and state is State.FAILED:
        state = State.CANCELLED
    if history.state is not State.CANCELLING and state is State.CANCELLED:
        state, data = State.CRASHED, {"note": "the process was told to end"}
    history.move(state, attempt=attempt, **data)
    _LOG.info("the job has ended", state=str(state))
    return state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver; gives its exit code."""
    given = _parser().parse_args(arguments)
    configure(os.environ.get(VARIABLE, "console"))
    with ExitStack() as stack:
        if given.claim is not None:
            stack.enter_context(Claim.inherited(given.claim))
        signal.signal(signal.SIGTERM, _interrupt)
        options = Options(given.engine, given.workers, given.address, tuple(given.root) or None, people=True)
        try:
            state = drive(Store.open(given.store, create=False), given.job, given.attempt, options)
        except TamisError as error:
            _LOG.error(error.message)
            return error.exit_code
        except Exception:  # noqa: BLE001 - a process boundary: the trace is the log's, the crash is the supervisor's
            _LOG.exception("the driver failed")
            return 1
    return 0 if state is State.SUCCEEDED else 1


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tamis driver", description="Does the work of one job.")
    parser.add_argument("--store", required=True)
    parser.add_argument("--job", required=True)
    parser.add_argument("--attempt", required=True, type=int)
    parser.add_argument("--claim", type=int)
    parser.add_argument("--root", action="append", default=[])
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--workers", type=int)
    parser.add_argument("--address")
    return parser


def step_back() -> None:
    """Let the service, and whoever else uses this machine, go first.

    Where Linux shares the processor among sessions, a process's niceness counts within its session alone (sched(7), autogroup), and
    a driver that leads a session has one of its own to step back with.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))
    if os.getsid(0) == os.getpid():
        with suppress(OSError):  # no such feature, or not allowed
            Path("/proc/self/autogroup").write_text(str(NICENESS), encoding="ascii")


if __name__ == "__main__":
    step_back()
    sys.exit(main())
