from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kernels import ngrams
from stages.kernels.arrow import buffers
from stages.kernels.lexicon import lexicon
from stages.kernels.tokens import find_words
from stages.kernels.warm import compile_kinds
from stages.kernels.words import WHITESPACE

TEXTS = st.lists(
    st.lists(st.sampled_from(["a", "bb", "ccc", "né", "漢字", "😀"]), max_size=60).map(" ".join), max_size=4
)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kinds(("repetition",))


def counted(texts: list[str]) -> list[dict[str, int]]:
    data, offsets = buffers(pa.array(texts, pa.string()))
    hashes, sizes, _, begins = find_words(data, offsets, lexicon(), WHITESPACE)
    rows = ngrams.count_ngrams(hashes, sizes, begins, True)
    return [dict(zip(ngrams.NGRAM_COUNTS, row, strict=True)) for row in rows.tolist()]


def expected(text: str) -> dict[str, int]:
    words = text.split()
    found = {"words": len(words), "word_chars": sum(map(len, words))}
    for n in range(2, 11):
        grams = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
        counts = Counter(grams)
        best = max(counts.values(), default=0)
        chars = {gram: sum(map(len, gram)) for gram in counts}
        if n <= 4:
            top = counts.most_common(1)[0][0] if grams else ()
            longest = max((chars[g] for g, c in counts.items() if c == best), default=0)
            found[f"top_{n}"] = len(" ".join(top)) * best
            found[f"common_{n}"] = chars.get(top, 0) * best
            found[f"covering_top_{n}"] = longest * best if best > 1 else 0
            continue
        covered = {i + k for i, g in enumerate(grams) if counts[g] > 1 for k in range(n)}
        found[f"slid_{n}"] = slid(words, n)
        found[f"covered_{n}"] = sum(len(words[i]) for i in covered)
        found[f"counted_{n}"] = sum(chars[g] * c for g, c in counts.items() if c > 1)
        found[f"all_{n}"] = sum(chars[g] * c for g, c in counts.items())
    return found


def slid(words: list[str], n: int) -> int:
    seen, total, i = set(), 0, 0
    while i <= len(words) - n:
        gram = tuple(words[i : i + n])
        if gram in seen:
            total += sum(map(len, gram))
            i += n
        else:
            seen.add(gram)
            i += 1
    return total


@given(TEXTS)
def test_counts_are_those_of_the_definitions(texts):
    assert counted(texts) == [expected(text) for text in texts]


@pytest.mark.parametrize("text", ["a " * 5000, "a b " * 3000, " ".join(map(str, range(9000))), "x y z " + "q " * 4097])
def test_long_documents_count_as_the_definitions_say(text):
    assert counted([text, "a b", text]) == [expected(text), expected("a b"), expected(text)]


def test_a_document_does_not_see_the_tables_of_the_one_before():
    assert counted(["a b a b", "a b", ""]) == [expected("a b a b"), expected("a b"), expected("")]


def test_no_documents_give_no_rows():
    empty = np.zeros(1, np.int64)

    assert ngrams.count_ngrams(np.empty(0, np.uint64), np.empty(0, np.uint16), empty, bool(0)).shape == (0, 35)
