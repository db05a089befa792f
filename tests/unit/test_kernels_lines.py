import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kernels import line_stats, repeats, unicode
from stages.kernels.arrow import buffers
from stages.kernels.lexicon import lexicon
from stages.kernels.warm import compile_kinds

PARTS = [
    "\n",
    "\n\n",
    "\r\n",
    "\r",
    "\x0b",
    "\x1c",
    "\x85",
    "\u2028",
    " ",
    "\t",
    "\u00a0",
    "a",
    "né",
    "漢字。",
    "שלום",
    "😀",
    "•",
    "-",
    "*",
    "●",
    "…",
    "...",
    "..",
    "#",
    ".",
    "?",
    "'",
    '"',
    "x" * 31,
    "e\u0301",
]
TEXTS = st.lists(
    st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PARTS), max_size=40).map("".join)), max_size=4
)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kinds(("text_stats", "repetition"))


def expected_lines(text: str) -> dict[str, int]:
    lines, every = text.splitlines(), text.split("\n")
    filled = [line for line in every if line.strip()]
    terminal, seen, repeated = tuple(unicode.terminal_marks()), set(), 0
    for line in filled:
        repeated += len(line) if line in seen else 0
        seen.add(line)
    return {
        "bytes": len(text.encode()),
        "chars": len(text),
        "newlines": text.count("\n"),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullet_lines": sum(line.lstrip().startswith(("•", "-")) for line in lines),
        "wide_bullet_lines": sum(line.lstrip().startswith(("•", "-", "●", "*")) for line in lines),
        "unindented_bullet_lines": sum(line.startswith(("*", "-")) for line in every),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "ellipsis_char_lines": sum(line.endswith("…") for line in every),
        "filled_lines": len(filled),
        "end_mark_lines": sum(line.endswith(terminal) for line in filled),
        "short_lines": sum(len(line) <= 30 for line in filled),
        "repeated_line_chars": repeated,
        "quote_or_stop_lines": sum(line.endswith((".", "'", '"', "!", "?")) for line in every),
        "short_or_empty_lines": sum(len(line) <= 30 for line in every),
    }


def expected_segments(name: str, segments: list[str]) -> dict[str, int]:
    counts = Counter(segments)
    return {
        f"{name}_segments": len(segments),
        f"{name}_later": sum(c - 1 for c in counts.values()),
        f"{name}_later_chars": sum((c - 1) * len(s) for s, c in counts.items()),
        f"{name}_every": sum(c for c in counts.values() if c > 1),
        f"{name}_every_chars": sum(c * len(s) for s, c in counts.items() if c > 1),
        f"{name}_chars": sum(map(len, segments)),
    }


SPLITS = {
    repeats.SPLITLINES: str.splitlines,
    repeats.RUNS: lambda text: re.split("\n+", text),
    repeats.RUNS_OF_TWO: lambda text: re.split("\n{2,}", text),
    repeats.FEEDS: lambda text: text.split("\n"),
}


@given(TEXTS)
def test_line_counts_are_those_of_the_definitions(texts):
    rows = line_stats.count_lines(*buffers(pa.array(texts, pa.string())), lexicon())

    assert [dict(zip(line_stats.LINE_COUNTS, row, strict=True)) for row in rows.tolist()] == [
        expected_lines(t) for t in texts
    ]


@given(TEXTS, st.sampled_from(list(SPLITS)), st.sampled_from(list(SPLITS)), st.booleans(), st.booleans())
def test_repeats_are_those_of_the_definitions(texts, lines, paragraphs, stripped, filled):
    def split(text: str, how: int) -> list[str]:
        found = SPLITS[how](text)
        return [s.strip() for s in found if s.strip()] if filled else found

    data, offsets = buffers(pa.array(texts, pa.string()))
    rows = repeats.count_repeats(data, offsets, lexicon(), lines, paragraphs, stripped, filled)

    assert [dict(zip(repeats.REPEAT_COUNTS, row, strict=True)) for row in rows.tolist()] == [
        {
            "text_chars": len(text),
            **expected_segments("line", split(text, lines)),
            **expected_segments("paragraph", split(text.strip() if stripped else text, paragraphs)),
        }
        for text in texts
    ]


def test_many_lines_are_counted_in_a_table_that_grows():
    text = "\n".join(str(i % 5000) for i in range(9000))
    row = line_stats.count_lines(*buffers(pa.array(["a\na", text])), lexicon())[1]

    assert dict(zip(line_stats.LINE_COUNTS, row.tolist(), strict=True)) == expected_lines(text)
