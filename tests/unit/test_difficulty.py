"""Difficulty against its definitions said slowly."""

import math
import random
import re
import unicodedata
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.text.difficulty import Difficulty

#: McCarthy and Jarvis's own example, of which the first six words are a factor.
PEOPLE = "of the people by the people for the people"


def measured(texts: list[str], **fields: Any) -> dict[str, list[Any]]:
    stage = Difficulty(**fields)
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    answer: dict[str, list[Any]] = measure(stage, stage.open(), batch).to_pydict()
    return answer


def factors(words: list[str]) -> float:
    """MTLD's factors, recounting the distinct words at every step."""
    full, begin = 0.0, 0
    for end in range(1, len(words) + 1):
        part = words[begin:end]
        if len(set(part)) / len(part) < 0.72:
            full, begin = full + 1, end
    rest = words[begin:]
    return full + (1 - len(set(rest)) / len(rest)) / (1 - 0.72) if rest else full


def mtld(words: list[str]) -> float | None:
    both = factors(words), factors(words[::-1])
    return None if 0 in both else sum(len(words) / f for f in both) / 2


def syllables(word: str) -> int:
    letters = "".join(c for c in unicodedata.normalize("NFD", word.lower()) if c.isascii() and c.isalpha())
    groups = len(re.findall("[aeiouy]+", letters))
    silent = re.search("[^aeiouy]e$", letters) and len(letters) > 2 and not re.search("[^aeiouy]le$", letters)
    silent = silent or (re.search("[^aeiouydt]ed$", letters) and len(letters) > 3)
    return max(groups - bool(silent and re.search("ed?$", word.lower())), 1)


WORDS = st.lists(
    st.sampled_from(["a", "B", "the", "The", "sieve", "7", "é", "мука", "المنخل", "粉", "ten2"]), max_size=120
)


@given(WORDS)
@settings(max_examples=300, deadline=None)
def test_mtld_is_the_mean_of_both_directions_counted_word_by_word(words: list[str]) -> None:
    (answer,) = measured([" ".join(words)], min_words=1)["mtld"]
    expected = mtld([w.lower() for w in words]) if words else None

    assert (answer is None) == (expected is None)
    assert answer is None or math.isclose(answer, expected, rel_tol=1e-12)


def test_mtld_of_many_texts_in_one_batch_is_that_of_each() -> None:
    draw = random.Random(1)
    texts = [
        " ".join(f"w{int(draw.expovariate(0.05))}" for _ in range(draw.choice([3, 150, 9_000]))) for _ in range(30)
    ]

    answer = measured(texts)["mtld"]

    expected = [mtld(t.split()) if len(t.split()) >= 100 else None for t in texts]
    assert [a is None for a in answer] == [e is None for e in expected]
    assert [a for a in answer if a] == pytest.approx([e for e in expected if e], rel=1e-12)


def test_mtld_of_the_authors_own_example() -> None:
    assert measured([PEOPLE], min_words=9)["mtld"] == [9.0]


def test_mtld_is_unknown_below_the_fewest_words_and_where_no_word_is_repeated() -> None:
    distinct = " ".join(f"w{i}" for i in range(200))

    assert measured([PEOPLE, distinct, ""])["mtld"] == [None, None, None]


@pytest.mark.parametrize(
    ("word", "count"),
    [
        ("the", 1), ("me", 1), ("see", 1), ("made", 1), ("table", 2), ("people", 2), ("whole", 1), ("asked", 1),
        ("added", 2), ("wanted", 2), ("bed", 1), ("rhythm", 1), ("don't", 1), ("don’t", 1), ("café", 2), ("CAFÉ", 2),
        ("Zwölf", 1), ("beautiful", 3), ("readability", 5), ("hmm", 1), ("eye", 1), ("freed", 1),
    ],
)  # fmt: skip
def test_syllables_follow_the_documented_rule(word: str, count: int) -> None:
    (ease,) = measured([word])["flesch"]

    assert ease == pytest.approx(206.835 - 1.015 - 84.6 * count)
    assert syllables(word) == count


@given(st.lists(st.text("abdeéiloptuyLÉ", min_size=1, max_size=9), min_size=1, max_size=20))
@settings(max_examples=300, deadline=None)
def test_flesch_counts_the_syllables_of_every_word(words: list[str]) -> None:
    (ease,) = measured([" ".join(words)])["flesch"]

    expected = 206.835 - 1.015 * len(words) - 84.6 * sum(map(syllables, words)) / len(words)
    assert ease == pytest.approx(expected)


def test_sentences_end_at_end_marks_and_at_blank_lines_and_not_at_abbreviations_or_single_line_ends() -> None:
    texts = [
        "The cat sat.\nThe cat ran!",
        "A cat in\na hat",
        "A head\n\n \n\nA cat",
        "\n\n\nMr. Cat sat, i.e. in the U.S. again",
    ]

    ease = measured(texts)["flesch"]

    words, spoken, sentences = [6, 5, 4, 10], [6, 5, 4, 11], [2, 1, 2, 1]
    assert ease == pytest.approx(
        [206.835 - 1.015 * w / s - 84.6 * y / w for w, y, s in zip(words, spoken, sentences, strict=True)]
    )


def test_ease_is_unknown_for_other_scripts_and_known_beside_a_little_of_them() -> None:
    texts = ["今天天气很好。", "הכלב ישן", "Привет, мир", "1 2 3 ...", "👍🏽", "The cat said 今天 to the dog"]

    assert [ease is None for ease in measured(texts)["flesch"]] == [True, True, True, True, True, False]


def test_a_longer_word_and_a_longer_sentence_are_harder() -> None:
    easy, long_words, long_sentence = measured(
        [
            "The cat sat. The dog ran.",
            "The animal deliberated. The quadruped accelerated.",
            "The cat sat and the dog ran.",
        ]
    )["flesch"]

    assert easy > long_sentence
    assert easy > long_words


def test_repetition_compresses_and_noise_does_not() -> None:
    draw = random.Random(2)
    noise = "".join(chr(33 + draw.randrange(90)) for _ in range(4_000))
    words = " ".join(draw.choice(PEOPLE.split()) for _ in range(1_000))

    repeated, prose, random_text = measured(["buy now " * 500, words, noise])["compression_ratio"]

    assert repeated < 0.02 < prose < 0.4
    assert 0.8 < random_text < 1


def test_words_and_bytes_count_what_they_say() -> None:
    answer = measured(["Über 3 cats, 今天 don't", "👩‍👩‍👧‍👦"])

    assert answer["words"] == [7, 0]
    assert answer["bytes"] == [len("Über 3 cats, 今天 don't".encode()), 25]


def test_a_text_larger_than_every_buffer_is_counted_whole() -> None:
    (words,) = measured([" ".join(f"w{i % 70_000}" for i in range(150_000))])["words"]

    assert words == 150_000


def test_rarity_is_unknown_without_a_table() -> None:
    assert measured([PEOPLE])["mean_word_rarity"] == [None]
