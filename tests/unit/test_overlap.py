"""What texts share with panel documents, against a slow search over lists of words."""

import tracemalloc

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages import overlap as overlaps
from stages.kernels.sketch_sha1 import words
from stages.overlap import Overlap
from stages.text.minhash import Minhash

TEXTS = st.lists(st.sampled_from(["a", "b", "C", "d", "猫", "ÀÉ"]), max_size=14).map(" ".join)


def words_of(text):
    return list(words(text, Minhash()))


def sought(text, ngram, min_words):
    """The word sequences that a panel document is found by."""
    own = words_of(text)
    if len(own) >= ngram:
        return {tuple(own[i : i + ngram]) for i in range(len(own) - ngram + 1)}
    return {tuple(own)} if len(own) >= min_words else set()


def holds(text, passage):
    own = words_of(text)
    return any(tuple(own[i : i + len(passage)]) == passage for i in range(len(own)))


@settings(max_examples=150, deadline=None)
@given(
    st.lists(TEXTS, min_size=1, max_size=5),
    st.lists(TEXTS, min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([1, 3, 1 << 16]),
)
def test_shared_ngrams_are_those_of_a_slow_search(panel, texts, ngram, min_words, together):
    least = min(ngram, min_words)
    texts = [*texts, panel[0] + " and so on"]

    overlap = Overlap.of(pa.array(panel), ngram=ngram, min_words=least)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(overlaps, "TOGETHER", together)
        found = overlap.pairs(pa.array(texts))

    assert overlap.ngrams_D.tolist() == [len(sought(p, ngram, least)) for p in panel]
    wanted = {
        (row, d): sum(holds(text, passage) for passage in sought(document, ngram, least))
        for row, text in enumerate(texts)
        for d, document in enumerate(panel)
    }
    rows, documents, counts = found.row_K.tolist(), found.document_K.tolist(), found.ngrams_K.tolist()
    assert {p: n for p, n in wanted.items() if n} == {
        (r, d): n for r, d, n in zip(rows, documents, counts, strict=True) if n
    }
    for document, stretch in zip(documents, found.stretch_K.tolist(), strict=True):
        if stretch >= 0:
            assert tuple(overlap.sought.text(stretch).split()) in sought(panel[document], ngram, least)


def test_what_is_in_every_text_and_every_document_is_compared_in_little_memory():
    footer = " ".join(f"word{i}" for i in range(40))
    overlap = Overlap.of(pa.array([f"{footer} and {i}" for i in range(300)]))
    texts = pa.array([f"{i} or {footer}" for i in range(600)])
    overlap.pairs(texts.slice(0, 1))

    tracemalloc.start()
    found = overlap.pairs(texts)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (len(found.row_K), set(found.ngrams_K.tolist())) == (300 * 600, {28})
    assert peak < 100_000_000


def test_a_text_of_which_one_word_in_twelve_differs_shares_nothing_and_one_cut_short_nearly_all():
    own = [f"word{i}" for i in range(200)]
    changed = [w if i % 12 else f"other{i}" for i, w in enumerate(own)]
    overlap = Overlap.of(pa.array([" ".join(own), "something else altogether"]))

    found = overlap.pairs(pa.array(["Nothing of the kind.", " ".join(changed), " ".join(own[:-1])]))

    assert found.row_K.tolist() == [2]
    assert (found.document_K.tolist(), found.ngrams_K.tolist()) == ([0], [187])
    assert found.jaccard_K[0] > 0.9


def test_equal_documents_of_the_panel_are_found_alike():
    text = "The sieve lets the fine flour through and keeps the bran that nobody wanted."
    overlap = Overlap.of(pa.array([text, "short", text.upper()]))

    found = overlap.pairs(pa.array([f"Look: {text}", "short"]))

    assert list(zip(found.row_K.tolist(), found.document_K.tolist(), found.ngrams_K.tolist(), strict=True)) == [
        (0, 0, 2),
        (0, 2, 2),
        (1, 1, 0),
    ]
    assert np.nan_to_num(found.jaccard_K, nan=-1).tolist()[2] == 1.0


def test_a_short_document_within_others_is_no_part_of_what_they_are_found_by():
    overlap = Overlap.of(
        pa.array(["the fine flour", "the fine flour falls", "see how the fine flour falls"]), ngram=5, min_words=3
    )

    found = overlap.pairs(pa.array(["look at the fine flour here"]))

    assert overlap.ngrams_D.tolist() == [1, 1, 2]
    assert (found.document_K.tolist(), found.ngrams_K.tolist()) == ([0], [1])
