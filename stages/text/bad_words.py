"""Words of a list that a document has: obscene ones, by language."""

import unicodedata
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from stages.bad_words import UNSPACED, entries, hashes, list_code
from stages.base import Column, Columns, Example, Kernel, RowStage, column

_COUNT = pa.int64()


class BadWords(RowStage):
    r"""How many entries of its language's list of bad words a document has, how many different ones, and their share of its words.

    An entry (a word or a phrase) counts where no letter, digit or underscore stands on either side, in any case; in
    Japanese, Thai and Chinese wherever it stands. From the left, the longest entry at each place counts, and the next
    begins after it. A document has a hit exactly where C4's expression `(?:\W|^)(...)(?:\W|$)` matches its text in
    lower case, but for two differences: entries are compared in lower case too (C4's never match where a list writes
    capitals), and characters are lowered one by one.

    `lang` is the column with the language of each document; `language`, where it is given, is that of all. Without a
    list for its language a document is unknown: null. `lists` gives files by language, one entry a line, instead of those
    that come with tamis: 28 languages of the List of Dirty, Naughty, Obscene, and Otherwise Bad Words (CC-BY-4.0), less
    three Japanese entries and a Chinese one that C4 allows. `fraction` counts words as `minhash` does. A list says that
    a word is there, not what it means.

    Sources: C4 (JMLR 21/20-074, section 2.2), datatrove 0.10.1 `C4BadWordsFilter`. Memory: a kilobyte for every byte of
    the lists (45 MB for all).

    Raises:
        SpecError: the language has no list, or a file cannot be read.
    """

    kind: Literal["bad_words"] = "bad_words"
    writes: ClassVar = pa.schema(
        [
            column("hits", _COUNT, "entries", better="lower", doc="occurrences of entries of the list"),
            column("distinct", _COUNT, "entries", better="lower", doc="different entries"),
            column("fraction", pa.float64(), "1", better="lower", doc="words of the hits / words; null without words"),
            column("first", pa.string(), "text", doc="the first entry found, as the list has it"),
        ]
    )
    examples: ClassVar = (
        Example("Damn it, that is a classic.", {"hits": 0, "distinct": 0, "fraction": 0.0, "first": None}, {"language": "en"}),
        Example("Shit! What a shit-show, no bullshit.", {"hits": 3, "distinct": 2, "fraction": 3 / 7, "first": "shit"}, {"language": "en"}),
        Example("", {"hits": 0, "fraction": None, "first": None}, {"language": "en"}),
        Example({"text": "Mist! Arschloch.", "lang.code": "de"}, {"hits": 1, "first": "arschloch"}),
        Example({"text": "Mist! Arschloch.", "lang.code": "en"}, {"hits": 0}),
        Example({"text": "Mist! Arschloch.", "lang.code": "xx"}, {"hits": None, "fraction": None}),
        Example("女の子と変態", {"hits": 1, "first": "変態"}, {"language": "ja"}),
    )  # fmt: skip

    language: str | None = Field(default=None, min_length=1)
    lang: Column = "lang.code"
    lists: dict[str, str] | None = None

    def reads(self) -> tuple[str, ...]:
        """The text, and the column of languages where `language` is not given."""
        return (self.text, self.lang) if self.language is None else (self.text,)

    def parameters(self) -> dict[str, Any]:
        """The language, or null where a column says it; the lists are artifacts, and their paths are nothing."""
        return {"language": self.language, "own_lists": self.lists is not None}

    def artifacts(self) -> dict[str, str]:
        """Hashes of the lists that are used, and the version of the character tables."""
        codes = None if self.language is None else (self.language,)
        return {"unicode": unicodedata.unidata_version, **hashes(codes, self.lists)}

    def open(self) -> Kernel:
        """Read the lists and make trees of them, each when the first document of its language comes."""
        finders: dict[str, Any] = {}

        def kernel(batch: pa.RecordBatch) -> Columns:
            texts = batch[self.text]
            if self.language is not None:
                return _columns(texts, {self.language: np.arange(len(texts))}, finders, self.lists)
            codes = pc.dictionary_encode(batch[self.lang])
            places = codes.indices.to_numpy(zero_copy_only=False)
            rows = {code: np.flatnonzero(places == n) for n, code in enumerate(codes.dictionary.to_pylist())}
            return _columns(texts, rows, finders, self.lists)

        return kernel


def _columns(texts: pa.Array, rows: dict[str, Any], finders: dict[str, Any], lists: dict[str, str] | None) -> Columns:
    """The columns of texts whose rows are given by language; `finders` keeps what was made of each list."""
    from stages.kernels.arrow import ratio  # noqa: PLC0415 - numba is slow to import
    from stages.kernels.lexical import word_counts  # noqa: PLC0415 - the same
    from stages.kernels.listed import find_listed  # noqa: PLC0415 - the same

    counts, known = np.zeros((len(texts), 3), np.int64), np.zeros(len(texts), bool)
    first = np.full(len(texts), None, object)
    for language, own in rows.items():
        code = list_code(language, lists)
        if code not in finders:
            finders[code] = _finder(code, lists)
        if finders[code] is None:
            continue
        words, tree = finders[code]
        lowered = pc.utf8_lower(texts.take(pa.array(own)))
        found = find_listed(lowered, tree, spaced=code not in UNSPACED)
        counts[own], known[own] = found[:, :3], True
        hit = found[:, 3] >= 0
        first[own[hit]] = np.array(words, object)[found[hit, 3]]
    return {
        "hits": pa.array(counts[:, 0], _COUNT, mask=~known),
        "distinct": pa.array(counts[:, 1], _COUNT, mask=~known),
        "fraction": ratio(counts[:, 2], word_counts(texts) * known),
        "first": pa.array(first, pa.string()),
    }


def _finder(code: str, lists: dict[str, str] | None) -> tuple[tuple[str, ...], Any] | None:
    """The entries of a list and the tree of them, in lower case; None where the language has no list."""
    from stages.kernels.lexical import word_counts  # noqa: PLC0415 - numba is slow to import
    from stages.kernels.listed import Tree  # noqa: PLC0415 - the same

    words = entries(code, lists)
    if words is None:
        return None
    lowered = pc.utf8_lower(pa.array(words, pa.string()))
    return words, Tree(lowered.to_pylist(), word_counts(lowered).tolist())
