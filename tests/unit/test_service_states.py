"""The states of a job: what may follow what, and what cancelling and resuming lead to."""

from hypothesis import given
from hypothesis import strategies as st

from pipelines.service.states import ACTIVE, ENDED, FOLLOWING, State, cancelled, may_follow, resumed

STATES = st.sampled_from(State)


def test_every_state_is_reached_and_only_success_is_final():
    reached = {State.QUEUED}
    while (more := reached | {n for s in reached for n in FOLLOWING[s]}) != reached:
        reached = more

    assert reached == set(State)
    assert [s for s in State if not FOLLOWING[s]] == [State.SUCCEEDED]


@given(STATES)
def test_cancelling_goes_on_the_allowed_way_or_is_under_way_or_is_too_late(state):
    to = cancelled(state)

    assert (to is None) == (state in ENDED - {State.CANCELLED})
    assert to is None or to == state or may_follow(state, to)
    assert to in (None, State.CANCELLING, State.CANCELLED)
    assert (to is State.CANCELLING) == (state in ACTIVE)


@given(STATES)
def test_resuming_queues_what_ended_badly_and_leaves_alone_what_goes_on(state):
    to = resumed(state)

    assert (to is None) == (state in (State.SUCCEEDED, State.CANCELLING))
    assert to is None or to == state or may_follow(state, to)
    assert (to is State.QUEUED) == (state in (State.QUEUED, State.FAILED, State.CANCELLED, State.CRASHED))
