import hashlib
import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kernels import contractions, unicode
from stages.kernels.arrow import buffers
from stages.kernels.lexicon import lexicon
from stages.kernels.spans import words_in
from stages.kernels.tokens import EXACT, HAS_ALPHA, HAS_SIGN, NOT_MARKS, NOT_SYMBOLS, STOP_WORDS, find_words, words_of
from stages.kernels.warm import FAMILIES, KINDS, compile_all, compile_kinds, families
from stages.kernels.words import ALPHANUMERIC, SEGMENT, SPACY, WHITESPACE

GOLDEN = json.loads(Path(__file__).with_name("spacy_words.json").read_text("utf-8"))
PIECES = [
    "the",
    "Don't",
    "e.g.",
    "U.S.",
    "http://a.example/x",
    "a-b",
    "(x)",
    "...",
    "…",
    "#1",
    "10km",
    "»né«",
    "漢字。",
    "שלום",
    "😀👍🏽",
    ":)",
    "e\u0301",
    "x.Y",
    "²",
]
TEXTS = st.one_of(
    st.text(),
    st.lists(st.sampled_from([*PIECES, " ", "\n", "\u00a0", "\u2003", ",", "."])).map("".join),
)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kinds(("text_stats",))
    words_in("warm", SPACY)


def listed(*names: str) -> str:
    folder = Path(unicode.__file__).parent
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:16]


@pytest.mark.parametrize(("text", "words"), GOLDEN["words"], ids=lambda value: str(value)[:20])
def test_words_are_those_that_spacy_gives(text, words):
    assert words_in(text, SPACY) == words


@given(TEXTS)
def test_words_hold_every_character_but_white_space_once_and_in_order(text):
    bare = "".join(text.split())

    assert "".join(words_in(text, SPACY)) == bare
    assert "".join(words_in(text, WHITESPACE)) == bare


@given(TEXTS)
def test_words_between_white_space_are_those_of_str_split(text):
    assert words_in(text, WHITESPACE) == text.split()


@given(st.text("abcXYZ019 .,'_-\n!"))
def test_alphanumeric_words_are_runs_joined_by_an_inner_apostrophe_dot_or_underscore(text):
    assert words_in(text, ALPHANUMERIC) == re.findall(r"[A-Za-z0-9]+(?:['._][A-Za-z0-9]+)*", text)


@given(TEXTS)
def test_words_of_a_piece_do_not_depend_on_its_neighbours(text):
    assert words_in(text, SPACY) == [word for piece in text.split() for word in words_in(piece, SPACY)]


@pytest.mark.parametrize("piece", ["word ", "don't ", "é. ", "漢字 "])
def test_a_text_longer_than_a_segment_has_the_words_of_its_parts(piece):
    times = 2 * SEGMENT // len(piece.encode()) + 3

    assert words_in(piece * times, SPACY) == words_in(piece, SPACY) * times


@pytest.mark.parametrize("character", ["a", "!", ".", "@", "é", "漢"])
def test_a_piece_longer_than_a_segment_is_cut_and_loses_nothing(character):
    text = character * (SEGMENT + 10)

    assert "".join(words_in(text, SPACY)) == text


@pytest.mark.parametrize("rule", [SPACY, WHITESPACE])
@given(texts=st.lists(TEXTS, max_size=5))
def test_lengths_and_flags_describe_the_words(rule, texts):
    data, offsets = buffers(pa.array(texts, pa.string()))
    _, sizes, kinds, begins = find_words(data, offsets, lexicon(), rule)
    words = [words_in(text, rule) for text in texts]

    assert np.diff(begins).tolist() == [len(found) for found in words]
    assert sizes.tolist() == [len(word) for found in words for word in found]
    assert kinds.tolist() == [kind(word) for found in words for word in found]


def kind(word: str) -> int:
    symbols = unicode.PUNCTUATION | unicode.terminal_marks()
    flags = HAS_ALPHA if any(c.isalpha() for c in word) else 0
    flags |= NOT_SYMBOLS if any(c not in symbols for c in word) else 0
    flags |= NOT_MARKS if any(c not in unicode.PUNCTUATION for c in word) else 0
    flags |= HAS_SIGN if "#" in word or "…" in word else 0
    if word.isascii() and word.lower() in STOP_WORDS:
        flags |= STOP_WORDS.index(word.lower()) + 1
        flags |= EXACT if word in STOP_WORDS else 0
    return flags


@given(st.lists(st.sampled_from(PIECES), min_size=1))
def test_equal_words_have_equal_hashes_and_others_do_not(pieces):
    data, offsets = buffers(pa.array(pieces))
    hashes, _, _, begins = find_words(data, offsets, lexicon(), WHITESPACE)

    assert (
        len({(p, int(h)) for p, h in zip(pieces, hashes, strict=True)}) == len(set(pieces)) == len(set(hashes.tolist()))
    )
    assert begins.tolist() == list(range(len(pieces) + 1))


def test_steps_that_read_one_batch_share_its_words():
    texts = pa.array(["one two", "three"])
    again = pa.array(["four", "five six"])

    assert words_of(texts, SPACY)[0] is words_of(texts, SPACY)[0]
    assert words_of(again, SPACY)[3].tolist() == [0, 1, 3]
    assert words_of(texts.slice(1), SPACY)[3].tolist() == [0, 1]


def test_classes_of_every_character_are_those_of_python():
    flags, index = unicode.tables()
    places = (index.astype(np.int64)[np.arange(0x110000) >> 8] << 8) + (np.arange(0x110000) & 255)
    found = flags[places]
    claims = {
        unicode.SPACE: str.isspace,
        unicode.ALPHA: str.isalpha,
        unicode.ALNUM: str.isalnum,
        unicode.BREAK: lambda c: len(f"a{c}b".splitlines()) > 1,
        unicode.PUNCT: lambda c: unicodedata.category(c)[0] == "P",
        unicode.DIGIT: lambda c: unicodedata.category(c) == "Nd",
    }
    for flag, claim in claims.items():
        wrong = [hex(c) for c in range(0x110000) if claim(chr(c)) != bool(found[c] & flag)]
        assert wrong == [], flag


def test_warming_says_how_far_it_is():
    said = []
    compile_all(lambda *step: said.append(step))

    assert said == [(kind, n, len(KINDS)) for n, kind in enumerate(KINDS, 1)]


def test_every_kind_with_kernels_is_in_one_family_and_others_stand_alone():
    assert sorted(kind for family in FAMILIES for kind in family) == sorted(KINDS)
    assert families(["c4", "normalize", "minhash", "text_stats"]) == [["normalize"], ["text_stats", "c4"], ["minhash"]]


def test_lists_are_the_published_ones():
    assert len(unicode.terminal_marks()) == 159
    assert (listed("terminal.txt"), listed("sentence_ends.txt"), listed("known_words.txt", "units.txt")) == PINNED
    assert hashlib.sha256("".join(sorted(unicode.PUNCTUATION)).encode()).hexdigest()[:16] == PUNCTUATION
    assert len(contractions.special_words()) == 1343


PINNED = ("c60984b5430f648b", "0a20aca7cf340a97", "8c5734263995c757")
PUNCTUATION = "c1d565a777f266c9"


def test_the_tables_that_are_kept_are_those_that_are_built():
    from stages.kernels.lexicon import build, lexicon  # noqa: PLC0415 - numba is slow to import

    assert lexicon().tobytes() == build().tobytes()
