"""How much of a document repeats itself, in lines, paragraphs and word n-grams: Gopher's repetition measures."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import pyarrow as pa

from stages.base import Columns, Example, Kernel, RowStage, column

_SHARE = pa.float64()
_TOP, _DUPLICATE = range(2, 5), range(5, 11)
_WORDS = {"spacy": 0, "whitespace": 1, "alphanumeric": 2}


@dataclass(frozen=True, slots=True)
class _Definition:
    """Which of the kernels' counts are divided by which, and how a text is split (see `stages.kernels.repeats`)."""

    lines: int
    paragraphs: int
    segments: tuple[str, str]  # which occurrences are duplicates; what their characters are divided by
    grams: tuple[str, str, str]  # the most common, the duplicated, and what their characters are divided by
    stripped: bool = False
    filled: bool = False


_DEFINITIONS = {
    "datatrove-0.10": _Definition(1, 2, ("later", "chars"), ("top", "slid", "chars"), stripped=True),
    "datatrove-0.2": _Definition(0, 2, ("later", "chars"), ("top", "slid", "chars"), stripped=True),
    "dclm": _Definition(3, 2, ("every", "own"), ("covering_top", "covered", "word_chars"), filled=True),
    "dolma": _Definition(3, 2, ("every", "word_chars"), ("common", "counted", "all")),
}


def _share(name: str, doc: str) -> pa.Field:
    return column(name, _SHARE, "1", better="lower", doc=doc)


class Repetition(RowStage):
    """Shares of lines, paragraphs and characters that repeat something in the same document.

    `definition` says how, because the implementations of Gopher's measures differ:

    - `datatrove-0.10`: lines are split at runs of line feeds, paragraphs of the stripped text at runs of two or more; a
      duplicate is an occurrence after the first; character shares are of all the text's characters. The most common
      n-gram counts joined by spaces, times its count, even where that is 1 (short documents score high for it);
      duplicated n-grams are met sliding, a duplicate is skipped whole.
    - `datatrove-0.2`: the same with the lines of `str.splitlines`, blank ones included.
    - `dclm`: segments are stripped and empty ones left out; all occurrences of what occurs twice are duplicates, of the
      segments' characters; n-gram shares are of the words' characters: the longest of the most common n-grams times its
      count (0 if none repeats), and the words that any repeated n-gram covers. DCLM's words are near to `alphanumeric`.
    - `dolma`: lines between line feeds, blank ones included; all occurrences are duplicates; the most common n-gram's
      words' characters times its count; occurrences of repeated n-grams over those of all n-grams, overlaps counted.
      dolma's words are `whitespace`. It has no paragraph rule.

    Two n-grams are equal when all their words are (datatrove compares duplicates with the words glued together).

    Sources: Gopher (arXiv:2112.11446, table A1), datatrove 0.2.0 and 0.10.1, DCLM's content_filters, dolma's gopher tagger.

    Null where there is nothing to divide by, or for the most common n-gram where there are fewer than n words. Time is
    linear in the text; memory is at most 70 bytes for every word of the longest document: for ordinary text about 14
    times its bytes, at worst (punctuation alone) 70 times.
    """

    kind: Literal["repetition"] = "repetition"
    writes: ClassVar = pa.schema(
        [
            column("chars", pa.int64(), "character"),
            _share("duplicate_line_fraction", "lines that are duplicates"),
            _share("duplicate_paragraph_fraction", "paragraphs that are duplicates"),
            _share("duplicate_line_char_fraction", "characters in duplicate lines"),
            _share("duplicate_paragraph_char_fraction", "characters in duplicate paragraphs"),
            *(_share(f"top_{n}_gram_char_fraction", f"characters of the most common {n}-gram") for n in _TOP),
            *(_share(f"duplicate_{n}_gram_char_fraction", f"characters in duplicated {n}-grams") for n in _DUPLICATE),
        ]
    )
    examples: ClassVar = (
        Example(
            "a b\n\na b\nc",
            {"chars": 10, "duplicate_line_fraction": 1 / 3, "duplicate_line_char_fraction": 0.3, "top_2_gram_char_fraction": 0.6},
        ),
        Example("", {"chars": 0, "duplicate_line_fraction": 0.0, "duplicate_line_char_fraction": None}),
        Example("a b c d e a b c d e", {"duplicate_5_gram_char_fraction": 5 / 19, "duplicate_6_gram_char_fraction": 0.0}),
        Example(
            "a b\n\na b\nc",
            {"duplicate_line_fraction": 2 / 3, "duplicate_line_char_fraction": 6 / 7, "top_2_gram_char_fraction": 0.8},
            fields={"definition": "dclm", "words": "alphanumeric"},
        ),
        Example("a b\n\na b\n\n", {"duplicate_line_fraction": 1.0}, fields={"definition": "dolma", "words": "whitespace"}),
    )  # fmt: skip

    words: Literal["spacy", "whitespace", "alphanumeric"] = "spacy"
    definition: Literal["datatrove-0.10", "datatrove-0.2", "dclm", "dolma"] = "datatrove-0.10"

    def open(self) -> Kernel:
        """Compile or load the kernels."""
        from stages.kernels import ngrams, repeats  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - the same
        from stages.kernels.lexicon import lexicon  # noqa: PLC0415 - the same
        from stages.kernels.tokens import words_of  # noqa: PLC0415 - the same

        block, rule, how = lexicon(), _WORDS[self.words], _DEFINITIONS[self.definition]
        splits = (how.lines, how.paragraphs, how.stripped, how.filled)

        def kernel(batch: pa.RecordBatch) -> Columns:
            data, offsets = buffers(batch[self.text])
            hashes, sizes, _, begins = words_of(batch[self.text], rule)
            of_lines = repeats.count_repeats(data, offsets, block, *splits)
            of_words = ngrams.count_ngrams(hashes, sizes, begins, how.grams[2] != "chars")
            counts = dict(zip(ngrams.NGRAM_COUNTS, of_words.T, strict=True))
            return _columns(counts | dict(zip(repeats.REPEAT_COUNTS, of_lines.T, strict=True)), how)

        return kernel


def _columns(c: dict[str, Any], how: _Definition) -> Columns:
    from stages.kernels.arrow import ratio  # noqa: PLC0415 - numba is slow to import

    chars, words = c["text_chars"], c["words"]
    (repeats, segment_chars), (top, duplicate, gram_chars) = how.segments, how.grams
    bottoms = {"chars": chars, "word_chars": c["word_chars"]}
    found = {"chars": pa.array(chars, pa.int64())}
    for part in ("line", "paragraph"):
        bottom = c[f"{part}_chars"] if segment_chars == "own" else bottoms[segment_chars]
        found[f"duplicate_{part}_fraction"] = ratio(c[f"{part}_{repeats}"], c[f"{part}_segments"])
        found[f"duplicate_{part}_char_fraction"] = ratio(c[f"{part}_{repeats}_chars"], bottom)
    top_bottom = bottoms["chars" if gram_chars == "chars" else "word_chars"]
    for n in _TOP:
        found[f"top_{n}_gram_char_fraction"] = ratio(c[f"{top}_{n}"], top_bottom * (words >= n))
    for n in _DUPLICATE:
        bottom = c[f"all_{n}"] if gram_chars == "all" else bottoms[gram_chars]
        found[f"duplicate_{n}_gram_char_fraction"] = ratio(c[f"{duplicate}_{n}"], bottom)
    return found
