"""The states of a job and what may follow what. Pure: nothing here writes.

    QUEUED -> STARTING -> RUNNING -> SUCCEEDED | FAILED
                                  -> CANCELLING -> CANCELLED
              STARTING | RUNNING -> CRASHED -> STARTING (by itself, at most three times)
    FAILED | CANCELLED | CRASHED -> QUEUED (when somebody resumes it)

FAILED is the work's own end (a TamisError); CRASHED is the end of the process that did it. A job that was about to be cancelled
and finished first has SUCCEEDED.
"""

from collections.abc import Mapping
from enum import StrEnum


class State(StrEnum):
    """Where a job stands."""

    QUEUED = "QUEUED"
    STARTING = "STARTING"
    RUNNING = "RUNNING"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELLED = "CANCELLED"
    CRASHED = "CRASHED"


#: How often a crashed job is started again by itself.
RESTARTS = 3

FOLLOWING: Mapping[State, frozenset[State]] = {
    State.QUEUED: frozenset({State.STARTING, State.CANCELLED}),
    State.STARTING: frozenset({State.RUNNING, State.FAILED, State.CANCELLING, State.CRASHED}),
    State.RUNNING: frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLING, State.CRASHED}),
    State.CANCELLING: frozenset({State.CANCELLED, State.SUCCEEDED}),
    State.CRASHED: frozenset({State.STARTING, State.QUEUED, State.CANCELLED}),
    State.FAILED: frozenset({State.QUEUED}),
    State.CANCELLED: frozenset({State.QUEUED}),
    State.SUCCEEDED: frozenset(),
}
#: Nothing happens to a job in these by itself; CRASHED is among them only when its restarts are used up.
ENDED = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
#: A process works, or should, on a job in these.
ACTIVE = frozenset({State.STARTING, State.RUNNING, State.CANCELLING})


def may_follow(state: State, to: State) -> bool:
    """Whether a job may go from one state to another."""
    return to in FOLLOWING[state]


def cancelled(state: State) -> State | None:
    """The state that cancelling leads to; the same where it is under way already; None where it is too late."""
    if state in (State.CANCELLING, State.CANCELLED):
        return state
    if state in ENDED:
        return None
    return State.CANCELLING if state in ACTIVE else State.CANCELLED


def resumed(state: State) -> State | None:
    """The state that resuming leads to; the same where it goes on already; None where that cannot be."""
    if state in (State.SUCCEEDED, State.CANCELLING):
        return None
    return State.QUEUED if State.QUEUED in FOLLOWING[state] else state
