"""The page of what was learned in a real browser: on a phone and a desk, light and dark, without a script, on paper."""

import pytest
from learned_artifacts import FULL, kept
from page_colours import colour, contrast, luminance

from pipelines import api
from pipelines.store import Store

pytestmark = pytest.mark.browser

WIDTHS = (320, 380, 768, 1280)
UNFOLD = "document.querySelectorAll('details').forEach(d => { d.open = true; })"


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    folder = tmp_path_factory.mktemp("learned")
    store = Store.open(folder / "store")
    kept(store, folder, "full", FULL)
    path = folder / "page.html"
    path.write_text(api.report("artifact:full", store=store)[0], encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_never_wider_than_the_window_and_metrics_need_no_scrolling(opened, width):
    page, _ = opened(width)
    assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('#metrics .scroll'))") <= 0
    page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened):
    page, wrong = opened(1280)
    page.evaluate(UNFOLD)
    page.mouse.move(300, 600)
    assert wrong == []


TEXTS = ("h2", ".note", ".lead", "#metrics small", ".counts dt", ".values", "article header")
DOTS = ("#metrics .dot", "#curves .s0 .dot", "#curves .s1 .dot", "#curves .s2 .dot", ".control .dot")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(opened, scheme):
    page, _ = opened(1280, scheme)
    ground = colour(page, "getComputedStyle(document.querySelector('section')).backgroundColor")
    assert (luminance(ground[:3]) > 0.5) == (scheme == "light")
    found = {t: colour(page, f"getComputedStyle(document.querySelector('section {t}, {t}')).color") for t in TEXTS}
    assert [part for part, text in found.items() if contrast(text, ground) < 4.5] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_warnings_can_be_seen_and_read(opened, scheme):
    page, _ = opened(1280, scheme)
    over = colour(page, "getComputedStyle(document.querySelector('.warnings')).backgroundColor")
    under = colour(page, "getComputedStyle(document.body).backgroundColor")
    ground = [over[3] * o + (1 - over[3]) * u for o, u in zip(over[:3], under[:3], strict=True)]
    for part in (".warnings h2", ".warnings li"):
        assert contrast(colour(page, f"getComputedStyle(document.querySelector('{part}')).color"), ground) >= 4.5, part
    assert page.locator(".warnings").bounding_box()["y"] < page.locator("section").first.bounding_box()["y"]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_marks_stand_out_from_the_panel(opened, scheme):
    page, _ = opened(1280, scheme)
    ground = colour(page, "getComputedStyle(document.querySelector('section')).backgroundColor")
    found = {dot: colour(page, f"getComputedStyle(document.querySelector('{dot}')).fill") for dot in DOTS}
    assert [dot for dot, mark in found.items() if contrast(mark, ground) < 3] == []


@pytest.mark.parametrize(("width", "columns"), [(380, 1), (1280, 2)])
def test_likes_and_hates_stand_side_by_side_where_there_is_room(opened, width, columns):
    page, _ = opened(width)
    sides = [page.locator(f"#ends .is-{side}").first.bounding_box() for side in ("likes", "hates")]
    assert len({round(place["x"]) for place in sides}) == columns
    assert (round(sides[0]["y"]) == round(sides[1]["y"])) == (columns == 2)


@pytest.mark.parametrize(("width", "drawn"), [(380, "narrow"), (1280, "wide")])
def test_each_curve_is_drawn_once_and_its_labels_stay_inside(opened, width, drawn):
    page, _ = opened(width)
    shown = page.evaluate(
        "[...document.querySelectorAll('.curve')].filter(e => e.checkVisibility()).map(e => e.classList[1])"
    )
    assert shown == [drawn] * 3
    outside = f"""() => [...document.querySelectorAll('.curve.{drawn}')].flatMap(drawing => {{
        const box = drawing.getBoundingClientRect();
        return [...drawing.querySelectorAll('text')].filter(t => {{
            const own = t.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1 || own.bottom > box.bottom + 1;
        }}).map(t => t.textContent);
    }})"""
    assert page.evaluate(outside) == []


def test_text_from_right_to_left_runs_from_right_to_left_beside_text_that_does_not(opened):
    page, _ = opened(1280)
    arabic = page.locator("#ends pre", has_text="المنخل")
    english = page.locator("#ends pre", has_text="The sieve")
    assert arabic.evaluate("e => getComputedStyle(e).direction") == "rtl"
    assert english.evaluate("e => getComputedStyle(e).direction") == "ltr"


def test_paper_shows_what_was_folded_away(opened):
    page, _ = opened(1280)
    folded = page.locator("#curves details td").first
    assert not folded.evaluate("e => e.checkVisibility({contentVisibilityAuto: true, checkVisibilityCSS: true})")
    page.emulate_media(media="print")
    assert folded.evaluate("e => e.checkVisibility({contentVisibilityAuto: true, checkVisibilityCSS: true})")
    assert folded.bounding_box()["height"] > 0
