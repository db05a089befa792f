"""The pages of an ablation and of a scaling law in a real browser: on a phone and a desk, light and dark."""

import numpy as np
import pytest
from ablation_results import ARMS, STEPS, result
from page_colours import colour, contrast, luminance

from pipelines.report import ablation, scaling
from trainer.scaling.points import Points
from trainer.scaling.study import Question, study

pytestmark = pytest.mark.browser

WIDTHS = (320, 380, 768, 1280)
PARTS = ("h2", ".note", "td", "th", ".curve text.tick", "text.name")
UNFOLD = "document.querySelectorAll('details').forEach(d => { d.open = true; })"
OUTSIDE = """() => [...document.querySelectorAll('.curve, .mark')].filter(e => e.checkVisibility()).flatMap(drawing => {
    const box = drawing.getBoundingClientRect();
    return [...drawing.querySelectorAll('text')].filter(t => {
        const own = t.getBoundingClientRect();
        return own.left < box.left - 2 || own.right > box.right + 2;
    }).map(t => t.textContent);
})"""
OVERLAPPING = """() => [...document.querySelectorAll('.curve, .mark')].filter(e => e.checkVisibility()).flatMap(drawing => {
    const boxes = [...drawing.querySelectorAll('text.tick')].map(t => [t.textContent, t.getBoundingClientRect()]);
    return boxes.flatMap(([name, a], i) => boxes.slice(i + 1).filter(([, b]) =>
        a.left < b.right && b.left < a.right && a.top < b.bottom - 3 && b.top < a.bottom - 3).map(([other]) => name + ' ' + other));
})"""


def law():
    """A fit of two arms, of which the second needs fewer tokens."""
    generator = np.random.default_rng(0)
    rows = [
        (
            n,
            d,
            (1.8 + 200 * n**-0.34 + 400 * (d * (1 + 0.4 * k)) ** -0.33) * np.exp(0.002 * generator.standard_normal()),
            k,
        )
        for k in range(2)
        for n in np.geomspace(1e6, 1e8, 4)
        for d in np.geomspace(1e7, 1e9, 5)
    ]
    sizes, tokens, losses, arms = np.array(rows).T
    points = Points(sizes, tokens, losses, arms.astype(int), ("unfiltered", "curated"))
    return study(points, Question(budgets=(1e18, 1e20), resamples=60), seed=0)


@pytest.fixture(scope="module", params=["ablation", "small ablation", "law"])
def address(request, tmp_path_factory):
    made = {
        "ablation": lambda: ablation.render(result({**ARMS, **STEPS})),
        "small ablation": lambda: ablation.render(
            result({"unfiltered": 1.0, "curated": 1.1}, seeds=2, budgets=(250_000, 10**6))
        ),
        "law": lambda: scaling.render(law()),
    }
    path = tmp_path_factory.mktemp("proving") / "page.html"
    path.write_text(made[request.param](), encoding="utf-8")
    return path.as_uri()


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_window_and_numbers_along_axes_stay_inside_and_apart(opened, width):
    page, _ = opened(width)
    hidden = "[...document.querySelectorAll('#tokens .scroll, #quality .scroll, .law .scroll')].map(e => e.scrollWidth - e.clientWidth)"
    assert max(page.evaluate(hidden)) <= 0, "the table of the verdict needs no scrolling"
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(OVERLAPPING) == []
    page.evaluate(UNFOLD)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_asks_for_nothing_and_complains_of_nothing(opened, scheme):
    page, wrong = opened(1280, scheme)
    page.evaluate(UNFOLD)
    page.mouse.move(300, 600)
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read_in_light_and_dark(opened, scheme):
    page, _ = opened(1280, scheme)
    page.evaluate(UNFOLD)
    ground = colour(page, "getComputedStyle(document.querySelector('section')).backgroundColor")
    assert (luminance(ground[:3]) > 0.5) == (scheme == "light")
    read = [part for part in PARTS if page.locator(part).count()]
    assert len(read) >= 5
    for part in read:
        style = f"getComputedStyle(document.querySelector('{part}'))"
        assert contrast(colour(page, f"{style}.{'fill' if 'text' in part else 'color'}"), ground) >= 4.5, part


def test_paper_shows_what_was_folded_away(opened):
    page, _ = opened(1280)
    folded = page.locator("details > :last-child").all()
    page.emulate_media(media="print")
    assert [f.bounding_box()["height"] > 0 for f in folded] == [True] * len(folded)


def test_paper_is_light_and_wide_whatever_the_screen_is(opened):
    page, _ = opened(680, "dark")
    ink = "getComputedStyle(document.documentElement).getPropertyValue('--kept-ink')"
    assert page.evaluate(ink) == "#58c9b5"
    page.emulate_media(media="print")
    assert page.evaluate(ink) == "#086054"
    assert page.locator(".curve.wide").first.is_visible()
    assert not page.locator(".curve.narrow").first.is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 680
