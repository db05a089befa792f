"""The service's pages in a real browser: on a phone and a desk, light and dark, by keyboard, live, and checked by axe."""

import json

import pytest
from service_runs import service, spec_of, texts

from pipelines.service import tokens

pytestmark = pytest.mark.browser

PATIENCE = 240_000
LOOKS = [
    (380, "light"),
    (1400, "dark"),
    *(pytest.param(width, scheme, marks=pytest.mark.long) for width, scheme in ((380, "dark"), (1400, "light"))),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with service(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture(scope="module")
def done(served):
    hostile = {"id": "<b>\u202e", "text": "</pre><script>document.title = 'taken'</script>"}
    path = texts(served.folder)
    with path.open("a") as file:
        file.write(json.dumps(hostile) + "\n")
    return served.until(served.submit(spec_of(path))["id"])


@pytest.fixture(scope="module")
def signed_in(browser, served):
    """The cookies of a browser that used the one-time link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(served.sign_in, timeout=PATIENCE)
    assert page.url == f"{served.url}/runs"
    kept = context.storage_state()
    context.close()
    return kept


@pytest.fixture
def look(browser, served, signed_in):
    """Open a path in a window of some width and colours; gives the page and what went wrong on it."""
    contexts = []

    def show(path, width=1400, scheme="light"):
        context = browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme=scheme, storage_state=signed_in
        )
        context.set_default_timeout(PATIENCE)
        contexts.append(context)
        page, wrong = context.new_page(), []
        page.on("console", lambda message: wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: None if r.url.startswith(served.url) else wrong.append(r.url))
        page.goto(served.url + path)
        return page, wrong

    yield show
    for context in contexts:
        context.close()


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
@pytest.mark.parametrize("place", ["/runs", "/runs/{id}", "/new?from={id}", "/artifacts", "/runs/nothing"])
def test_pages_can_be_used_by_everybody(look, done, place, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    page, wrong = look(place.format(**done), width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    found = axe.run(page).response["violations"]
    assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
    assert [w for w in wrong if "404 (Not Found)" not in w] == []  # the page that was asked for in vain


@pytest.mark.parametrize("place", ["/runs", "/runs/{id}", "/new?from={id}"])
def test_pages_fill_the_largest_screens_too(look, done, place):
    page, wrong = look(place.format(**done), 3840)
    assert page.evaluate("document.documentElement.scrollWidth") <= 3840
    assert wrong == []


@pytest.mark.parametrize("width", [380, 1400])
def test_a_run_is_submitted_from_the_editor_and_watched_to_its_end_without_reloading(look, served, done, width):
    page, wrong = look("/new", width)
    spec = spec_of(texts(served.folder, name="watched.jsonl"), f"watched-{width}")
    page.fill("#spec", json.dumps({**spec, "measure": {"stats": {"kind": "text_stat"}}}, indent=1))
    page.click("#validate")
    page.wait_for_selector("#tried .problem")
    assert "did you mean" in page.inner_text("#tried")
    page.click("[data-goes]")
    assert "text_stat" in page.evaluate("getSelection().toString() || document.activeElement.value")
    page.fill("#spec", json.dumps(spec, indent=1))
    page.click("#validate")
    page.wait_for_selector("#tried .good")
    page.click("#submit")
    page.wait_for_url("**/runs/*")
    page.evaluate("window.same = true")
    page.wait_for_selector("#live .state.SUCCEEDED")
    assert page.evaluate("window.same"), "the page was loaded again"
    assert page.locator("#flow svg.sankey:visible").count() == 1
    assert wrong == []


def test_a_preview_tells_what_survives_each_rule(look, served, done):
    page, wrong = look(f"/new?from={done['id']}")
    page.click("#preview")
    page.wait_for_selector("#tried .good")
    assert "Survival by rule" in page.inner_text("#tried")
    assert page.locator("#tried details").count() == 41
    assert "taken" not in page.title()
    assert wrong == []


def test_rows_are_reached_and_opened_by_keyboard(look, done):
    page, _ = look("/runs")
    page.keyboard.press("j")
    assert page.evaluate("document.activeElement.closest('[data-row]') !== null")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "name"
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    assert page.locator("#keys").is_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("g")
    page.keyboard.press("n")
    page.wait_for_url("**/new")


def test_the_hint_of_the_cursors_line_opens(look, done):
    page, _ = look(f"/new?from={done['id']}")
    at = page.evaluate("document.querySelector('#spec').value.indexOf('text_stats')")
    page.evaluate(f"document.querySelector('#spec').setSelectionRange({at}, {at})")
    page.focus("#spec")
    page.wait_for_selector("#hints details[data-kind=text_stats][open]")


@pytest.mark.parametrize(("width", "scheme"), LOOKS)
def test_who_has_no_session_is_told_on_a_sound_page_how_to_get_one(browser, served, width, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed").Axe()
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page = context.new_page()
    for path, status in (("/sign-in", 200), ("/sign-in?link=tamis_used", 401)):
        assert page.goto(served.url + path, timeout=PATIENCE).status == status
        assert "tamis token link" in page.inner_text("main")
        found = axe.run(page).response["violations"]
        assert [(v["id"], [n["html"] for n in v["nodes"]]) for v in found] == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    context.close()


def test_who_signs_out_is_out(browser, served):
    context = browser.new_context()
    context.add_cookies([{"name": "tamis_session", "value": session_of(served), "url": served.url}])
    page = context.new_page()
    page.goto(f"{served.url}/runs", timeout=PATIENCE)
    page.click("text=Sign out")
    page.wait_for_url("**/sign-in", timeout=PATIENCE)
    assert page.goto(f"{served.url}/runs", timeout=PATIENCE).status == 401
    context.close()


def session_of(served):
    """Another session than that of the other tests, which sign-out would end."""
    return tokens.create(served.store, "read", kind="session", seconds=600)[0]
