"""What C4's line and page rules would keep of a document, measured and not yet decided."""

from typing import ClassVar, Literal

import pyarrow as pa

from stages.base import Columns, Example, Kernel, RowStage, column

Definition = Literal["datatrove", "tfds", "dolma"]
#: By definition: fewest words of a line; whether they are counted after citations are deleted; whether ' ends a line.
RULES: dict[str, tuple[int, bool, bool]] = {
    "datatrove": (3, False, True),
    "tfds": (5, True, False),
    "dolma": (3, True, False),
}
_ANY = "the same, whatever lines end in"


def _count(name: str, unit: str, doc: str = "") -> pa.Field:
    return column(name, pa.int64(), unit, doc=doc)


class C4(RowStage):
    """Lines, sentences and flagged lines that are left of a document after C4's line rules, with and without end marks.

    A stripped line goes through, in this order: a word above 1,000 characters drops it; citations (`[1]`, `[]`,
    `[edit]`, `[citation needed]`) are deleted; it must end in one of `. ? ! " '` and not in `...`; it must have enough
    words; "lorem ipsum" and `{` count against the page, "javascript" and policy phrases drop the line. Columns
    ending in `_any_end` leave the rule on end marks out, as FineWeb does. Lines are those of `str.splitlines`,
    sentences those of spaCy's sentencizer on English words, as datatrove 0.10 counts them.

    `definition` sets what differs: `datatrove` takes 3 words, counted before citations are deleted, and `'` as an end
    mark; `tfds` (the reference, also DCLM's) 5 words, after, without `'`; `dolma` 3 words, after, without `'`.

    Sources: C4 (JMLR 21/20-074, section 2.2), datatrove 0.10.1 `c4_filters`. The page rules count surviving lines only.

    Never null. Memory: a constant and the longest line.
    """

    kind: Literal["c4"] = "c4"
    writes: ClassVar = pa.schema(
        [
            _count("lines", "line"),
            _count("long_word_lines", "line", "with a word above 1,000 characters"),
            _count("unended_lines", "line", "that do not end in an end mark, or end in an ellipsis"),
            _count("few_word_lines", "line", "with too few words"),
            _count("javascript_lines", "line"),
            _count("policy_lines", "line", "with a phrase on cookies, privacy or terms of use"),
            _count("kept_lines", "line"),
            _count("kept_chars", "character", "of the lines kept, joined by line feeds"),
            _count("sentences", "sentence", "of the lines kept"),
            _count("lorem_ipsum_lines", "line", "that survive up to the rule on lorem ipsum"),
            _count("curly_bracket_lines", "line", "that survive up to the rule on curly brackets"),
            _count("kept_lines_any_end", "line", _ANY),
            _count("kept_chars_any_end", "character", _ANY),
            _count("sentences_any_end", "sentence", _ANY),
            _count("lorem_ipsum_lines_any_end", "line", _ANY),
            _count("curly_bracket_lines_any_end", "line", _ANY),
        ]
    )
    examples: ClassVar = (
        Example(
            "Home | About\nA good line. It has two sentences[1].\nPlease enable JavaScript now.",
            {"lines": 3, "kept_lines": 1, "sentences": 2, "kept_lines_any_end": 2, "javascript_lines": 1},
        ),
        Example("Lorem ipsum dolor sit.\nif (x) { return now; }", {"lorem_ipsum_lines": 1, "curly_bracket_lines": 0, "curly_bracket_lines_any_end": 1}),
        Example("", {"lines": 0, "sentences": 0}),
        Example("Only four words here.", {"kept_lines": 0, "few_word_lines": 1}, fields={"definition": "tfds"}),
    )  # fmt: skip

    definition: Definition = "datatrove"

    def open(self) -> Kernel:
        """Compile or load the kernel."""
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.c4 import LINE_EDITS, edit_lines  # noqa: PLC0415 - the same
        from stages.kernels.lexicon import lexicon  # noqa: PLC0415 - the same

        block, (least, edited, apostrophe) = lexicon(), RULES[self.definition]

        def kernel(batch: pa.RecordBatch) -> Columns:
            data, offsets = buffers(batch[self.text])
            counts, _, _ = edit_lines(data, offsets, block, least, edited, apostrophe, False, False)  # noqa: FBT003 - numba takes positions
            return {name: pa.array(found, pa.int64()) for name, found in zip(LINE_EDITS, counts.T, strict=True)}

        return kernel
