"""Byte-level BPE against a slow one, and tokenizers of others."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from learners.tokenizer import LONGEST_WORD, Made, adopted, fitted
from stages.errors import DataError, SpecError
from stages.tokenization import alphabet, parsed

TEXTS = [
    "the sieve keeps the bran, the mill grinds the corn",
    "le tamis retient le son; 篩は細かい粉を通す",
    "123 123 1234",
]


def slow(texts: list[str], entries: int) -> list[list[str]]:
    """The merges of Sennrich et al. over the words that GPT-2's pattern gives, counted anew before each."""
    words: Counter[tuple[str, ...]] = Counter()
    cut = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for text in texts:
        for word, _ in cut.pre_tokenize_str(text):
            words[tuple(word)] += 1
    ids = alphabet()
    merges: list[list[str]] = []
    while len(ids) < entries:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, n in words.items():
            for pair in pairwise(word):
                pairs[pair] += n
        if not pairs:
            break
        best = min(pairs, key=lambda p: (-pairs[p], ids[p[0]], ids[p[1]]))
        merges.append(list(best))
        ids.setdefault("".join(best), len(ids))
        again: Counter[tuple[str, ...]] = Counter()
        for word, n in words.items():
            again[merged(word, best)] += n
        words = again
    return merges


def merged(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    found: list[str] = []
    for letter in word:
        if found and (found[-1], letter) == pair:
            found[-1:] = ["".join(pair)]
        else:
            found.append(letter)
    return tuple(found)


def learned(texts: list[str], entries: int) -> Made:
    return fitted([pa.array(texts, pa.string())], entries)


@settings(max_examples=40, deadline=None)
@given(
    texts=st.lists(st.text("abé 猫,1\n", max_size=12), min_size=1, max_size=6).filter(any),
    entries=st.integers(257, 275),
)
def test_merges_are_those_of_the_paper(texts: list[str], entries: int) -> None:
    found = json.loads(learned(texts, entries).content)["model"]["merges"]

    assert found == slow(texts, entries)


def test_the_end_of_a_text_and_the_bytes_come_first_and_the_size_is_as_asked() -> None:
    made = learned(TEXTS, 300)
    vocabulary = json.loads(made.content)["model"]["vocab"]

    assert (made.end_of_text, made.vocabulary, len(vocabulary)) == (0, 300, 300)
    assert {token: n for token, n in vocabulary.items() if n < 257} == alphabet()


def test_the_order_and_division_of_texts_change_nothing() -> None:
    whole = learned(TEXTS, 300)

    parts = fitted([pa.array([text]) for text in reversed(TEXTS)], 300)

    assert parts == whole


LEARN = """
import random
import pyarrow as pa
from learners.tokenizer import fitted
chance = random.Random(1)
words = ["".join(chance.choices("abcdef", k=chance.randint(1, 6))) for _ in range(300)]
print(fitted([pa.array([" ".join(chance.choices(words, k=40)) for _ in range(200)])], 600).content)
"""


def test_the_number_of_threads_changes_nothing() -> None:
    def made(parallel: str, threads: int) -> str:
        env = {**os.environ, "TOKENIZERS_PARALLELISM": parallel, "RAYON_NUM_THREADS": str(threads)}
        return subprocess.run([sys.executable, "-c", LEARN], env=env, capture_output=True, text=True, check=True).stdout

    assert made("false", 1) == made("true", 4)


def test_texts_that_say_little_give_a_smaller_vocabulary() -> None:
    assert learned(["aa"], 300).vocabulary == 258


def test_a_word_without_end_is_learned_from_in_pieces() -> None:
    made = learned(["ab" * 200_000], 300)

    tokens = json.loads(made.content)["model"]["vocab"]
    assert max(map(len, tokens)) <= LONGEST_WORD
    assert len(parsed(made.content, "x").encode("ab" * 96).ids) < 96


@pytest.mark.parametrize("texts", [[], [""], ["", ""]])
def test_no_text_is_refused(texts: list[str]) -> None:
    with pytest.raises(DataError, match="there is nothing but empty texts to learn a tokenizer from"):
        learned(texts, 300)


@pytest.mark.parametrize("entries", [0, 256, (1 << 24) + 1])
def test_a_size_that_cannot_be_is_refused(entries: int) -> None:
    with pytest.raises(SpecError, match=r"a vocabulary of [\d,]+ entries cannot be learned; ask for 257"):
        learned(TEXTS, entries)


def of_words(*special: str, **words: int) -> Tokenizer:
    """A tokenizer of words, some of them added as special ones."""
    made = Tokenizer(models.WordLevel({"[UNK]": 0, **words}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(list(special))
    return made


def of_bytes(*special: str) -> Tokenizer:
    made = Tokenizer(
        models.BPE({letter: n for n, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, [])
    )
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    made.add_special_tokens(list(special))
    return made


@pytest.mark.parametrize(
    ("special", "wanted", "end"),
    [
        (("<|endoftext|>",), None, 256),
        (("<s>", "</s>"), None, 257),
        (("<s>", "</s>", "<|endoftext|>"), None, 258),
        (("<begin>", "<stop>"), "<stop>", 257),
        (("<begin>", "<stop>"), "256", 256),
    ],
)
def test_the_end_of_text_of_a_file_is_found_or_named(special: tuple[str, ...], wanted: str | None, end: int) -> None:
    made = adopted(of_bytes(*special).to_str(), "tokenizer.json", wanted)

    assert (made.end_of_text, made.vocabulary) == (end, 256 + len(special))
    found = parsed(made.content, "x")
    assert found.decode(found.encode("".join(special) + "é").ids, skip_special_tokens=False) == "".join(special) + "é"


def test_an_added_token_that_ends_texts_becomes_a_special_one() -> None:
    theirs = of_bytes()
    theirs.add_tokens(["<|endoftext|>", "<tool>"])

    made = adopted(theirs.to_str(), "tokenizer.json")

    found = parsed(made.content, "x")
    assert made.end_of_text == 256
    assert 256 not in found.encode("a<|endoftext|>b", add_special_tokens=False).ids
    assert found.encode("<tool>", add_special_tokens=False).ids == [257]


@pytest.mark.parametrize(
    ("content", "wanted", "message"),
    [
        ("{}", None, "'t.json' is no tokenizer.json"),
        ("not JSON", None, "'t.json' is no tokenizer.json"),
        (of_bytes("<pad>").to_str(), None, "'t.json' has none of the usual tokens for the end of a text"),
        (of_bytes("<pad>").to_str(), "<stop>", "'t.json' has no token '<stop>' to end texts with; name another"),
        (of_bytes("<pad>").to_str(), "257", "'t.json' has no token '257' to end texts with; name another"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(content: str, wanted: str | None, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        adopted(content, "t.json", wanted)

    assert message in refused.value.message


def test_a_tokenizer_whose_texts_can_give_a_special_token_is_refused() -> None:
    """A unigram model has its special tokens among its pieces, and reads them out of texts."""
    pieces = [("<unk>", 0.0), ("</s>", 0.0), ("a", -1.0), ("<", -9.0), ("/", -9.0), ("s", -9.0), (">", -9.0)]
    theirs = Tokenizer(models.Unigram(pieces, unk_id=0, byte_fallback=False))
    theirs.add_special_tokens(["</s>"])

    with pytest.raises(SpecError, match="a text that holds '</s>' gives the special token of that name"):
        adopted(theirs.to_str(), "unigram.json")


@pytest.mark.parametrize(
    "model",
    [models.WordLevel({"cat": 0}), models.WordPiece({"cat": 0}), models.Unigram([(c, -1.0) for c in "ab</s>"])],
    ids=lambda model: type(model).__name__,
)
def test_a_tokenizer_that_breaks_on_what_it_does_not_know_is_refused(model: models.Model) -> None:
    theirs = Tokenizer(model)
    theirs.add_special_tokens(["</s>"])

    with pytest.raises(
        SpecError, match=r"the tokenizer 't.json' has no tokens for a text such as .+; use a byte-level"
    ):
        adopted(theirs.to_str(), "t.json")


def test_merges_that_are_left_out_by_chance_are_made_always() -> None:
    fields = json.loads(learned(TEXTS, 300).content)
    fields["model"]["dropout"] = 0.5

    found = parsed(adopted(json.dumps(fields), "t.json").content, "x")

    plain = parsed(learned(TEXTS, 300).content, "x").encode(TEXTS[0]).ids
    assert [found.encode(TEXTS[0]).ids for _ in range(20)] == [plain] * 20


def test_a_gap_among_the_ids_counts_in_the_vocabulary() -> None:
    made = adopted(of_words("</s>", cat=7).to_str(), "words.json")

    assert (made.end_of_text, made.vocabulary) == (2, 8)


def test_a_normalizing_tokenizer_is_taken_as_it_is() -> None:
    theirs = of_bytes("</s>")
    theirs.normalizer = normalizers.Lowercase()

    found = parsed(adopted(theirs.to_str(), "t.json").content, "x")

    assert found.decode(found.encode("ÀB").ids) == "àb"
