"""Histories of jobs in a store: numbered events that any number of writers may add to."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipelines.service.history import ConflictError, History, read
from pipelines.service.states import State, may_follow
from pipelines.store import Store

JOB = "abcdefghij0123456789"


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(State), max_size=12))
def test_a_history_takes_the_states_that_may_follow_and_refuses_the_others(tmp_path_factory, wanted):
    store = Store.open(tmp_path_factory.mktemp("store"))
    history, taken = History(store, JOB), []
    history.move(State.QUEUED)
    for to in wanted:
        before = history.state
        if may_follow(before, to):
            history.move(to)
            taken.append(to)
        else:
            with pytest.raises(ConflictError, match=f"is {before} .* cannot become {to}"):
                history.move(to)

    again = History(store, JOB)
    assert [e.data["state"] for e in again.refresh()] == ["QUEUED", *taken]
    assert (again.state, again.number) == (history.state, history.number)


def test_of_writers_who_start_a_job_at_once_exactly_one_does(store):
    History(store, JOB).move(State.QUEUED)
    together = Barrier(8)

    def start(number):
        together.wait()
        try:
            History(store, JOB).move(State.STARTING, attempt=1, note=str(number))
        except ConflictError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [n for n in pool.map(start, range(8)) if n is not None]

    assert len(winners) == 1
    assert [e.data.get("note") for e in History(store, JOB).refresh()] == [None, str(winners[0])]


def test_events_of_many_writers_are_numbered_without_a_gap_and_none_is_lost(store):
    history = History(store, JOB)
    history.move(State.QUEUED)
    history.move(State.STARTING, attempt=1)

    def tell(writer):
        own = History(store, JOB)
        for n in range(20):
            own.tell("note", 1, note=f"{writer}/{n}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(tell, range(4)))

    events = history.refresh()
    assert [e.number for e in events] == list(range(3, 83))
    notes = [e.data["note"] for e in events]
    assert sorted(notes) == sorted(f"{w}/{n}" for w in range(4) for n in range(20))
    assert all([n for n in notes if n[0] == str(w)] == [f"{w}/{n}" for n in range(20)] for w in range(4))


def test_an_attempt_that_is_out_of_date_can_tell_nothing_and_end_nothing(store):
    history = History(store, JOB)
    for to, attempt in ((State.QUEUED, 0), (State.STARTING, 1), (State.CRASHED, 1), (State.STARTING, 2)):
        history.move(to, attempt=attempt)
    late = History(store, JOB)

    for refused in (lambda: late.tell("note", 1, note="late"), lambda: late.move(State.RUNNING, attempt=1)):
        with pytest.raises(ConflictError, match="attempt"):
            refused()
    assert read(store, JOB, 5) is None


def test_a_job_that_was_never_queued_has_no_other_state(store):
    with pytest.raises(ConflictError, match="was never queued; submit its spec"):
        History(store, JOB).move(State.RUNNING)
