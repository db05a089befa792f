"""That one service alone moves a store's jobs on, whichever machine it is on."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from pipelines.service.tenure import LASTS_SECONDS, RENEWED_SECONDS, Tenure
from stages.errors import StorageError


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def records(store):
    return list(store.list("service/serving"))


def test_a_second_service_is_refused_for_as_long_as_the_first_renews(store, tmp_path, clock):
    first = Tenure(store, tmp_path / "one", clock)
    for _ in range(10):
        clock.now += RENEWED_SECONDS
        first.hold()
        with pytest.raises(StorageError, match=r"is served by .*/one, and a store has one service"):
            Tenure(store, tmp_path / "two", clock)
    assert records(store) == ["service/serving/00000011.json"]


def test_a_service_that_ended_lets_the_next_begin_at_once_and_one_that_was_killed_after_a_while(store, tmp_path, clock):
    Tenure(store, tmp_path / "one", clock).end()
    Tenure(store, tmp_path / "two", clock)  # killed
    clock.now += LASTS_SECONDS - 1
    with pytest.raises(StorageError, match="start this one again in 1 s if it was killed"):
        Tenure(store, tmp_path / "three", clock)
    clock.now += 1
    Tenure(store, tmp_path / "three", clock)


def test_a_service_that_was_killed_begins_again_at_once(store, tmp_path, clock):
    Tenure(store, tmp_path / "one", clock)
    Tenure(store, tmp_path / "one", clock).hold()


def test_a_service_that_was_away_for_too_long_finds_out_and_moves_nothing_more(store, tmp_path, clock):
    first = Tenure(store, tmp_path / "one", clock)
    clock.now += LASTS_SECONDS
    second = Tenure(store, tmp_path / "two", clock)
    with pytest.raises(StorageError, match="/two has taken over the jobs"):
        first.hold()
    first.end()
    clock.now += RENEWED_SECONDS
    second.hold()
    with pytest.raises(StorageError, match="/two, and a store has one service"):
        Tenure(store, tmp_path / "one", clock)


def test_of_eight_that_begin_together_one_does(store, tmp_path):
    def begin(number: int):
        try:
            return Tenure(store, tmp_path / str(number))
        except StorageError:
            return None

    with ThreadPoolExecutor(8) as pool:
        begun = [tenure for tenure in pool.map(begin, range(8)) if tenure is not None]
    assert len(begun) == 1
    assert len(records(store)) == 1
