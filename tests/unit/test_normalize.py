"""Repairing text: the fast path is the slow path, and time is linear."""

import re
import time
import unicodedata

import ftfy
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from ftfy.badness import BADNESS_RE, MOJIBAKE_CATEGORIES, is_bad
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.text import normalize as module
from stages.text.normalize import Normalize

#: What the repairs look for, so that random texts meet them often.
PIECES = (
    *("a", "Z", "é", "e\u0301", "q\u0323\u0307", "你", "ش", "ש", "👩‍👩‍👧", "ﬁ", "œ", "Œ", "Ã", "Â", "Ã³", "â€œ", "â€\x9d", "ï¬�"),
    *("&amp;", "&lt;", "&#x27;", "&nope;", "&", ";", "<", "<b>", "\x1b[31m", "\x1b", "\x00", "\x07", "\x7f", "\x80", "\x85"),
    *(" ", "\t", "\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\u00a0", "\u2003", "\u2028", "\u2029", "\u3000", "\u200b"),
    *("\ufeff", "\ufffc", "\u206a", "\u202e", "K", "Å", "한", "ﷺ", "1", ".", "à", "²", "ã\x83\x84", "Đ", "вЂ", "€"),
)  # fmt: skip
MOJIBAKE = "".join(re.sub("(.)-(.)", r"\1\2", c) for c in MOJIBAKE_CATEGORIES.values())
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=3), max_size=30).map("".join)
SWITCHES = st.fixed_dictionaries({name: st.booleans() for name in ("ftfy", "nfc", "control", "whitespace")})


def normalized(text: str, stage: Normalize | None = None) -> str:
    stage = stage or Normalize()
    batch = pa.RecordBatch.from_pydict({"text": pa.array([text], pa.string())})
    value: str = measure(stage, stage.open(), batch)["text"][0].as_py()
    return value


def by_hand(text: str, stage: Normalize) -> str:
    """What the stage says it does, one character and one line at a time."""
    if stage.ftfy:
        text = _ftfy_by_hand(text)
    if stage.control:
        text = "".join(c for c in text if not _is_control(c))
    if stage.whitespace:
        text = re.sub("[\r\x0b\x0c\x85\u2028\u2029]", "\n", text.replace("\r\n", "\n"))
        text = "".join(" " if unicodedata.category(c) == "Zs" else c for c in text)
        text = "\n".join(line.rstrip(" \t") for line in text.split("\n"))
        text = re.sub("\n\n\n+", "\n\n", text).strip(" \t\n")
    return unicodedata.normalize("NFC", text) if stage.nfc else text


def _ftfy_by_hand(text: str) -> str:
    lines, html = [], False
    for line in re.findall(r"[^\n]*\n|[^\n]+", text):
        html = html or "<" in line
        for _ in range(module.ROUNDS):
            before = line
            if not html:
                line = ftfy.fixes.unescape_html(line)  # noqa: PLW2901 -- repeated repair of one line
            line = ftfy.fixes.fix_c1_controls(ftfy.fix_encoding(line))  # noqa: PLW2901 -- the same
            line = ftfy.fixes.remove_terminal_escapes(ftfy.fixes.fix_latin_ligatures(line))  # noqa: PLW2901 -- the same
            if line == before:
                break
        lines.append(line)
    return "".join(lines)


def _is_control(c: str) -> bool:
    kept = "\t\n\x0b\x0c\r\x85"
    more = {*"\ufeff\ufff9\ufffa\ufffb\ufffc", *map(chr, range(0x206A, 0x2070))}
    return (unicodedata.category(c) == "Cc" and c not in kept) or c in more


@settings(max_examples=400, deadline=None)
@given(TEXT, SWITCHES)
def test_skipping_what_needs_no_repair_changes_nothing(text, switches):
    stage = Normalize(**switches)

    assert normalized(text, stage) == by_hand(text, stage)


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(MOJIBAKE) | st.characters(codec="utf-8"), max_size=8).map("".join))
def test_theloosened_pattern_matches_all_that_ftfy_calls_bad(text):
    loosened = "(?s)" + module.loosened(BADNESS_RE.pattern)
    if is_bad(text):
        assert pc.match_substring_regex(pa.array([text]), loosened)[0].as_py()


def test_theloosened_pattern_leaves_ordinary_text_of_many_scripts_alone():
    ordinary = [
        "plain",
        "Größe – “Zitat”",
        "Это русский текст.",
        "日本語の文章、です。",
        "نص عربي",
        "טקסט",
        "ไทย",
        "हिन्दी",
    ]
    pattern = "(?s)" + module.loosened(BADNESS_RE.pattern)

    assert pc.match_substring_regex(pa.array(ordinary), pattern).to_pylist() == [False] * len(ordinary)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.sampled_from([p for p in PIECES if p not in {"<", "<b>"}]), max_size=12).map("".join))
def test_repairs_are_those_of_ftfy_itself(text):
    config = ftfy.TextFixerConfig(
        uncurl_quotes=False,
        fix_character_width=False,
        fix_line_breaks=False,
        remove_control_chars=False,
        normalization=None,
    )
    stage = Normalize(nfc=False, control=False, whitespace=False)

    assert normalized(text, stage) == ftfy.fix_text(text, config)


@pytest.mark.parametrize(
    ("given_text", "expected"),
    [
        ("voilÃ  le cafÃ©", "voilà le café"),
        ("â€œquotedâ€\x9d", "“quoted”"),
        ("Tom &amp; Jerry &lt;3", "Tom & Jerry <3"),
        ("first &amp; line\n<p>&amp;</p>\nand &amp; after", "first & line\n<p>&amp;</p>\nand &amp; after"),
        ("ＬＯＵＤ “curly”", "ＬＯＵＤ “curly”"),
        ("cafe\u0301", "café"),
        ("  indented\n    code  \n\n\n\n\ttab", "indented\n    code\n\n\ttab"),
        ("👩‍👩‍👧‍👦 \u202eשלום\u202c", "👩‍👩‍👧‍👦 \u202eשלום\u202c"),
        ("\ufeff\x00nul\x08", "nul"),
        ("a\u3000b\u00a0c", "a b c"),
        ("", ""),
        ("\r\n \u00a0\n", ""),
    ],
)
def test_accidents_are_repaired_and_orthography_is_left(given_text, expected):
    assert normalized(given_text) == expected


def test_changes_are_counted():
    batch = pa.RecordBatch.from_pydict({"text": ["same", "two\r\n", "ﬁ", "e\u0301"]})
    answer = measure(Normalize(), Normalize().open(), batch)

    assert answer.to_pydict() == {
        "text": ["same", "two", "fi", "é"],
        "changed": [False, True, True, True],
        "chars_removed": [0, 2, -1, 1],
    }


def test_a_switch_that_is_off_is_not_in_the_identity_of_versions():
    assert set(Normalize().artifacts()) == {"ftfy", "unicode"}
    assert set(Normalize(ftfy=False).artifacts()) == {"unicode"}
    assert Normalize(ftfy=False, nfc=False).artifacts() == {}


@pytest.mark.parametrize(
    "hostile",
    [
        "&" + "amp;" * 500_000,
        "Ã\x83Â" * 300_000,
        (" " * 999 + "x") * 2_000,
        "&amp;\n" * 200_000,
        "œ " * 700_000,
        "a" + "\u0301\u0323" * 500_000,
        "é" * 1_000_000 + "&amp;",
    ],
)
def test_two_megabytes_of_malice_take_seconds(hostile):
    start = time.process_time()
    normalized(hostile)

    assert time.process_time() - start < 20
