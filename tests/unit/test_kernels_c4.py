import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.kernels.phrases import PHRASES, POLICY
from stages.kernels.warm import compile_kinds
from stages.text.c4 import C4, RULES
from stages.text.c4_lines import C4Lines

GOLDEN = json.loads(Path(__file__).with_name("spacy_words.json").read_text("utf-8"))
PARTS = [
    " ",
    " ",
    " ",
    "\n",
    "\r\n",
    "\u2028",
    "the",
    "one two three",
    "né",
    "漢字。",
    "שלום",
    "😀",
    ".",
    "...",
    "?",
    "!",
    '"',
    "'",
    "[1]",
    "[]",
    "[12",
    "[٣]",
    "[edit]",
    "[citation needed]",
    "[edits]",
    "{",
    "}",
    "JavaScript",
    "javascript",
    "Lorem Ipsum",
    "lorem  ipsum",
    "Terms of Use",
    "use cookies",
    "uses cookie",
    "e\u0301",
    "w" * 1001,
    "\u00a0",
]
TEXTS = st.lists(
    st.one_of(st.text(max_size=20), st.lists(st.sampled_from(PARTS), max_size=25).map("".join)), max_size=4
)
POLICIES = tuple(phrase for phrase, flag in PHRASES.items() if flag == POLICY)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    compile_kinds(("c4",))


def edited(text: str, definition: str, *, end_marks: bool) -> tuple[dict[str, int], str]:
    """The line counts and what is left, from the published definition."""
    least, after, apostrophe = RULES[definition]
    marks = (".", "?", "!", '"', "'") if apostrophe else (".", "?", "!", '"')
    kept, lorem, bracket = [], 0, 0
    for raw in text.splitlines():
        line = raw.strip()
        words = line.split()
        if any(len(word) > 1000 for word in words):
            continue
        line = re.sub(r"\[\d*\]|\[edit\]|\[citation needed\]", "", line)
        if end_marks and (not line.endswith(marks) or line.endswith("...")):
            continue
        if len(line.split() if after else words) < least:
            continue
        lower = line.replace("\u212a", "?").lower()
        if "lorem ipsum" in lower:
            lorem += 1
        elif "javascript" in lower:
            continue
        elif "{" in line:
            bracket += 1
        elif not any(policy in lower for policy in POLICIES):
            kept.append(line)
    joined = "\n".join(kept)
    counts = {
        "kept_lines": len(kept),
        "kept_chars": len(joined),
        "lorem_ipsum_lines": lorem,
        "curly_bracket_lines": bracket,
    }
    return counts, joined.strip()


@pytest.mark.parametrize("definition", list(RULES))
@given(texts=TEXTS)
def test_lines_are_kept_as_the_published_definition_says(definition, texts):
    batch = pa.record_batch({"text": pa.array(texts, pa.string())})
    columns = C4(definition=definition).open()(batch)
    for end_marks, suffix in ((True, ""), (False, "_any_end")):
        rewritten = C4Lines(definition=definition, end_marks=end_marks).open()(batch)["text"].to_pylist()
        wanted = [edited(text, definition, end_marks=end_marks) for text in texts]

        assert rewritten == [left for _, left in wanted]
        for name in ("kept_lines", "kept_chars", "lorem_ipsum_lines", "curly_bracket_lines"):
            assert columns[name + suffix].to_pylist() == [counts[name] for counts, _ in wanted], name


@pytest.mark.parametrize(("line", "sentences"), GOLDEN["sentences"], ids=lambda value: str(value)[:20])
def test_sentences_are_those_that_spacy_gives(line, sentences):
    text = f"x x {line.strip()}"
    alone, together = (
        C4().open()(pa.record_batch({"text": [t]}))["sentences_any_end"][0].as_py() for t in (text, f"{text}\n{text}")
    )

    assert together == 2 * alone
    assert alone == sentences or line != line.strip() or line.startswith((":", "("))


@given(TEXTS)
def test_every_kept_line_has_a_sentence(texts):
    columns = C4().open()(pa.record_batch({"text": pa.array(texts, pa.string())}))
    for suffix in ("", "_any_end"):
        lines, sentences = (columns[name + suffix].to_pylist() for name in ("kept_lines", "sentences"))

        assert all(s >= k for s, k in zip(sentences, lines, strict=True))
        assert all((s > 0) == (k > 0) for s, k in zip(sentences, lines, strict=True))
