"""Views: what an arm trains on, and what is refused."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from token_streams import packed, written

from stages.errors import DataError, StorageError
from trainer.data import TokenStream
from trainer.repetition import Use, describe, effective_tokens
from trainer.view import View


@pytest.fixture
def pack(tmp_path):
    return packed(tmp_path / "pack", [[[1] * 9, None], [[2] * 4]])


@pytest.mark.parametrize("ordered", [True, False])
def test_a_view_survives_its_file(tmp_path, ordered):
    view = View(np.array([5, 2, 2, 9]), ordered, "made 篩", "abc")
    view.save(tmp_path / "view")
    loaded = View.load(tmp_path / "view")

    assert loaded.rows.tolist() == view.rows.tolist()
    assert (loaded.ordered, loaded.name, loaded.pack) == (ordered, "made 篩", "abc")
    assert loaded.key == view.key


def test_the_key_is_of_the_rows_and_of_their_order_where_that_counts():
    def key(rows, ordered, name="a"):
        return View(np.array(rows), ordered, name).key

    assert key([3, 1, 2], False) == key([1, 2, 3], False, "another name")
    assert len({key([1, 2, 3], False), key([1, 2, 3], True), key([2, 1, 3], True), key([1, 2, 3, 3], False)}) == 4


def test_a_view_that_was_cut_or_is_none_is_refused(tmp_path):
    View(np.arange(9), False, "made").save(tmp_path / "view")
    data = (tmp_path / "view").read_bytes()
    for length in (0, 8, 70, len(data) - 1):
        (tmp_path / "view").write_bytes(data[:length])
        with pytest.raises(StorageError, match=r"is not a view|that was cut"):
            View.load(tmp_path / "view")
    (tmp_path / "view").write_bytes(data.replace(b"\5", b"\6", 1))
    with pytest.raises(StorageError, match="damaged"):
        View.load(tmp_path / "view")
    with pytest.raises(StorageError, match="is not a view"):
        View.load(written(tmp_path / "pack", [[1]]))


@pytest.mark.parametrize(
    ("rows", "made_for", "sentence"),
    [
        ([], None, "the view 'made' has no documents, so nothing can be trained on it"),
        (
            [0, 3],
            None,
            "belongs to another pack of tokens: it names row 3 and the pack has 3 documents; make the view again",
        ),
        ([-1, 0], None, "it names row -1 and the pack has 3 documents"),
        ([0], "abc", "belongs to another pack of tokens: it was made for abc and this is "),
        ([0, 1, 1], None, "the view 'made' has 2 documents whose tokens are unknown; leave them out"),
    ],
)
def test_a_view_that_cannot_be_read_from_a_pack_is_refused_before_anything_is_read(pack, rows, made_for, sentence):
    view = View(np.array(rows, np.int64), False, "made", made_for)

    with pytest.raises(DataError, match=sentence):
        TokenStream(pack, view, context=2, batch_sequences=1, seed=1, exhausted="repeat")


def test_rows_that_are_no_list_of_whole_numbers_are_refused():
    for rows in (np.ones(3), np.ones((2, 2), int)):
        with pytest.raises(ValueError, match="not a list of rows"):
            View(rows, False, "made")


def test_a_budget_within_an_epoch_is_unique_and_one_beyond_repeats(pack):
    view = View(np.array([0, 2]), False, "made", pack.key)  # 10 and 5 tokens with their marks

    first, second, fifth = describe(view, pack, [6, 15, 75])

    assert (first.epochs, first.unique, first.effective) == (0.4, pytest.approx(6), pytest.approx(6))
    assert second == Use(15, 1.0, 15.0, 15.0)
    assert fifth == Use(75, 5.0, 15.0, pytest.approx(15 + 15 * 15 * (1 - np.exp(-4 / 15))))


def test_copies_within_an_epoch_are_not_unique(pack):
    ordered = View(np.array([2, 2, 0]), True, "made")
    bag = View(np.array([2, 2, 0]), False, "made")

    assert [u.unique for u in describe(ordered, pack, [3, 5, 8, 12, 20, 40])] == [3, 5, 5, 7, 15, 15]
    assert [u.unique for u in describe(bag, pack, [10, 20, 40])] == [pytest.approx(5 * 0.75 + 10 * 0.5), 15, 15]


def test_a_budget_that_is_not_positive_is_refused(pack):
    with pytest.raises(ValueError, match="not all positive"):
        describe(View(np.array([0]), False, "made"), pack, [5, 0])


@given(st.floats(1, 1e12), st.floats(1, 1e4))
def test_repeated_tokens_are_worth_at_most_fresh_ones_and_at_most_sixteen_epochs(unique, epochs):
    worth = float(effective_tokens(unique * epochs, unique))

    assert unique <= worth * (1 + 1e-12)
    assert worth <= min(unique * epochs, 16 * unique) * (1 + 1e-9)
