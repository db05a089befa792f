"""The pages over HTTP: who may see them, what they say, and that nothing hostile gets through them as markup."""

import json
import re
from html import unescape
from html.parser import HTMLParser

import httpx
import pytest
from service_runs import Served, service, spec_of, texts, until_asked, waiting_spec

HOSTILE = "<img src=x onerror=alert(1)></textarea><script>alert(2)</script>\"'\u202egnp.exe\u202c\x07"
PAGES = ("/runs", "/new", "/artifacts")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with service(tmp_path_factory.mktemp("pages")) as found:
        yield found


@pytest.fixture(scope="module")
def done(served: Served):
    """A job that has succeeded, one of whose documents and reasons are hostile."""
    path = texts(served.folder)
    with path.open("a") as file:
        file.write(json.dumps({"id": HOSTILE, "text": HOSTILE}) + "\n")
    rule = {"column": "stats.words", "ge": 10, "on_null": "drop", "reason": "short<b>"}
    return served.until(served.submit(spec_of(path, keep=[rule]))["id"])


@pytest.fixture(scope="module")
def failed(served: Served):
    """A job that has failed over a line that is no JSON, and says so."""
    path = served.folder / "broken.jsonl"
    path.write_text('{"id": "a", "text": "fine"}\n{"id": "<img src=x onerror=alert(1)>\n')
    source = {"kind": "jsonl", "path": str(path), "max_malformed": 0}
    return served.until(served.submit({**spec_of(path, "failing"), "source": source})["id"])


def browse(served, path, token=None, **headers):
    """What a browser gets that is signed in with a token."""
    return served.get(path, token, headers={"Accept": "text/html", **headers})


def send(served, path, token=None, part=False, **fields):
    """What a form of a page gets."""
    headers = {"Accept": "text/html", "Origin": served.url, **({"HX-Request": "true"} if part else {})}
    with served.client(token) as client:
        return client.post(path, data=fields, headers=headers)


class Seen(HTMLParser):
    """The elements of a page, and what stands in them."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.inline = [], [], []
        self._script = False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._script = tag in ("script", "style")

    def handle_data(self, data):
        if self._script and data.strip():
            self.inline.append(data)

    def handle_endtag(self, tag):
        self._script = False


def inert(text):
    """The page, after seeing that it has no script, style or handler of its own."""
    seen = Seen(text)
    assert seen.inline == []
    assert [name for name in seen.attributes if name.startswith("on") or name == "style"] == []
    assert "img" not in seen.tags
    assert not set(text) & set("\u202e\u202c\x07")
    return text


@pytest.mark.parametrize("path", PAGES)
def test_who_is_not_signed_in_is_told_how_to(served, path):
    answer = httpx.get(served.url + path, headers={"Accept": "text/html"}, trust_env=False, timeout=60)
    assert answer.status_code == 401
    assert "tamis serve" in answer.text
    assert "Sign out" not in answer.text


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/nowhere", "/runs/nothing"])
def test_every_page_has_the_policy_and_nothing_inline(served, path):
    answer = browse(served, path)
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    inert(answer.text)


def test_a_used_sign_in_link_is_explained_on_a_page(served):
    headers = {"Accept": "text/html"}
    answer = httpx.get(f"{served.url}/sign-in?link=tamis_x", headers=headers, trust_env=False, timeout=60)
    assert answer.status_code == 401
    assert "Open the link" in answer.text


def test_programs_still_get_problems(served):
    answer = served.get("/runs/nothing")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/problem+json")


def test_the_list_shows_runs_by_state_name_and_id(served, done, failed):
    def listed(query):
        return set(re.findall(r'id="row-([a-z0-9]+)"', browse(served, f"/runs{query}").text))

    assert listed("") == {done["id"], failed["id"]}
    assert listed("?state=failed") == {failed["id"]}
    assert listed("?name=small") == {done["id"]}
    assert listed(f"?name={done['id'][:9]}") == {done["id"]}
    assert listed("?name=nobody") == set()


def test_the_list_comes_as_a_part_for_the_script(served, done):
    part = browse(served, "/runs", **{"HX-Request": "true"}).text
    assert part.lstrip().startswith('<div id="runs"')
    assert "<html" not in part


def test_a_finished_run_shows_its_numbers_its_flow_and_its_files(served, done):
    text = inert(browse(served, f"/runs/{done['id']}").text)
    total = done["total"]
    for number in (total["documents_in"], total["exported"], total["rejected"]):
        assert f"<dd>{number}</dd>" in text
    assert "<svg" in text
    assert "short&lt;b&gt;" in text
    manifest = served.get(f"/v1/runs/{done['id']}/export").json()["manifest"]
    for file in manifest["files"]:
        assert f"/v1/runs/{done['id']}/export/{file['name']}" in text
    assert f"/runs/{done['id']}/cancel" not in text


def test_other_names_of_a_run_lead_to_its_page(served, done):
    answer = browse(served, "/runs/small")
    assert (answer.status_code, answer.headers["location"]) == (303, f"/runs/{done['id']}")


def test_a_failed_run_says_all_of_what_went_wrong_and_can_be_resumed(served, failed):
    text = inert(browse(served, f"/runs/{failed['id']}").text)
    assert failed["error"]["title"] in unescape(text)
    assert f"/runs/{failed['id']}/resume" in text


def test_buttons_work_only_from_here_and_for_who_may(served, done):
    path = f"/runs/{done['id']}/pin"
    with served.client() as client:
        for origin in ({}, {"Origin": "https://elsewhere.example"}, {"Origin": "null"}):
            assert client.post(path, headers=origin).status_code == 403
    assert send(served, path, served.reader).status_code == 403
    assert send(served, path).status_code == 303
    assert served.get(f"/v1/runs/{done['id']}").json()["pinned"]
    assert "Unpin" in browse(served, f"/runs/{done['id']}").text
    assert "/pin" not in browse(served, f"/runs/{done['id']}", served.reader).text


def test_a_run_is_cancelled_and_resumed_by_its_buttons(served):
    job = served.submit(waiting_spec(served.folder, "buttons"))["id"]
    until_asked(served, job)
    assert f"/runs/{job}/cancel" in browse(served, f"/runs/{job}").text
    assert send(served, f"/runs/{job}/cancel", served.reader).status_code == 403
    assert send(served, f"/runs/{job}/cancel").status_code == 303
    assert served.until(job)["state"] == "CANCELLED"
    assert send(served, f"/runs/{job}/resume").status_code == 303
    until_asked(served, job, attempt=2)
    assert send(served, f"/runs/{job}/cancel").status_code == 303
    assert served.until(job)["state"] == "CANCELLED"


def test_the_editor_says_what_is_wrong_at_its_line_and_keeps_the_text(served, done):
    spec = browse(served, f"/new?from={done['id']}").text
    text = unescape(re.search(r"<textarea[^>]*>\n(.*?)</textarea>", spec, re.DOTALL)[1])
    assert "good" in send(served, "/new", part=True, spec=text, action="validate").text
    wrong = send(served, "/new", part=True, spec=text.replace("text_stats", "text_stat"), action="validate").text
    assert "did you mean &#39;text_stats&#39;" in wrong
    line = next(i for i, line in enumerate(text.splitlines(), 1) if "text_stats" in line)
    assert f'data-line="{line}"' in wrong
    hostile = send(served, "/new", spec=HOSTILE, action="submit")
    assert hostile.status_code == 422
    assert Seen(hostile.text).inline == []
    kept = re.search(r"<textarea[^>]*>\n(.*?)</textarea>", hostile.text, re.DOTALL)[1]
    assert unescape(kept) == HOSTILE


@pytest.mark.parametrize(
    "text",
    [
        "name: x\nsource: !!python/object/apply:os.system ['touch {made}']\n",
        "name: x\nsource: !!python/object/new:subprocess.Popen [['touch', '{made}']]\n",
        "name: &a [x, x]\nsource: &b [*a, *a, *a]\nmeasure: [*b, *b, *b]\n",
        "name: x\nsource: {{<<: {{kind: jsonl}}}}\n",
        "name: x\nsource: " + "[" * 10_000 + "]" * 10_000,
        '{{"name": "x", "source": ' + "[" * 100_000,
        '{{"name": "x", "source": ' + '{{"a":' * 20_000 + "1" + "}}" * 20_001,
        "name: " + "9" * 50_000,
        "name: x\n" * 3,
        "name: x\nsource: {{kind: jsonl, path: texts.jsonl}}\nkeep: [{{column: id, ge: .nan, reason: a}}]\n",
        "- a\n- b\n",
        "\ufeff\x00\u202e",
        "name: x\nsource: {{kind: jsonl, path: '{{{{7*7}}}}/../../etc/passwd'}}\n",
        "name: ../../x\nsource: {{kind: jsonl, path: texts.jsonl}}\n",
    ],
)
@pytest.mark.parametrize("action", ["validate", "preview", "submit"])
def test_hostile_text_in_the_editor_runs_nothing_and_is_answered_with_what_is_wrong(served, text, action):
    made = served.folder / "made"
    before = served.get("/v1/runs", params={"limit": 200}).json()["runs"]
    answer = send(served, "/new", spec=text.format(made=made), action=action)
    assert answer.status_code in (403, 404, 409, 422), answer.text
    assert Seen(answer.text).inline == []
    assert not made.exists()
    assert len(served.get("/v1/runs", params={"limit": 200}).json()["runs"]) == len(before)


@pytest.mark.parametrize(
    "body",
    [
        '{"spec": ' + "[" * 100_000,
        '{"spec": ' + '{"a":' * 50_000 + "1" + "}" * 50_001,
        '{"spec": {"name": "x", "source": {"kind": "jsonl", "path": ' + "9" * 50_000 + "}}}",
        '{"spec": {"name": "x", "source": NaN}}',
        '{"spec": {"name": "\\ud800", "source": {"kind": "jsonl", "path": "x"}}}',
        '{"spec": {"name": "x", "__class__": {"kind": "os.system"}, "source": {"kind": "os.system", "path": "x"}}}',
        '{"spec": {"name": "x", "name": "y"}}',
    ],
)
@pytest.mark.parametrize("path", ["/v1/specs/validate", "/v1/specs/preview", "/v1/runs"])
def test_hostile_json_is_answered_with_what_is_wrong(served, body, path):
    with served.client() as client:
        answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
    found = answer.json()
    if path.endswith("validate") and answer.status_code == 200:
        found = found["problem"]
        assert found is not None
    else:
        assert answer.status_code in (400, 403, 409, 422), answer.text
    assert found["title"]
    assert found["status"] < 500


def test_submitting_twice_makes_one_run(served, done):
    spec = json.dumps(spec_of(texts(served.folder, name="twice.jsonl"), "twice"), indent="\t")
    answers = [send(served, "/new", spec=spec, action="submit", nonce="n") for _ in range(2)]
    assert [a.status_code for a in answers] == [303, 303]
    assert answers[0].headers["location"] == answers[1].headers["location"]
    for action in ("submit", "preview"):  # both compute
        assert send(served, "/new", served.reader, spec=spec, action=action).status_code == 403
    served.until(answers[0].headers["location"].rpartition("/")[2])


def test_scripts_and_styles_are_kept_for_ever_by_their_content(served):
    page = browse(served, "/runs").text
    for path in re.findall(r'(?:href|src)="(/static/[^"]+)"', page):
        answer = served.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert served.get(path.partition("?")[0]).headers["cache-control"] == "no-cache"
        again = served.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    for path in ("/static/../app.py", "/static/%2e%2e/rendering.py", "/static/nothing.js"):
        assert served.get(path).status_code == 404


def test_who_signs_out_on_a_page_is_signed_out(served):
    with httpx.Client(base_url=served.url, trust_env=False, timeout=60, headers={"Accept": "text/html"}) as browser:
        assert browser.get(served.sign_in).headers["location"] == "/"
        assert browser.get("/runs").status_code == 200
        assert browser.post("/sign-out", headers={"Origin": served.url}).headers["location"] == "/sign-in"
        assert browser.get("/runs").status_code == 401
