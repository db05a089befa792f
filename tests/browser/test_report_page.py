"""The report in a real browser: on a phone and a desk, light and dark, on paper, with and without a mouse."""

from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

WIDTHS = (320, 380, 768, 1280)


@pytest.fixture(scope="module")
def address(finished_run):
    return Path(f"{finished_run.store.url}/runs/{finished_run.run}/report.html").resolve().as_uri()


def channels(page, expression):
    """Red, green and blue of a computed colour."""
    text = page.evaluate(expression)
    return [float(part) for part in text[text.index("(") + 1 : -1].replace(",", " ").split()[:3]]


def luminance(rgb):
    """Relative luminance (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in (x / 255 for x in rgb)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_never_wider_than_the_window(opened, width):
    page, _ = opened(width)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_page_asks_for_nothing_and_complains_of_nothing(opened):
    page, wrong = opened(1280)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.mouse.move(300, 600)
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(opened, scheme):
    page, _ = opened(1280, scheme)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    ground = luminance(channels(page, "getComputedStyle(document.querySelector('section')).backgroundColor"))
    assert (ground > 0.5) == (scheme == "light")
    for part in ("h1", ".note", ".reasons", ".tiles .kept dd", ".tiles .rejected dd", ".values"):
        text = luminance(channels(page, f"getComputedStyle(document.querySelector('{part}')).color"))
        assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5, part


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_what_is_shared_can_be_seen_and_read(opened, scheme):
    page, _ = opened(1280, scheme)
    part = "document.querySelector('#duplicates mark')"
    tint = page.evaluate(f"getComputedStyle({part}).backgroundColor")
    alpha = float(tint[:-1].rpartition(" " if "/" in tint else ",")[2])
    over, under = (
        channels(page, f"getComputedStyle({where}).backgroundColor") for where in (part, f"{part}.closest('section')")
    )
    ground = luminance([alpha * o + (1 - alpha) * u for o, u in zip(over, under, strict=True)])
    text = luminance(channels(page, f"getComputedStyle({part}).color"))
    assert (max(text, ground) + 0.05) / (min(text, ground) + 0.05) >= 4.5
    assert abs(ground - luminance(under)) > 0.01


@pytest.mark.parametrize(("width", "columns"), [(380, 1), (1280, 2)])
def test_members_of_a_cluster_stand_side_by_side_where_there_is_room(opened, width, columns):
    page, _ = opened(width)
    cards = page.locator("#duplicates details[open] .documents").first.locator("article")
    places = [cards.nth(i).bounding_box() for i in range(cards.count())]
    assert len({round(place["x"]) for place in places}) == columns
    assert len(places) == 4


def test_a_phone_gets_its_own_drawing_of_the_flow(opened):
    page, _ = opened(380)
    assert page.locator(".sankey.narrow").is_visible()
    assert not page.locator(".sankey.wide").is_visible()


def test_labels_of_the_flow_stay_inside_the_drawing(opened):
    page, _ = opened(380)
    outside = """() => {
        const drawing = document.querySelector('.sankey.narrow');
        const right = drawing.getBoundingClientRect().right + 1;
        return [...drawing.querySelectorAll('text')].filter(t => t.getBoundingClientRect().right > right).map(t => t.textContent);
    }"""
    assert page.evaluate(outside) == []


def test_touching_a_bar_tells_its_numbers(opened):
    page, _ = opened(380, has_touch=True)
    bar = page.locator(".histogram g[data-tip]").first
    bar.scroll_into_view_if_needed()
    page.evaluate(
        "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
    )  # scrolling hides it
    bar.locator(".hit").dispatch_event("pointerdown", {"clientX": 120, "clientY": 300})
    page.locator(".tip").wait_for(state="visible")
    assert page.locator(".tip").inner_text() == bar.get_attribute("data-tip")


def test_the_page_says_everything_without_its_script(opened):
    page, _ = opened(1280, java_script_enabled=False)
    assert page.locator("section").count() >= 7
    assert page.locator("h1").inner_text().startswith("Of 133 documents, 58 stayed")


def test_paper_shows_what_was_folded_away(opened):
    page, _ = opened(1280)
    assert page.locator("details:not([open])").count() > 0
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() > 0


def test_text_from_right_to_left_runs_from_right_to_left(opened):
    page, _ = opened(1280)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    arabic = page.locator("article pre", has_text="المنخل").first
    assert arabic.evaluate("e => getComputedStyle(e).direction") == "rtl"
