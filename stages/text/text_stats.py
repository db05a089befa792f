"""Counts and shares of characters, words and lines: what Gopher's quality rules and FineWeb's decide on."""

from typing import Any, ClassVar, Literal

import pyarrow as pa

from stages.base import Columns, Example, Kernel, RowStage, column

_COUNT, _SHARE = pa.int64(), pa.float64()
_RULES = {"spacy": 0, "whitespace": 1, "alphanumeric": 2}


class TextStats(RowStage):
    """Counts and shares of characters, words and lines of a document; shares in [0, 1] unless said otherwise.

    `words` says what a word is: `spacy` is spaCy's blank English tokenizer with the white space stripped and empty
    words left out, as datatrove 0.10 counts (punctuation is a word of its own); `whitespace` is
    `str.split`; `alphanumeric` are runs of letters and digits.
    A symbol is a character of datatrove's PUNCTUATION or TERMINAL sets. `lines` are those of `str.splitlines`;
    `filled lines` are those between line feeds that hold more than white space, `all lines` all of those.

    Sources: Gopher (arXiv:2112.11446, A1.1), FineWeb (arXiv:2406.17557), datatrove 0.2.0 and 0.10.1, DCLM, dolma.

    Null where a share has nothing to divide by. Memory: a constant and 16 bytes for every line of the longest document.
    """

    kind: Literal["text_stats"] = "text_stats"
    writes: ClassVar = pa.schema(
        [
            column("bytes", _COUNT, "byte", doc="length in UTF-8"),
            column("chars", _COUNT, "character", doc="Unicode code points"),
            column("words", _COUNT, "word"),
            column("non_symbol_words", _COUNT, "word", doc="words not made of symbols alone (PUNCTUATION or TERMINAL)"),
            column("non_punctuation_words", _COUNT, "word", doc="the same with PUNCTUATION alone, as datatrove 0.2"),
            column("mean_word_chars", _SHARE, "character/word"),
            column("median_word_chars", _SHARE, "character/word", doc="lengths above 1,023 count as 1,023"),
            column("longest_word_chars", _COUNT, "character"),
            column("mean_non_symbol_word_chars", _SHARE, "character/word"),
            column("mean_non_punctuation_word_chars", _SHARE, "character/word"),
            column("hashes_per_word", _SHARE, "1/word", better="lower", doc="count of #"),
            column("ellipses_per_word", _SHARE, "1/word", better="lower", doc="count of ... and of the one character"),
            column("hashes_and_ellipses_per_word", _SHARE, "1/word", better="lower", doc="both counts together"),
            column("symbol_word_fraction", _SHARE, "1", better="lower", doc="words that hold # or …"),
            column("alpha_word_fraction", _SHARE, "1", better="higher", doc="words with at least one letter"),
            column("stop_words", _COUNT, "word", better="higher", doc="distinct stop words, case-sensitive"),
            column("stop_word_tokens", _COUNT, "word", better="higher", doc="occurrences of stop words"),
            column("lower_stop_word_tokens", _COUNT, "word", better="higher", doc="the same in any case"),
            column("lines", _COUNT, "line"),
            column("bullet_line_fraction", _SHARE, "1", better="lower", doc="lines that begin with • or -"),
            column("wide_bullet_line_fraction", _SHARE, "1", better="lower", doc="with ●, •, * or -"),
            column("unindented_bullet_line_fraction", _SHARE, "1", better="lower", doc="all lines that begin with * or -, not indented, as dolma"),
            column("ellipsis_line_fraction", _SHARE, "1", better="lower", doc="lines that end in an ellipsis"),
            column("ellipsis_char_line_fraction", _SHARE, "1", better="lower", doc="all lines that end in …, as dolma"),
            column("filled_lines", _COUNT, "line"),
            column("end_mark_line_fraction", _SHARE, "1", better="higher", doc="filled lines that end in a TERMINAL mark"),
            column("short_line_fraction", _SHARE, "1", better="lower", doc="filled lines of at most 30 characters"),
            column("repeated_line_char_fraction", _SHARE, "1", better="lower", doc="characters of filled lines seen before, of all but line feeds"),
            column("newlines_per_word", _SHARE, "1/word", better="lower"),
            column("stop_or_quote_line_fraction", _SHARE, "1", better="higher", doc="all lines that end in . ' \" ! or ?, as datatrove 0.2"),
            column("short_or_empty_line_fraction", _SHARE, "1", better="lower", doc="all lines of at most 30 characters, as datatrove 0.2"),
        ]
    )  # fmt: skip
    examples: ClassVar = (
        Example(
            "The cat sat on the mat, with me.\n- and #1...",
            {"words": 15, "non_symbol_words": 10, "stop_words": 3, "lines": 2, "bullet_line_fraction": 0.5},
        ),
        Example("", {"chars": 0, "words": 0, "mean_word_chars": None, "end_mark_line_fraction": None}),
        Example("don't stop", {"words": 3, "mean_word_chars": 3.0, "median_word_chars": 3.0}),
        Example("don't stop", {"words": 2}, fields={"words": "whitespace"}),
    )

    words: Literal["spacy", "whitespace", "alphanumeric"] = "spacy"

    def open(self) -> Kernel:
        """Compile or load the kernels."""
        from stages.kernels import line_stats, word_stats  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - the same
        from stages.kernels.lexicon import lexicon  # noqa: PLC0415 - the same
        from stages.kernels.tokens import words_of  # noqa: PLC0415 - the same

        block, rule = lexicon(), _RULES[self.words]

        def kernel(batch: pa.RecordBatch) -> Columns:
            data, offsets = buffers(batch[self.text])
            _, sizes, kinds, begins = words_of(batch[self.text], rule)
            of_words = word_stats.count_words(sizes, kinds, begins)
            of_lines = line_stats.count_lines(data, offsets, block)
            counts = dict(zip(word_stats.WORD_COUNTS, of_words.T, strict=True))
            return _columns(counts | dict(zip(line_stats.LINE_COUNTS, of_lines.T, strict=True)))

        return kernel


def _columns(c: dict[str, Any]) -> Columns:
    from stages.kernels.arrow import ratio  # noqa: PLC0415 - numba is slow to import

    counts = [
        "bytes",
        "chars",
        "words",
        "non_symbol_words",
        "non_punctuation_words",
        "stop_words",
        "stop_word_tokens",
        "lower_stop_word_tokens",
        "lines",
        "filled_lines",
    ]
    words, lines, filled, every = c["words"], c["lines"], c["filled_lines"], c["newlines"] + 1
    return {name: pa.array(c[name], _COUNT) for name in counts} | {
        "longest_word_chars": pa.array(c["longest"], _COUNT),
        "mean_word_chars": ratio(c["word_chars"], words),
        "median_word_chars": ratio(c["median_twice"] * (words > 0), 2 * (words > 0)),
        "mean_non_symbol_word_chars": ratio(c["non_symbol_chars"], c["non_symbol_words"]),
        "mean_non_punctuation_word_chars": ratio(c["non_punctuation_chars"], c["non_punctuation_words"]),
        "hashes_per_word": ratio(c["hashes"], words),
        "ellipses_per_word": ratio(c["ellipses"], words),
        "hashes_and_ellipses_per_word": ratio(c["hashes"] + c["ellipses"], words),
        "symbol_word_fraction": ratio(c["symbol_words"], words),
        "alpha_word_fraction": ratio(c["alpha_words"], words),
        "bullet_line_fraction": ratio(c["bullet_lines"], lines),
        "wide_bullet_line_fraction": ratio(c["wide_bullet_lines"], lines),
        "unindented_bullet_line_fraction": ratio(c["unindented_bullet_lines"], every),
        "ellipsis_line_fraction": ratio(c["ellipsis_lines"], lines),
        "ellipsis_char_line_fraction": ratio(c["ellipsis_char_lines"], every),
        "end_mark_line_fraction": ratio(c["end_mark_lines"], filled),
        "short_line_fraction": ratio(c["short_lines"], filled),
        "repeated_line_char_fraction": ratio(c["repeated_line_chars"], c["chars"] - c["newlines"]),
        "newlines_per_word": ratio(c["newlines"], words),
        "stop_or_quote_line_fraction": ratio(c["quote_or_stop_lines"], every),
        "short_or_empty_line_fraction": ratio(c["short_or_empty_lines"], every),
    }
