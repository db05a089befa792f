"""The page of an artifact: a card with everything, one with next to nothing, odd ones, and hostile text."""

import json
import math
import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from learned_artifacts import BARE, FULL, HOSTILE, kept

from pipelines import api
from pipelines.report.axis import Axis, nice
from pipelines.report.curve_figure import class_of, curve_figure, legend
from pipelines.report.groups import groups
from pipelines.report.learned import READERS, collect, direction, render, score, use
from pipelines.report.learned_card import Curve, Shown, read
from pipelines.report.whisker import whisker
from pipelines.store import Store
from stages.catalog import catalog
from stages.errors import SpecError

N = "\N{NARROW NO-BREAK SPACE}"


class _Page(HTMLParser):
    """Every tag with its attributes, and the text of the elements of each kind."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self._open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "br"}:
            self._open.append(tag)

    def handle_endtag(self, tag):
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip():
            self.texts.append((self._open[-1] if self._open else "", data.strip()))

    def of(self, tag):
        return [text for own, text in self.texts if own == tag]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A store with an artifact whose card has everything and one whose card has one sentence."""
    folder = tmp_path_factory.mktemp("learned")
    store = Store.open(folder / "store")
    return store, kept(store, folder, "full", FULL), kept(store, folder, "bare", BARE, kind="frequencies")


@pytest.fixture(scope="module")
def page(made):
    return render(collect(made[0], "artifact:full"))


def test_the_numbers_as_json_are_the_card_as_it_was_kept(made):
    store, full, _ = made
    found = json.loads(api.report("artifact:full", store=store)[1])
    assert found["card"] == FULL
    assert (found["artifact"], found["kind"], found["newest"]) == (full.id, "quality", full.id)
    assert found["files"] == {"model": {"bytes": 4, "sha256": full.files["model"]["sha256"]}}


def test_an_id_and_a_name_give_the_same_page(made, page):
    store, full, _ = made
    assert api.report(f"artifact:{full.id}", store=store)[0] == api.report("artifact:full", store=store)[0] == page


def test_a_page_of_one_sentence_has_only_that_and_how_to_use_it(made):
    store, _, bare = made
    found = _Page(render(collect(store, "artifact:bare")))
    assert (found.of("h1"), found.of("h2")) == (["bare"], ["To use it"])
    assert "A table of word frequencies." in found.of("p")
    assert f"artifact:{bare.id}" in "".join(found.of("pre"))
    assert [attributes["href"] for tag, attributes in found.tags if tag == "a"] == ["#use"]


def test_every_part_of_a_full_card_is_a_part_of_the_page_and_warnings_come_first(page):
    found = _Page(page)
    assert found.of("h2") == [
        "Before you trust it, 2 warnings",
        "In numbers",
        "Curves",
        "What it likes and what it hates",
        "What it learned from",
        "Settings",
        "What else its learner says",
        "What it cost",
        "To use it",
    ]
    ids = {attributes.get("id") for _, attributes in found.tags}
    assert {a["href"][1:] for tag, a in found.tags if tag == "a"} <= ids


def test_metrics_are_told_with_their_intervals(page):
    found = _Page(page)
    for shown in ("0.8651 to 0.9664", "0.946 to 1", "6.31 to 6.53", "at least 200", "in nats/token"):
        assert shown in found.of("small")
    assert ("td", "0.9314") in found.texts


def test_metrics_that_no_drawing_would_explain_are_a_plain_table():
    report = {"name": "x", "artifact": "x-0", "kind": "odd", "newest": None, "identity": {}, "files": {}, "use": {}}
    page = render({**report, "card": {"metrics": [{"name": "words", "value": 255_531, "unit": "words"}]}})
    found = _Page(page)
    assert "255,531" in found.of("td")
    assert [a for tag, a in found.tags if tag == "svg" or a.get("class") == "drawn"] == []


def test_likes_come_before_hates_each_with_score_text_and_place(page):
    found = _Page(page)
    scores = [text for tag, text in found.texts if tag == "b"]
    assert scores[1:7] == [">0.9999", "0.98", "0.97", "2.06e-10", "0.02", "–"]
    assert found.of("h3")[:2] == ["What it likes", "What it hates"]
    assert {"a.jsonl:3", "篩.jsonl:17", "ملف:2"} <= set(found.of("bdi"))
    assert "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة." in found.of("pre")


def test_markup_from_a_card_is_text_on_the_page(page):
    found = _Page(page)
    names = Counter(tag for tag, _ in found.tags)
    assert names["style"] == 1
    assert not {"script", "img", "i", "u", "iframe", "object", "form"} & names.keys()
    for tag, attributes in found.tags:
        assert not [a for a in attributes if a.startswith("on") or a in ("style", "src", "action")], tag
        assert attributes.get("href", "#").startswith("#")
    assert "{{7*7}}" in page
    assert (
        page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 6
    )  # warning, metric, curve, series, hate, place, oracle


def test_characters_of_a_card_that_cannot_be_seen_are_named(page):
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+001B⟩[31m⟨U+0000⟩" in page
    assert {c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c != "\n"} == set()


def test_text_of_either_direction_keeps_to_its_own_element(page):
    found = _Page(page)
    assert all(a.get("dir") == "auto" for tag, a in found.tags if tag == "pre" and a.get("class") != "spec")
    assert "⟨U+202E⟩" not in "".join(t for tag, t in found.texts if tag in ("td", "th", "span", "dt", "dd"))


def test_the_policy_allows_the_style_and_no_script(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1]
    assert policy.startswith("default-src 'none'; style-src 'sha256-".replace("'", "&#39;"))
    assert "script" not in policy


def test_every_drawing_says_in_words_what_it_shows(page):
    drawings = [a for tag, a in _Page(page).tags if tag == "svg" and a.get("aria-hidden") != "true"]
    assert len(drawings) == 4 + 2 * 3  # of metrics with an interval; each curve is drawn for phone and desk
    assert all(d["role"] == "img" and d["aria-label"] for d in drawings)


def test_an_older_version_says_which_one_is_the_newest(store, tmp_path):
    first = kept(store, tmp_path, "hq", BARE)
    (tmp_path / "again").mkdir()
    second = kept(store, tmp_path / "again", "hq", BARE, kind="ngram")
    page = render(collect(store, f"artifact:{first.id}"))
    assert f"is now {second.id}." in page
    assert "An older version" not in render(collect(store, "artifact:hq"))


def test_a_name_that_is_nearly_right_is_suggested(made):
    with pytest.raises(SpecError, match="has no artifact 'ful'; did you mean 'full'"):
        api.report("artifact:ful", store=made[0])


@pytest.mark.parametrize("kind", sorted(READERS))
def test_what_a_spec_says_to_use_it_is_a_step_that_the_stage_takes(kind):
    stage, field = READERS[kind]
    reference = "artifact:hq-0123456789abcdef"
    if stage not in catalog():
        assert use(kind, "hq-0123456789abcdef") == {field: reference}
        return
    [step] = use(kind, "hq-0123456789abcdef")["measure"].values()
    assert getattr(catalog()[stage].model_validate(step), field) == reference


def test_an_artifact_of_a_kind_that_no_stage_of_ours_reads_is_named_as_a_model():
    assert use("theirs", "x-0123456789abcdef") == {"model": "artifact:x-0123456789abcdef"}


ODD = [
    {"metrics": {"f1": 0.5}},
    {"metrics": [{"value": 1}], "curves": "none", "likes": [1, 2], "cost": 7, "data": ["a"]},
    {"curves": [{"series": []}, 3], "warnings": "one", "what": 4},
    {"curves": [{"series": [{"name": "s", "points": [[1], [1, 2, 3]]}]}]},
    {
        "curves": [{"title": "t", "series": [{"name": "s", "points": [[1, None]]}]}],
        "settings": {"a": {"b": {"c": [1, {}]}}},
    },
    {"metrics": [{"name": "m", "value": 10**400}], "likes": [], "hates": None},
    {"curves": [{"title": "reliability", "series": [{"name": "s", "points": [[-5, 3], [2, 9]]}]}]},
    {},
]


@pytest.mark.parametrize("card", ODD)
def test_a_card_of_another_shape_loses_nothing(card):
    report = {"name": "x", "artifact": "x-0", "kind": "odd", "newest": None, "identity": {}, "files": {}, "use": {}}
    page = render({**report, "card": card})
    found = read(card)
    assert {name: given for name, given in card.items() if name in found["other"]} == found["other"]
    assert "None" not in page
    for name in found["other"]:
        assert f"<bdi>{name}</bdi>" in page


def test_a_field_that_is_no_list_of_metrics_is_shown_among_what_else_the_learner_says():
    found = read({"metrics": {"f1": 0.5}})
    assert (found["metrics"], found["other"]) == ([], {"metrics": {"f1": 0.5}})
    assert groups(found["other"]) == [("metrics", [("f1", "0.5")])]


def test_quantities_are_written_by_their_names():
    mapping = {
        "bytes": 2_396_545,
        "peak_memory_bytes": 336_109_568,
        "seconds": 75.0,
        "labels": ["a", "b"],
        "skipped": {},
    }
    nested = {"share": {"value": 0.5, "low": 0.25, "high": None}, "spent": {"deep": {"usd": 0.04}}, "points": [[1, 2]]}
    assert groups({**mapping, "all": nested}) == [
        (
            "",
            [
                ("size", f"2.4{N}MB"),
                ("peak memory", f"336{N}MB"),
                ("on the clock", f"1{N}min 15{N}s"),
                ("labels", "a, b"),
            ],
        ),
        ("skipped", [("none", "")]),
        ("all", [("share", "0.5 (0.25 to –)"), ("spent · deep · usd", "0.04"), ("points", "[[1, 2]]")]),
    ]


def test_the_direction_of_liking_is_read_off_the_scores():
    high, low = [Shown(score=0.9), Shown(score=0.5)], [Shown(score=0.1), Shown(score=None)]
    assert direction(high, low) == "A high score is liked."
    assert direction(low, high) == "A low score is liked."
    assert direction(high, []) == direction(high, high) == direction(low[:1], low[:1]) == ""


def test_a_score_that_is_nearly_one_is_not_called_one():
    assert [score(x) for x in (0.9999999885, 1.0, 0.98765, None)] == [">0.9999", "1", "0.9877", "–"]


def test_random_is_drawn_as_the_control_and_the_others_keep_their_colours():
    curve = Curve.model_validate(read({"curves": FULL["curves"][:1]})["curves"][0])
    assert [class_of(curve, n) for n in range(4)] == ["s0", "s1", "s2", "control"]
    assert [name for _, name in legend(curve)] == ["entropy", "margin", "k-center", "random"]


def test_a_point_without_a_value_leaves_a_gap():
    curve = read({"curves": FULL["curves"][:1]})["curves"][0]
    drawn = _Page(curve_figure(curve, wide=True))
    lines = [a["points"].count(",") for tag, a in drawn.tags if tag == "polyline"]
    assert lines == [3, 3, 3]  # entropy, k-center, random; the two points of margin are not joined
    assert len([tag for tag, _ in drawn.tags if tag == "circle"]) == 11


def test_a_reliability_curve_is_drawn_beside_its_diagonal_from_0_to_1():
    curve = read({"curves": FULL["curves"][1:2]})["curves"][0]
    drawn = _Page(curve_figure(curve, wide=False))
    [diagonal] = [a for tag, a in drawn.tags if a.get("class") == "ideal"]
    [line] = [a["points"] for tag, a in drawn.tags if tag == "polyline"]
    x0, x1, y0, y1 = (float(diagonal[name]) for name in ("x1", "x2", "y1", "y2"))
    expected = [(x0 + (x1 - x0) * x, y0 + (y1 - y0) * y) for x, y, *_ in FULL["curves"][1]["series"][0]["points"]]
    found = [tuple(map(float, place.split(","))) for place in line.split()]
    assert found == [pytest.approx(place, abs=0.1) for place in expected]
    assert [text for tag, text in drawn.texts if tag == "text"].count("1") == 2


numbers = st.floats(-1e300, 1e300) | st.floats(0, 1) | st.integers(0, 10**9).map(float)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(numbers, min_size=1, max_size=8), st.booleans())
def test_an_axis_shows_its_values_in_their_order_between_round_numbers(values, may_be_log):
    axis = Axis.around(values, 10, 110, may_be_log=may_be_log)
    places = [axis.at(v) for v in sorted(values)]
    assert places == sorted(places)
    assert all(10 <= p <= 110 for p in places)
    assert axis.low <= min(values)
    assert max(values) <= axis.high
    ticks = axis.ticks(6)
    assert 1 <= len(ticks) <= 8
    slack = 1e-8 * (axis.high - axis.low)
    assert all(axis.low - slack <= t <= axis.high + slack for t in ticks)


@given(st.floats(1e-290, 1e300))
def test_a_nice_number_is_the_next_round_one(number):
    found = nice(number)
    assert number * (1 - 1e-8) <= found <= 2.5001 * number
    assert round(found / 10 ** math.floor(math.log10(found) + 1e-9), 6) in (1, 2, 2.5, 5)


@settings(deadline=None)  # a busy machine is no failure
@given(numbers, numbers | st.none(), numbers | st.none())
def test_a_whisker_stays_inside_its_drawing(number, low, high):
    drawn = _Page(whisker(number, low, high, HOSTILE))
    places = [float(a[k][:-1]) for _, a in drawn.tags for k in ("x", "cx", "x1", "x2") if k in a]
    assert all(0 <= p <= 100 for p in places)
    assert sum(tag == "circle" for tag, _ in drawn.tags) == 1
    assert ("interval" in [a.get("class") for _, a in drawn.tags]) == (low is not None and high is not None)


@pytest.mark.parametrize(
    ("counted", "numbers"),
    [(False, ["300,000", "500,000", "700,000", "1e6"]), (True, ["300 k", "400 k", "500 k", "700 k", "1 M"])],
)
def test_numbers_that_would_touch_are_left_out(counted, numbers):
    points = [(x, 1.0, None, None) for x in (250_000, 500_000, 1_000_000)]
    curve = Curve(series=[{"name": "one", "points": points}], log_x=True, counted=counted)

    found = re.findall(r'<text x="[\d.]+" y="237"[^>]*>([^<]+)<', curve_figure(curve, wide=False))

    assert found == [number.replace(" ", N) for number in numbers]


def test_a_drawing_tells_where_its_lines_begin_and_end():
    points = [(x, y, None, None) for x, y in ((1, 3.7), (2, None), (4, 3.4))]
    curve = Curve(title="Loss", x="tokens", y="bits", series=[{"name": "one", "points": points}])

    assert 'aria-label="Loss: bits over tokens; one, 3.7 to 3.4"' in curve_figure(curve, wide=True)
