"""Token sequences laid into rows: every scored token once, none without its context, none beyond its document."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.windows import Layout, Sequences, cut, packed

LENGTHS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


def sequences(lengths, scored_from=None):
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    ids = np.arange(100, 100 + offsets[-1], dtype=np.uint32)
    return Sequences(ids, offsets, np.array(scored_from or [0] * len(lengths), np.int64))


@settings(max_examples=200, deadline=None)
@given(LENGTHS, st.integers(1, 17), st.data())
def test_every_token_is_scored_once_and_sees_half_a_context_or_all_there_is(lengths, context, data):
    scored_from = [data.draw(st.integers(0, n)) for n in lengths]
    text = sequences(lengths, scored_from)

    windows = cut(text, context)

    scored = [
        (p, p - begin)
        for begin, end, first in zip(windows.begins_W, windows.ends_W, windows.scored_W, strict=True)
        for p in range(first, end)
    ]
    owner = np.repeat(np.arange(len(lengths)), lengths)
    wanted = [p for s, o in enumerate(text.offsets_S1[:-1]) for p in range(o + scored_from[s], o + lengths[s])]
    assert [p for p, _ in scored] == wanted
    assert all(seen >= min(p - text.offsets_S1[owner[p]], context // 2) for p, seen in scored)
    assert (windows.lengths <= context).all()
    assert (owner[windows.begins_W] == owner[windows.ends_W - 1]).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 17).flatmap(lambda t: st.tuples(st.just(t), st.lists(st.integers(1, t), max_size=30))))
def test_rows_hold_every_window_once_and_nearly_as_tight_as_can_be(case):
    context, lengths = case

    rows = packed(np.array(lengths, np.int64), context)

    assert sorted(w for row in rows for w in row) == list(range(len(lengths)))
    assert all(sum(lengths[w] for w in row) <= context for row in rows)
    assert len(rows) <= 11 / 9 * -(-sum(lengths) // context) + 2 or max(lengths) > context // 2


def test_a_window_longer_than_the_context_is_refused():
    with pytest.raises(ValueError, match="a window of 5 positions does not fit a context of 4"):
        packed(np.array([2, 5]), 4)


def test_a_document_of_ten_tokens_is_read_in_three_windows_of_six():
    windows = cut(sequences([10]), 6)

    assert windows.begins_W.tolist() == [0, 3, 6]
    assert windows.ends_W.tolist() == [6, 9, 10]
    assert windows.scored_W.tolist() == [0, 6, 9]


@settings(max_examples=100, deadline=None)
@given(LENGTHS, st.integers(1, 9), st.booleans())
def test_a_row_says_of_each_position_what_it_predicts_and_where_its_window_begins(lengths, context, pack):
    windows = cut(sequences(lengths), context)

    layout = Layout.of(windows, context, pack=pack)

    found = {}
    for row, scored, starts in zip(layout.target_RT, layout.scored_RT, layout.starts_RT, strict=True):
        for t, target in enumerate(row.tolist()):
            assert starts[t] <= t
            if scored[t]:
                found.setdefault(target, []).append(row[starts[t] : t + 1].tolist())
        padding = np.flatnonzero(row < 0)
        assert not scored[padding].any()
        assert (starts[padding] == (padding[0] if len(padding) else 0)).all()
    wanted = {
        p: [list(range(begin, p + 1))]
        for begin, end, first in zip(windows.begins_W, windows.ends_W, windows.scored_W, strict=True)
        for p in range(first, end)
    }
    assert found == wanted


def test_before_each_sequence_stands_the_end_of_text():
    text = sequences([2, 0, 3])

    assert text.inputs(7).tolist() == [7, 100, 7, 102, 103]
