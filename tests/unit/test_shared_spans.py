"""What two texts share: runs of words, in every script; and how little of it is shown."""

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.report.shared_spans import SHOWN, Words, compared, pieces, shared_fraction

WORDS = ["sieve", "Flour", "bran", "篩", "粉", "المنخل", "мука", "e\u0301", "<b>", "&", "🌾", "\u202e", "हिन्दी", "।"]
texts = st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join)


def marked(text: str, *others: str, ngram: int = 3) -> list[str]:
    return [text[r.begin : r.end] for r in compared(text, others, ngram) if r.kind == "shared"]


@pytest.mark.parametrize(
    ("text", "other", "shared"),
    [
        ("one two three four five", "zero one two three nine", ["one two three"]),
        ("x (One, two: THREE!) x", "one two three", ["(One, two: THREE!)"]),
        ("a b c x d e f", "a b c d e f", ["a b c", "d e f"]),
        ("猫が好きです", "私は猫が好き", ["猫が好き"]),
        ("قال المنخل يمرر الدقيق", "المنخل يمرر الدقيق", ["المنخل يمرر الدقيق"]),
        ("नमस्ते दुनिया यह है अब", "पर नमस्ते दुनिया यह", ["नमस्ते दुनिया यह"]),
        ("ภาษาไทยง่าย", "ภาษาไทยยาก", ["ภาษาไทย"]),
        ("caf\u00e9 au lait noir", "cafe\u0301 au lait noir", ["au lait noir"]),
        ("🌾🌾🌾", "🌾🌾🌾", ["🌾🌾🌾"]),
        ("two words", "Two words", ["two words"]),
        ("nothing in common", "to see here", []),
        ("", "x", []),
        ("x", "", []),
    ],
)
def test_runs_of_words_that_the_other_text_has_are_shared(text, other, shared):
    assert marked(text, other) == shared


def test_a_text_shares_with_each_of_several_others():
    assert marked("a b c d x e f g h", "a b c d", "e f g h") == ["a b c d", "e f g h"]


@given(texts, texts)
def test_runs_are_the_text_in_order_and_alternate(text, other):
    runs = compared(text, [other], 3)

    assert "".join(text[r.begin : r.end] for r in runs) == text
    assert all(a.kind != b.kind and a.end == b.begin for a, b in pairwise(runs))


@given(texts, texts)
def test_a_word_is_shared_if_it_lies_in_an_ngram_of_the_other(text, other):
    words, others = Words.of(text), Words.of(other)
    n = max(1, min([3, *(len(w.keys) for w in (words, others) if w.keys)]))
    theirs = [others.keys[i : i + n] for i in range(len(others.keys) - n + 1)]
    expected = [
        any(words.keys[j : j + n] in theirs for j in range(max(0, i - n + 1), i + 1) if j + n <= len(words.keys))
        for i in range(len(words.keys))
    ]
    runs = compared(text, [other], 3)
    found = [any(r.kind == "shared" and r.begin <= a and b <= r.end for r in runs) for a, b in words.places]

    assert found == expected


@given(texts)
def test_a_text_shares_all_of_itself(text):
    assert shared_fraction(compared(text, [text], 3)) == (1.0 if Words.of(text).keys else 0.0)


@settings(deadline=None)  # a busy machine is no failure
@given(st.integers(0, 2**32), st.integers(0, 50_000))
def test_what_is_shown_and_what_is_left_out_are_the_whole_text(seed, beyond):
    draw = random.Random(seed)
    mine = [draw.choice(WORDS) + str(draw.randrange(9)) for _ in range(draw.randrange(600))]
    text = " ".join(mine)
    cut = draw.randrange(len(mine) + 1)
    shown = pieces(text, compared(text, [" ".join([*mine[cut:], "x", *mine[: cut // 2]])], 3), beyond)
    at = 0
    for piece in shown:
        assert ("text" in piece) != ("characters" in piece)
        if "text" in piece:
            assert text.startswith(piece["text"], at)
        at += len(piece["text"]) if "text" in piece else piece["characters"]

    assert at == len(text) + beyond
    assert sum(len(p.get("text", "")) for p in shown) <= SHOWN
    assert all(piece["shared"] is not None for piece in shown[:-1])
