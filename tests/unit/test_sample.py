"""Samples: chosen by hash, the same however the corpus is cut."""

import hashlib

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.sample import Lowest, Place, sample
from stages.chance import draw, lowest
from stages.errors import SpecError

numbers = st.lists(st.integers(0, 2**64 - 1), max_size=50).map(lambda v: np.array(v, np.uint64))


def ids(n):
    return [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(n)]


@settings(deadline=None)  # a busy machine is no failure
@given(numbers, st.integers(0, 60))
def test_the_lowest_are_the_first_of_the_sorted(values, n):
    assert values[lowest(values, n)].tolist() == sorted(values.tolist())[:n]


@settings(deadline=None)  # a busy machine is no failure
@given(numbers, st.integers(0, 20), st.integers(1, 9))
def test_the_lowest_of_many_shards_are_those_of_all_rows(values, n, cut):
    chosen = Lowest(n)
    for shard, start in enumerate(range(0, len(values), cut)):
        part = values[start : start + cut]
        chosen.offer(shard, part, np.arange(len(part)))
    order = np.argsort(values, kind="stable")[:n]
    assert chosen.places() == [Place(int(i) // cut, int(i) % cut) for i in order]


def test_a_draw_depends_on_seed_kind_and_document_alone():
    whole = draw(1, "sample", pa.array(ids(100)))
    parts = pa.chunked_array([ids(100)[:33], ids(100)[33:]])
    assert draw(1, "sample", parts).tolist() == whole.tolist()
    assert len({*whole.tolist(), *draw(2, "sample", parts).tolist(), *draw(1, "report", parts).tolist()}) == 300


def test_draws_are_spread_evenly():
    counts = np.bincount((draw(7, "sample", pa.array(ids(20_000))) >> np.uint64(60)).astype(int), minlength=16)
    assert ((counts - 1250) ** 2 / 1250).sum() < 40  # chi square with 15 degrees of freedom


def test_no_documents_draw_no_numbers():
    assert draw(1, "sample", pa.array([], pa.string())).tolist() == []


def test_a_sample_is_the_documents_of_the_fate_with_the_lowest_hashes(finished_run):
    table = pa.concat_tables([finished_run.read(s, ["verdict.fate"]) for s in finished_run.shards])
    mine = table.filter(pa.compute.equal(table["verdict.fate"], "kept"))
    order = np.argsort(draw(5, "sample", mine["doc_id"]), kind="stable")[:7]
    found = sample(finished_run, "kept", None, 7, 5)
    assert [d["doc_id"] for d in found] == mine["doc_id"].take(pa.array(order)).to_pylist()
    assert {d["fate"] for d in found} == {"kept"}


def test_a_sample_for_a_reason_has_documents_with_that_reason(finished_run):
    found = sample(finished_run, "rejected", "size/short", 100, 0)
    table = pa.concat_tables([finished_run.read(s, ["verdict.reasons"]) for s in finished_run.shards])
    short = [r["doc_id"] for r in table.to_pylist() if "size/short" in r["verdict.reasons"]]
    assert sorted(d["doc_id"] for d in found) == sorted(short)


def test_a_sample_of_the_quarantine_says_what_was_wrong(finished_run):
    found = sample(finished_run, "quarantined", None, 10, 0)
    assert sorted(d["ordinal"] for d in found) == [70, 71, 72]
    assert all(d["message"] and d["text"] is None for d in found)


def test_sampled_text_is_the_text_that_leaves(finished_run):
    (document,) = sample(finished_run, "rejected", "untidy", 1, 0)
    assert document["text"] == document["text"].strip()
    assert document["values"]["leaving.bytes"] == len(document["text"].encode())


@pytest.mark.parametrize(
    ("fate", "reason", "message"),
    [
        ("keptt", None, "did you mean 'kept'"),
        ("rejected", "size/shrt", "did you mean 'size/short'"),
        ("kept", "copy", "kept documents have no reason"),
        ("quarantined", "nothing", "nothing was quarantined for 'nothing'"),
    ],
)
def test_a_misspelt_question_gets_a_suggestion(finished_run, fate, reason, message):
    with pytest.raises(SpecError, match=message):
        sample(finished_run, fate, reason, 5, 0)
