"""Batches made ahead in a thread, and the order of epochs."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_streams import packed

from stages.errors import DataError
from trainer.data import TokenStream, prefetched
from trainer.epochs import ascending
from trainer.view import View


class Recording(TokenStream):
    """A stream that knows which steps it was asked for."""

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.asked = []

    def batch(self, step, rank=0, world=1):
        self.asked.append(step)
        return super().batch(step, rank, world)


def stream(folder, exhausted="repeat"):
    pack = packed(folder, [[[n] * (n % 5) for n in range(40)]])
    view = View(np.arange(40), False, "made", pack.key)
    return Recording(pack, view, context=4, batch_sequences=4, seed=1, exhausted=exhausted)


def threads():
    return {t for t in threading.enumerate() if t.name.startswith(("batches", "epochs"))}


@pytest.mark.parametrize(
    ("start", "stop", "rank", "world"), [(0, 30, 0, 1), (7, 9, 1, 2), (11, 50, 3, 4), (5, 5, 0, 1)]
)
def test_prefetched_batches_are_those_of_the_stream_in_order(tmp_path, start, stop, rank, world):
    made = stream(tmp_path)
    with prefetched(made, start, stop, rank, world) as batches:
        found = [(b.step, b.tokens_BT.tolist(), b.spans.tolist()) for b in batches]

    plain = [made.batch(step, rank, world) for step in range(start, stop)]
    assert [f[:2] for f in found] == [(b.step, b.tokens_BT.tolist()) for b in plain]
    assert threads() == set()


def test_only_so_many_batches_are_made_ahead_and_closing_ends_the_threads(tmp_path):
    made = stream(tmp_path)
    batches = prefetched(made, 0, 1000, depth=3)
    assert [next(batches).step for _ in range(5)] == [0, 1, 2, 3, 4]
    batches.close()

    assert made.asked == list(range(len(made.asked)))
    assert 5 <= len(made.asked) <= 5 + 3
    assert threads() == set()
    with pytest.raises(StopIteration):
        next(batches)


def test_an_error_comes_where_its_batch_was_to_come_and_ends_the_threads(tmp_path):
    made = stream(tmp_path, "refuse")
    batches = prefetched(made, 0, made.whole_steps + 9)
    taken = [next(batches).step for _ in range(made.whole_steps)]
    with pytest.raises(DataError, match="choose a smaller budget or allow repetition"):
        next(batches)

    assert taken == list(range(made.whole_steps))
    assert threads() == set()


def test_seconds_waited_are_counted(tmp_path):
    began = time.perf_counter()
    with prefetched(stream(tmp_path), 0, 5) as batches:
        list(batches)

    assert 0 < batches.waited < time.perf_counter() - began


def test_a_consumer_that_stops_early_leaves_no_thread(tmp_path):
    with prefetched(stream(tmp_path), 0, 100) as batches:
        for batch in batches:
            if batch.step == 2:
                break

    assert threads() == set()


@given(st.lists(st.integers(0, 2**64 - 1) | st.integers(0, 9) | st.sampled_from([2**63, 2**63 + 1]), min_size=1))
def test_places_are_sorted_by_whole_hashes_and_by_place_where_these_agree(hashes):
    given_N = np.array(hashes, np.uint64)

    found = ascending(lambda chosen: given_N[chosen], len(hashes))

    assert found.tolist() == sorted(range(len(hashes)), key=lambda n: (hashes[n], n))
