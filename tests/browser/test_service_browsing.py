"""Looking into a finished run in a real browser: as somebody does who wants to know why, on a phone and at a desk."""

import random
import re

import pytest
from browsing_runs import ablation, corpus, spec
from service_runs import service

from pipelines.labelling.human_oracle import Queue
from pipelines.labelling.waiting_oracle import FOLDER, queue_name

pytestmark = pytest.mark.browser

WIDTHS = (380, 1400)
LABELS = ["high", "low"]
SLOW = 60_000  # milliseconds that an answer may take on a machine with other work


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A service with a finished run, an ablation, and its address for a browser that signs in."""
    folder = tmp_path_factory.mktemp("site")
    with service(folder) as served:
        job = served.until(served.submit(spec(corpus(folder)))["id"])
        assert job["state"] == "SUCCEEDED"
        name = ablation(served.store, job["run"])
        served.store.create(f"ablations/{name}/ladder.csv", ladder().encode())
        yield {"served": served, "run": job["id"], "ablation": name}


def ladder():
    """Endpoints of twenty sizes and budgets that follow Chinchilla's law with a little noise."""
    lines, draw = ["parameters,tokens,loss"], random.Random(0)
    for parameters in (1e6, 2e6, 4e6, 8e6, 16e6):
        for ratio in (5, 10, 20, 40):
            tokens = ratio * parameters
            loss = 1.7 + 400 / parameters**0.34 + 410 / tokens**0.28 + draw.gauss(0, 0.002)
            lines.append(f"{parameters:.0f},{tokens:.0f},{loss:.5f}")
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def signed_in(browser, site):
    """The cookies of a browser that opened the link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(site["served"].sign_in, timeout=SLOW)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture(params=WIDTHS)
def window(browser, site, signed_in, request):
    """A window of some width; gives a page and the addresses and complaints that should not be."""
    context = browser.new_context(
        viewport={"width": request.param, "height": 800}, storage_state=signed_in, base_url=site["served"].url
    )
    context.set_default_timeout(SLOW)
    page = context.new_page()
    wrong = []
    page.on("console", lambda message: wrong.append(message.text) if message.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda asked: None if asked.url.startswith(site["served"].url) else wrong.append(asked.url))
    page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
    yield page
    said = list(wrong)  # a request that closing the window breaks off is no complaint
    context.close()
    assert said == []


def sound(page):
    """Nobody is shut out: no violation of axe's rules, nothing wider than the window."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    found = axe.run(page, options={"iframes": False}).response["violations"]
    assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found] == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_a_rejected_document_is_opened_and_says_why(window, site):
    window.goto(f"/runs/{site['run']}/documents")
    window.get_by_role("link", name=re.compile("^Rejected")).click()
    window.locator("summary", has_text="Reasons").click()
    window.get_by_role("link", name=re.compile("^few-words")).first.click()
    window.locator(".beginning:not(:has(.waits))").first.wait_for()
    sound(window)
    window.locator("h1").click()
    window.keyboard.press("j")
    window.keyboard.press("Enter")
    why = window.locator("#why")
    assert re.search(r"few-words: stats\.words is \d+ and must be ≥ 60", why.inner_text())
    sound(window)
    first = window.url
    window.locator("h2").first.click()
    window.keyboard.press("n")
    window.wait_for_url(lambda url: url != first)
    assert window.locator("#why").is_visible()
    window.get_by_role("link", name="The list").click()
    assert "reason=few-words" in window.url


def test_every_kind_of_document_page_is_sound(window, site):
    for name in ("letter-03", "copy-0-1"):
        window.goto(f"/runs/{site['run']}/documents/{name}")
        sound(window)
    assert window.locator("mark").count() > 0


def test_a_threshold_is_moved_by_keys_and_forked(window, site):
    window.goto(f"/runs/{site['run']}/thresholds?column=stats.words")
    window.locator("#borderline section").wait_for()
    sound(window)
    slider, kept = window.locator("#threshold-range"), window.locator("[data-kept]")
    was = int(kept.get_attribute("data-kept"))
    line = window.locator("#threshold-line").get_attribute("x1")
    slider.focus()
    for _ in range(20):
        window.keyboard.press("PageDown")
    window.wait_for_function("was => Number(document.querySelector('[data-kept]').dataset.kept) !== was", arg=was)
    assert window.locator("#threshold-line").get_attribute("x1") != line
    value = window.locator("#threshold-number").input_value()
    window.wait_for_url(re.compile(rf"value={re.escape(value)}$"))
    window.wait_for_function(
        "value => decodeURIComponent(document.querySelector('#fork').href).endsWith(value)", arg=value
    )
    window.locator("#fork").click()
    assert re.search(rf"column: stats\.words,?\s+ge: {re.escape(value)}[,\s]", window.locator("textarea").input_value())


def test_a_threshold_is_dragged(window, site):
    window.goto(f"/runs/{site['run']}/thresholds?column=stats.words")
    box = window.locator("#threshold-range").bounding_box()
    window.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    window.mouse.down()
    window.mouse.move(box["x"] + 0.9 * box["width"], box["y"] + box["height"] / 2, steps=5)
    window.mouse.up()
    value = window.locator("#threshold-number").input_value()
    window.wait_for_url(re.compile(rf"value={re.escape(value)}$"))
    line = float(window.locator("#threshold-line").get_attribute("x1"))
    assert 800 < line < 950


def test_ten_documents_are_labelled_by_keys(window, site, request):
    store, learner = site["served"].store, f"mill-{window.viewport_size['width']}"
    queue = queue_name(learner, LABELS)
    questions = [{"doc_id": f"{i:032x}", "id": f"doc-{i}", "text": f"The sieve number {i}. " * 40} for i in range(10)]
    asked = {"learner": learner, "labels": LABELS, "questions": questions, "at": 0.0}
    store.create_json(f"{FOLDER}/{queue}/one.json", asked)
    journal = Queue(store, queue)
    window.goto(f"/labels?queue={queue}")
    sound(window)

    def press(key, done):
        window.keyboard.press(key)
        window.locator(f'#labelling:not([data-waits]) #standing[data-done="{done}"]').wait_for()

    press("1", 1)
    press("s", 2)
    press("u", 1)
    for i in range(1, 10):
        press("12"[i % 2], i + 1)
    assert journal.answers() == {f"{i:032x}": LABELS[i % 2] for i in range(10)}
    assert "Every document of this round is labelled" in window.locator("main").inner_text()
    store.create_json(f"{FOLDER}/{queue}/one.done.json", {"at": 0.0})


def test_the_report_of_an_ablation_is_read(window, site):
    window.goto("/ablations")
    sound(window)
    window.get_by_role("link", name=site["ablation"]).click()
    inside = window.frame_locator("iframe[title^='Report']")
    inside.locator("h1").wait_for()
    assert "token" in inside.locator("main").inner_text()
    window.locator(".explore summary").click()
    window.locator("[data-drawn]").wait_for()
    assert window.locator(".explore .scatterlayer .trace").count() == 3  # an arm each
    sound(window)


def test_the_law_of_a_ladder_is_read(window, site):
    window.goto(f"/ablations/{site['ablation']}")
    window.locator("iframe[title^='Scaling law']").scroll_into_view_if_needed()
    inside = window.frame_locator("iframe[title^='Scaling law']")
    inside.locator("h1").wait_for()
    assert "E" in inside.locator("main").inner_text()
    assert inside.locator("svg").count()
    sound(window)


def test_clusters_and_comparisons_are_sound(window, site):
    for path in (
        f"/runs/{site['run']}/clusters",
        f"/runs/{site['run']}/clusters?column=copies.cluster&cluster=1",
        f"/compare?a={site['run']}&b={site['run']}",
        f"/runs/{site['run']}/thresholds?column=lang",
        f"/runs/{site['run']}/documents?fate=quarantined",
    ):
        window.goto(path)
        sound(window)
