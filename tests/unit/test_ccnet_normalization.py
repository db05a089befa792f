"""CCNet's normalization: the kernel says what plain Python says."""

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels.ccnet import normalized, slow
from stages.ngrams.normalizations import identity, normalizer

TEXTS = st.lists(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
    | st.text(
        st.sampled_from("Ab 1\n\t\u00a0\u3000é\u0301Σσς١—…．，「가각\U0001f389\u0085\u200b\u302e\u16ff0"), max_size=30
    ),
    max_size=8,
)


@given(TEXTS)
@settings(max_examples=300, deadline=None)
def test_the_kernel_normalizes_as_the_plain_definition(texts):
    assert normalized(pa.array(texts, pa.string())).to_pylist() == [slow(text) for text in texts]


def test_every_character_becomes_what_the_plain_definition_makes_of_it():
    characters = [f"x{chr(c)}y" for c in range(0x110000) if not 0xD800 <= c < 0xE000 and (c < 0x30000 or c % 101 == 0)]

    assert normalized(pa.array(characters, pa.string())).to_pylist() == [slow(c) for c in characters]


def test_a_slice_is_normalized_like_an_array_of_its_own():
    texts = pa.array(["One", "ΟΔΟΣ", "Été 3", " x "], pa.string())

    assert normalized(texts.slice(1, 2)).to_pylist() == ["οδος", "ete 0"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("  Ça\ncoûte 12,50 €  ", "cacoute 00,00 €"),  # the line break goes, and glues two words
        ("“Quoted” — and … more．", '"quoted"  -  and ... more. '),
        ("１２３ ٣ ½", "000 0 ½"),
        ("\x00a\x7f\x85b\u200b", "ab\u200b"),
        ("한국어", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165"),
        ("", ""),
        (" \n\t ", ""),
    ],
)
def test_ccnet_makes_one_line_of_a_document(text, line):
    assert normalizer("ccnet")(pa.array([text], pa.string())).to_pylist() == [line]


def test_plain_texts_stay_and_documents_become_one_line():
    texts = pa.array(["A b\n\nc\n", ""], pa.string())

    assert normalizer("plain")(texts).to_pylist() == ["A b\n\nc\n", ""]
    assert normalizer("document")(texts).to_pylist() == ["A b  c ", ""]


def test_a_normalization_is_named_with_its_version_and_that_of_unicode_where_it_reads_its_tables():
    assert identity("plain") == "plain@1"
    assert identity("ccnet") == "ccnet@1+unicode-14.0.0"
