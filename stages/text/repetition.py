"""How much of a document repeats itself, in lines, paragraphs and word n-grams: Gopher's repetition measures."""

from typing import Any, ClassVar, Literal

import pyarrow as pa

from stages.base import Columns, Example, Kernel, RowStage, column

_SHARE = pa.float64()
_TOP, _DUPLICATE = range(2, 5), range(5, 11)
_RULES = {"spacy": 0, "whitespace": 1}


def _share(name: str, doc: str) -> pa.Field:
    return column(name, _SHARE, "1", better="lower", doc=doc)


class Repetition(RowStage):
    """Shares of lines, paragraphs and characters that repeat something earlier in the same document.

    As datatrove 0.10 measures: lines are split at runs of line feeds, paragraphs of the stripped text at runs of two or
    more; a duplicate is an occurrence after the first; character shares are of all the text's characters. The most
    common n-gram counts joined by spaces, times its count, even where that is 1 (short documents score high for it).
    Duplicated n-grams are met sliding: a duplicate is skipped whole. Two n-grams are equal when all their words are
    (datatrove compares the words glued together).

    Sources: Gopher (arXiv:2112.11446, table A1), datatrove 0.10.1 `gopher_repetition_filter`.

    Null where there is nothing to divide by, or for the most common n-gram where there are fewer than n words. Time is
    linear in the text; memory is at most 60 bytes for every word of the longest document, about 12 times ordinary text.
    """

    kind: Literal["repetition"] = "repetition"
    writes: ClassVar = pa.schema(
        [
            column("chars", pa.int64(), "character"),
            _share("duplicate_line_fraction", "lines seen before"),
            _share("duplicate_paragraph_fraction", "paragraphs seen before"),
            _share("duplicate_line_char_fraction", "characters in lines seen before"),
            _share("duplicate_paragraph_char_fraction", "characters in paragraphs seen before"),
            *(_share(f"top_{n}_gram_char_fraction", f"characters of the most common {n}-gram") for n in _TOP),
            *(_share(f"duplicate_{n}_gram_char_fraction", f"characters in {n}-grams seen before") for n in _DUPLICATE),
        ]
    )
    examples: ClassVar = (
        Example(
            "a b\n\na b\nc",
            {"chars": 10, "duplicate_line_fraction": 1 / 3, "duplicate_line_char_fraction": 0.3, "top_2_gram_char_fraction": 0.6},
        ),
        Example("", {"chars": 0, "duplicate_line_fraction": 0.0, "duplicate_line_char_fraction": None}),
        Example("a b c d e a b c d e", {"duplicate_5_gram_char_fraction": 5 / 19, "duplicate_6_gram_char_fraction": 0.0}),
    )  # fmt: skip

    words: Literal["spacy", "whitespace"] = "spacy"
    definition: Literal["datatrove-0.10"] = "datatrove-0.10"

    def open(self) -> Kernel:
        """Compile or load the kernels."""
        from stages.kernels import ngrams, repeats  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - the same
        from stages.kernels.lexicon import lexicon  # noqa: PLC0415 - the same
        from stages.kernels.tokens import words_of  # noqa: PLC0415 - the same

        block, rule = lexicon(), _RULES[self.words]

        def kernel(batch: pa.RecordBatch) -> Columns:
            data, offsets = buffers(batch[self.text])
            hashes, sizes, _, begins = words_of(batch[self.text], rule)
            of_lines = repeats.count_repeats(data, offsets, block)
            of_words = ngrams.count_ngrams(hashes, sizes, begins, False)  # noqa: FBT003 - numba takes positions
            counts = dict(zip(ngrams.NGRAM_COUNTS, of_words.T, strict=True))
            return _columns(counts | dict(zip(repeats.REPEAT_COUNTS, of_lines.T, strict=True)))

        return kernel


def _columns(c: dict[str, Any]) -> Columns:
    from stages.kernels.arrow import ratio  # noqa: PLC0415 - numba is slow to import

    chars, words = c["chars"], c["words"]
    found = {
        "chars": pa.array(chars, pa.int64()),
        "duplicate_line_fraction": ratio(c["line_repeats"], c["lines"]),
        "duplicate_paragraph_fraction": ratio(c["paragraph_repeats"], c["paragraphs"]),
        "duplicate_line_char_fraction": ratio(c["line_repeat_chars"], chars),
        "duplicate_paragraph_char_fraction": ratio(c["paragraph_repeat_chars"], chars),
    }
    for n in _TOP:
        found[f"top_{n}_gram_char_fraction"] = ratio(c[f"top_{n}"], chars * (words >= n))
    for n in _DUPLICATE:
        found[f"duplicate_{n}_gram_char_fraction"] = ratio(c[f"slid_{n}"], chars)
    return found
