"""What the terminal shows: hostile text stays text, and numbers are written for people."""

import io
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from pipelines import quantities, terminal
from pipelines.explain import explain
from pipelines.progress import Meter
from pipelines.sample import sample
from pipelines.visible import one_line, preview, visible


@pytest.fixture
def page():
    return Console(file=io.StringIO(), width=120, highlight=False, markup=False, emoji=False)


def printed(page):
    return page.file.getvalue()


def hidden(text):
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c not in "\n\u200d"}


def test_the_funnel_has_every_number_of_the_ledger(finished_run, page):
    terminal.show_run(page, finished_run)
    total = finished_run.ledger["total"]
    for name in ("documents_in", "exported", "rejected", "quarantined"):
        assert f"{total[name]:,}" in printed(page)
    for name, count in finished_run.ledger["reasons"].items():
        assert [line for line in printed(page).splitlines() if name in line and str(count) in line]
    assert "report.html" in printed(page)


def test_an_explanation_shows_hostile_text_as_text(finished_run, page):
    (document,) = [d for d in sample(finished_run, "kept", None, 100, 0) if d["text"].startswith("</pre>")][:1]
    terminal.show_explanation(page, explain(finished_run, document["doc_id"]))
    assert "[bold]" in printed(page)
    assert "⟨U+202E⟩" in printed(page)
    assert "⟨U+001B⟩[31m" in printed(page)
    assert hidden(printed(page)) == set()


def test_a_percentile_is_shown_with_its_number_and_group(finished_run, page):
    (document,) = sample(finished_run, "rejected", "size/long", 1, 0)
    terminal.show_explanation(page, explain(finished_run, document["doc_id"]))
    threshold = finished_run.thresholds["size/long"][document["lang"]]
    assert f"≤ p80 = {threshold:,} [per {document['lang']}]" in printed(page)


def test_samples_show_id_place_reasons_and_text(finished_run, page):
    found = sample(finished_run, "rejected", "copy", 2, 0)
    terminal.show_sample(page, found)
    for document in found:
        assert document["id"] in printed(page)
        assert f"{document['path']} #{document['ordinal']}" in printed(page)


def test_without_a_terminal_a_step_is_one_line_when_it_is_done(page):
    with terminal.TerminalWatch(page) as watch:
        for done in range(4):
            watch.step("stats", done, 3, done * 1_000_000)
        watch.step("stats", 3, 3, 3_000_000)
        watch.say("the \x1b[31mend[/bold]")
    lines = printed(page).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("stats: 3/3 · 3.0")
    assert lines[1] == "the ⟨U+001B⟩[31mend[/bold]"


def test_on_a_terminal_a_step_has_a_bar_and_its_rate():
    page = Console(file=io.StringIO(), width=120, force_terminal=True)
    with terminal.TerminalWatch(page) as watch:
        watch.step("stats", 0, 2)
        watch.step("stats", 2, 2, 5_000_000)
        watch.step("nothing", 0, 0)
    assert "2/2 · 5.0" in printed(page)
    assert "B/s" in printed(page)


def test_the_rate_and_the_time_left_count_from_the_first_call():
    now = iter([0.0, 10.0, 40.0])
    meter = Meter(lambda: next(now))
    assert meter.step("s", 2, 10, 100).seconds_left is None
    half = meter.step("s", 6, 10, 500)
    assert (half.seconds, half.bytes_per_second, half.seconds_left) == (10.0, 40.0, 10.0)
    assert meter.step("s", 10, 10, 900).seconds_left == 0.0


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (quantities.count(1234567), "1,234,567"),
        (quantities.size(999), "999 B"),
        (quantities.size(48_213_000), "48.2 MB"),
        (quantities.size(480_000_000_000), "480 GB"),
        (quantities.share(0, 7), "0 %"),
        (quantities.share(1, 100_000), "<0.1 %"),
        (quantities.share(99_999, 100_000), ">99.9 %"),
        (quantities.share(1, 3), "33.3 %"),
        (quantities.share(1, 0), "–"),
        (quantities.duration(0.423), "0.42 s"),
        (quantities.duration(125), "2 min 05 s"),
        (quantities.duration(11_220), "3 h 07 min"),
        (quantities.rate(0, 3), "–"),
        (quantities.value(0.123456), "0.1235"),
        (quantities.value(1234.5), "1,234"),
        (quantities.value(0.00000123), "1.23e-06"),
        (quantities.value(100.0), "100"),
        (quantities.value(None), "–"),
        (quantities.value(x=True), "yes"),
        (quantities.value(["en", "de"]), "en, de"),
    ],
)
def test_quantities_are_short_and_honest(made, text):
    assert made.replace(quantities.NARROW, " ") == text


@pytest.mark.parametrize(
    "text",
    [
        "plain ascii\n\ttab",
        "Grüße, 日本語 and العربية",
        "e\u0301 नमस्ते",
        "👩‍👩‍👧‍👦 family",
        "fi\u200cne in Persian: می\u200cخواهم",
    ],
)
def test_ordinary_text_of_any_script_is_left_alone(text):
    assert visible(text) == text


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(max_size=200))
def test_nothing_invisible_survives_being_made_visible(text):
    assert {c for c in visible(text) if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn")} <= {"\n", "\t"}
    assert {c for c in visible(text) if unicodedata.category(c) == "Cf"} <= {"\u200c", "\u200d"}


@settings(deadline=None)  # a busy machine is no failure
@given(st.text(alphabet="a\u0301\u0302 ", max_size=80))
def test_marks_do_not_pile_up(text):
    run = longest = 0
    for c in visible(text):
        run = run + 1 if unicodedata.combining(c) else 0
        longest = max(longest, run)
    assert longest <= 4


def test_a_cut_text_says_so():
    assert preview("abcdef", 3) == "abc…"
    assert preview("abc", 3) == "abc"
    assert one_line("a\n\n b\tc", 10) == "a b c"
