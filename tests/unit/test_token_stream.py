"""Streams of tokens against lists that are concatenated and cut by hand."""

import json
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from token_streams import END, name_of, packed, sequence_order, stream_of

from stages.errors import DataError, SpecError, StorageError
from trainer.data import TokenStream
from trainer.data_ledger import DataLedger
from trainer.sequences import Sequences
from trainer.view import View

DOCUMENTS = st.lists(st.lists(st.integers(0, 499), max_size=12), min_size=1, max_size=9)


@st.composite
def cases(draw):
    """Shards, rows of a view, whether they are ordered, a seed, a context and a batch for four ranks."""
    documents = draw(DOCUMENTS)
    cut = draw(st.integers(0, len(documents)))
    rows = draw(st.lists(st.integers(0, len(documents) - 1), min_size=1, max_size=12))
    return {
        "shards": [documents[:cut], documents[cut:]],
        "rows": rows,
        "ordered": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**63)),
        "context": draw(st.integers(1, 9)),
        "batch": 4 * draw(st.integers(1, 2)),
    }


def stream_for(folder, case, exhausted="repeat"):
    pack = packed(Path(folder), case["shards"])
    view = View(np.array(case["rows"]), case["ordered"], "made", pack.key)
    settings = {"context": case["context"], "batch_sequences": case["batch"], "seed": case["seed"]}
    return TokenStream(pack, view, **settings, exhausted=exhausted)


def tokens_for(case, count):
    documents = [d for shard in case["shards"] for d in shard]
    endless = stream_of(documents, case["rows"], ordered=case["ordered"], seed=case["seed"])
    return list(islice(endless, count))


def sequences_for(case, tokens, count):
    """The first sequences of training and the token behind each, `tokens` being those of an epoch."""
    context = case["context"]
    order = sequence_order(tokens, context, ordered=case["ordered"], seed=case["seed"])
    numbers = list(islice(order, count))
    oracle = tokens_for(case, (max(numbers) + 1) * context + 1)
    return [oracle[n * context : (n + 1) * context + 1] for n in numbers]


def starts_by_hand(sequence):
    """Where the document of each token of a sequence begins in it."""
    return [next(i for i, other in enumerate(sequence) if other.copy == token.copy) for token in sequence]


def spans_by_hand(sequences):
    """The parts of documents that sequences are made of."""
    spans = []
    for number, sequence in enumerate(sequences):
        for start in sorted(set(starts_by_hand(sequence))):
            first = sequence[start]
            length = sum(t.copy == first.copy for t in sequence)
            spans.append((number, start, first.row, first.offset, length, first.copy[0], name_of(first.row)))
    return spans


def spans_of(batch):
    return [(*map(int, list(s)[:-1]), s["doc_id"].tobytes()) for s in batch.spans]


@settings(deadline=None, max_examples=80)
@given(cases(), st.lists(st.integers(0, 12), min_size=1, max_size=4))
def test_batches_are_what_lists_cut_by_hand_give_for_any_step_in_any_world(case, steps):
    context, size = case["context"], case["batch"]
    with TemporaryDirectory() as folder:
        stream = stream_for(folder, case)
        sequences = sequences_for(case, stream.tokens_per_epoch, (max(steps) + 1) * size)
        for step in steps:
            held = sequences[step * size : (step + 1) * size]
            cut = [s[:-1] for s in held]
            after = [s[1:] for s in held]
            for world in (1, 2, 4):
                batches = [stream.batch(step, rank, world) for rank in range(world)]
                assert all(b.tokens_BT.shape == (case["batch"] // world, context) for b in batches)
                assert np.concatenate([b.tokens_BT for b in batches]).tolist() == [[t.id for t in s] for s in cut]
                assert np.concatenate([b.targets_BT for b in batches]).tolist() == [[t.id for t in s] for s in after]
                assert np.concatenate([b.starts_BT for b in batches]).tolist() == [starts_by_hand(s) for s in cut]
                assert all(spans_of(b) == spans_by_hand(cut) for b in batches)


@settings(deadline=None, max_examples=50)
@given(cases())
def test_an_epoch_has_each_token_of_each_document_once_and_nothing_else(case):
    with TemporaryDirectory() as folder:
        stream = stream_for(folder, case | {"batch": 1, "context": 1})
        seen = [
            (int(b.spans["row"][0]), int(b.spans["offset"][0]), int(b.tokens_BT[0, 0]))
            for b in map(stream.batch, range(stream.tokens_per_epoch))
        ]

    documents = [d for shard in case["shards"] for d in shard]
    assert sorted(seen) == sorted((r, i, t) for r in case["rows"] for i, t in enumerate([END, *documents[r]]))


@settings(deadline=None, max_examples=50)
@given(cases(), st.data())
def test_documents_that_two_views_share_keep_their_relative_order(case, data):
    documents = [d for shard in case["shards"] for d in shard]
    rows = sorted(data.draw(st.sets(st.integers(0, len(documents) - 1), min_size=1)))
    case = case | {"ordered": False, "rows": list(range(len(documents))), "batch": 1}

    def orders(rows):
        """The rows of the first four epochs, in their order."""
        with TemporaryDirectory() as folder:
            few = {"rows": rows, "context": 4 * (len(rows) + sum(len(documents[r]) for r in rows))}
            spans = stream_for(folder, case | few).batch(0).spans
        return [[int(s["row"]) for s in spans if s["epoch"] == epoch] for epoch in range(4)]

    assert [[r for r in order if r in rows] for order in orders(case["rows"])] == orders(rows)


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 700), st.integers(1, 9), st.booleans(), st.integers(0, 2**63), st.integers(1, 5))
def test_every_sequence_comes_once_in_its_own_epoch_and_in_its_part_of_a_given_order(n, context, ordered, seed, epochs):
    sequences = Sequences(n, context, ordered=ordered, seed=seed)
    whole = epochs * n // context
    found = sequences.numbers(0, whole).tolist()
    cuts = [epoch * n // context for epoch in range(epochs + 1)]

    assert sorted(found) == list(range(whole))
    assert all(sorted(found[a:b]) == list(range(a, b)) for a, b in pairwise(cuts))
    if ordered:
        assert all(abs(place - number) < max(1, n // context // 64) for place, number in enumerate(found))


def test_a_long_document_is_spread_over_the_epoch_of_a_bag_and_stays_in_its_place_of_an_order(tmp_path):
    documents = [[20] * 4_000, *([n] * 12 for n in range(21, 493))]

    def steps_of_the_long_one(ordered):
        case = {"shards": [documents], "rows": range(len(documents)), "ordered": ordered, "seed": 1}
        stream = stream_for(tmp_path, case | {"context": 10, "batch": 4})
        return [s for s in range(stream.whole_steps) if (stream.batch(s).tokens_BT == 20).any()], stream.whole_steps

    mixed, steps = steps_of_the_long_one(ordered=False)
    told, _ = steps_of_the_long_one(ordered=True)

    assert np.diff(mixed).max() < 8  # 40 % of the sequences are its own: 7 steps without one have a chance of 1 in 10^6
    assert mixed[0] < 8
    assert mixed[-1] > steps - 8
    assert told == list(range(len(told)))
    assert len(told) <= 4_000 / 40 + 1 + steps / 64


@pytest.fixture
def stream(tmp_path):
    shards = [[[n] * (n % 7) for n in range(20, 60)], [[n] * 5 for n in range(60, 90)]]
    case = {"shards": shards, "rows": [*range(70), 4, 4, 9], "ordered": False, "seed": 7, "context": 8, "batch": 4}
    return stream_for(tmp_path, case)


def test_steps_are_the_same_whatever_was_asked_for_before(stream):
    forward = [stream.batch(step).tokens_BT.tolist() for step in range(60)]
    backward = [stream.batch(step).tokens_BT.tolist() for step in reversed(range(60))]

    assert forward == backward[::-1]


def test_seeds_give_different_orders_of_the_same_documents(tmp_path):
    case = {"shards": [[[n] for n in range(50)]], "rows": range(50), "ordered": False, "context": 100, "batch": 1}
    one, other = (stream_for(tmp_path, case | {"seed": seed}).batch(0).tokens_BT[0].tolist() for seed in (1, 2))

    assert one != other
    assert sorted(one) == sorted(other)


def test_the_ledger_goes_on_from_its_state_three_times_in_a_row_and_agrees_in_every_world(stream):
    whole = DataLedger()
    for step in range(40):
        whole.update(stream.batch(step))
    ledger = DataLedger()
    for begin, end, world in ((0, 3, 1), (3, 17, 4), (17, 18, 2), (18, 40, 4)):
        ledger = DataLedger.from_state(json.loads(json.dumps(ledger.state())))
        for step in range(begin, end):
            ledger.update(stream.batch(step, world - 1, world))

    assert ledger.state() == whole.state()
    assert whole.state()["tokens"] == 40 * stream.tokens_per_step


def test_the_ledger_tells_other_documents_offsets_and_epochs_apart(stream):
    first, later = stream.batch(0), stream.batch(1)
    digests = set()
    for field, value in ((None, 0), ("row", 5), ("doc_id", 1), ("offset", 1), ("length", 1), ("epoch", 1)):
        changed = stream.batch(0)
        if field:
            changed.spans[field][0] += value
        ledger = DataLedger()
        ledger.update(changed)
        digests.add(ledger.digest)

    assert len(digests) == 5  # a row is a place in files, which the ledger does not depend on
    assert first.spans.tolist() != later.spans.tolist()


def test_the_ledger_remembers_every_step_before_the_last(stream):
    ledgers = DataLedger(), DataLedger()
    for step in range(3):
        for ledger in ledgers:
            batch = stream.batch(step)
            batch.spans["offset"][0] += step == 0 and ledger is ledgers[0]
            ledger.update(batch)

    assert ledgers[0].digest != ledgers[1].digest
    assert ledgers[0].tokens == ledgers[1].tokens


def test_the_ledger_refuses_a_step_that_is_not_the_next_and_a_state_of_something_else(stream):
    with pytest.raises(ValueError, match=r"holds 0 steps, so the batch of step 1 is not the next one"):
        DataLedger().update(stream.batch(1))
    for state in ({}, {"steps": 1, "tokens": 2, "digest": "xyz"}, {"steps": None, "tokens": 2, "digest": ""}):
        with pytest.raises(StorageError, match="is not the state of a data ledger"):
            DataLedger.from_state(state)


def test_sizes_of_a_stream_are_those_of_its_view(stream):
    own = sum(n % 7 for n in range(20, 60)) + 30 * 5 + 2 * (24 % 7) + 29 % 7

    assert stream.tokens_per_epoch == own + 73
    assert stream.tokens_per_step == 32
    assert stream.steps_per_epoch == stream.tokens_per_epoch / 32
    assert stream.whole_steps == stream.tokens_per_epoch // 32
    assert [stream.epoch_of(s) for s in (0, stream.whole_steps, stream.whole_steps + 1)] == [0, 0, 1]
    assert stream.left_over(2) == stream.tokens_per_epoch - 64


def test_a_refusing_stream_gives_its_whole_epoch_and_says_what_more_would_take(tmp_path):
    case = {"shards": [[[7] * 9, [8] * 9]], "rows": [0, 1], "ordered": True, "seed": 1, "context": 5, "batch": 2}
    stream = stream_for(tmp_path, case, "refuse")
    stream.require(2)

    assert stream.batch(1).targets_BT.tolist() == [[8, 8, 8, 8, 8], [8, 8, 8, 8, END]]
    message = (
        r"the view 'made' has 20 tokens in 2 documents, but 3 steps need 30, which is 1\.50 epochs; choose a smaller"
    )
    for refused in (lambda: stream.require(3), lambda: stream.batch(2)):
        with pytest.raises(DataError, match=message):
            refused()


def test_a_batch_that_ranks_cannot_share_equally_is_refused(stream):
    with pytest.raises(SpecError, match="a batch of 4 sequences cannot be shared equally by 3 ranks"):
        stream.batch(0, 0, 3)
    for step, rank, world in ((-1, 0, 1), (0, 2, 2), (0, 0, 0)):
        with pytest.raises(ValueError, match="there is no step"):
            stream.batch(step, rank, world)


def test_keys_of_streams_name_all_that_changes_a_batch_and_nothing_else(tmp_path):
    case = {"shards": [[[7] * 9, [8] * 9]], "rows": [0, 1], "ordered": True, "seed": 1, "context": 5, "batch": 2}
    changes = [
        {"rows": [1, 0]},
        {"ordered": False},
        {"seed": 2},
        {"context": 6},
        {"batch": 3},
        {"shards": [[[7], [8]]]},
    ]
    keys = [stream_for(tmp_path / str(n), case | change).key for n, change in enumerate([{}, *changes])]

    assert len(set(keys)) == len(keys)
    assert stream_for(tmp_path / "again", case, "refuse").key == keys[0]


def test_a_batch_is_of_the_types_that_a_model_takes(stream):
    batch = stream.batch(0, 1, 2)

    assert (batch.tokens_BT.dtype, batch.targets_BT.dtype, batch.starts_BT.dtype) == (np.int64, np.int64, np.int32)
    assert batch.tokens_BT.flags.c_contiguous
    assert batch.targets_BT.flags.c_contiguous
