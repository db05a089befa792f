"""The service over HTTP, with real servers and real drivers."""

import hashlib
from base64 import urlsafe_b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from service_runs import Served, service, spec_of, texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("service")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder) as found:
        yield found


@pytest.fixture(scope="module")
def done(served: Served, folder: Path):
    """A job that has succeeded."""
    job = served.submit(spec_of(texts(folder)), forked_from="elsewhere")
    return served.until(job["id"])


def test_a_submitted_spec_runs_to_its_export(served, done, folder):
    assert (done["state"], done["attempt"], done["managed"]) == ("SUCCEEDED", 1, True)
    assert done["total"]["exported"] + done["total"]["rejected"] == 40
    assert (folder / "store" / "runs" / done["run"] / "ledger.json").exists()


def test_who_has_no_token_is_told_to_get_one(served):
    for path in ("/v1/runs", "/v1/runs/x", "/v1/runs/x/events"):
        answer = served.get(path, "wrong")
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert answer.json()["type"] == "unauthorized-error"


def test_a_reader_may_look_and_not_submit(served, done):
    assert served.get(f"/v1/runs/{done['id']}", served.reader).status_code == 200
    assert served.post("/v1/runs", {"spec": {}}, served.reader).status_code == 403


def test_twenty_posts_with_one_key_make_one_job(served, folder):
    spec = spec_of(texts(folder, name="twenty.jsonl"), "twenty")
    with ThreadPoolExecutor(20) as pool:
        jobs = list(pool.map(lambda _: served.submit(spec, key="one"), range(20)))
    assert len({job["id"] for job in jobs}) == 1
    assert served.until(jobs[0]["id"])["state"] == "SUCCEEDED"
    other = served.post("/v1/runs", {"spec": {**spec, "keep": []}}, headers={"Idempotency-Key": "one"})
    assert (other.status_code, other.json()["type"]) == (422, "idempotency-error")


def test_events_are_told_in_order_and_again_from_where_somebody_stopped(served, done):
    events = list(served.events(done["id"]))
    assert [e["number"] for e in events] == list(range(1, len(events) + 1))
    states = [e["state"] for e in events if e["type"] == "state"]
    assert states == ["QUEUED", "STARTING", "RUNNING", "SUCCEEDED"]
    assert list(served.events(done["id"], after=2)) == events[2:]
    last = {"Last-Event-ID": str(len(events))}
    assert served.get(f"/v1/runs/{done['id']}/events", headers=last).status_code == 204


def test_a_parameter_is_given_once_unless_it_takes_several(served, done):
    for query in ("limit=1&limit=2", "name=a&name=b", "limit=1&limit=1"):
        answer = served.get(f"/v1/runs?{query}")
        assert (answer.status_code, answer.json()["type"]) == (422, "request-error"), query
        assert "is given 2 times; give it once" in answer.json()["title"]
    several = "state=SUCCEEDED&state=FAILED&elsewhere=1&elsewhere=2"
    assert done["id"] in [run["id"] for run in served.get(f"/v1/runs?{several}").json()["runs"]]
    tests = "where=stats.words>=1&where=stats.words<=1000"
    assert served.get(f"/v1/runs/{done['id']}/documents?{tests}").json()["total"] == 40


def test_an_interrupted_run_that_nobody_submitted_has_no_more_events(served, done):
    spec = {**spec_of(texts(served.folder)), "name": "left"}
    request = {"spec": spec, "folder": str(served.folder), "rules": {}, "created": 1_000.0}
    served.store.create_json("runs/left-00000000/spec.json", request)
    found = served.get("/v1/runs/left-00000000").json()
    assert (found["state"], found["managed"]) == ("CRASHED", False)
    assert served.get("/v1/runs/left-00000000/events").status_code == 204


def test_pages_of_runs_meet_and_leave_none_out(served, done):
    whole = [run["id"] for run in served.get("/v1/runs").json()["runs"]]
    one = served.get("/v1/runs", params={"limit": 1}).json()
    rest = served.get("/v1/runs", params={"limit": 100, "after": one["next"]}).json()
    assert [one["runs"][0]["id"], *(run["id"] for run in rest["runs"])] == whole
    assert rest["next"] is None
    assert served.get("/v1/runs", params={"after": "nonsense"}).status_code == 422


def test_what_did_not_change_is_not_sent_again(served, done):
    for path in ("", "/plan", "/steps", "/spec", "/documents", "/export", "/report"):
        first = served.get(f"/v1/runs/{done['id']}{path}")
        assert first.status_code == 200, (path, first.text)
        again = served.get(f"/v1/runs/{done['id']}{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b""), path
    name = served.get(f"/v1/runs/{done['id']}/export").json()["manifest"]["files"][0]["name"]
    file = served.get(f"/v1/runs/{done['id']}/export/{name}")
    again = served.get(f"/v1/runs/{done['id']}/export/{name}", headers={"If-None-Match": file.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert file.headers["cache-control"] == "private, no-cache"


def test_a_run_is_found_by_its_ids_a_prefix_and_its_name(served, done):
    for name in (done["id"], done["run"], done["id"][:8], done["run"][:12], "small"):
        assert served.get(f"/v1/runs/{name}").json()["id"] == done["id"]
    missing = served.get("/v1/runs/nothing")
    assert (missing.status_code, missing.json()["type"]) == (404, "not-found-error")


def test_what_is_wrong_with_a_spec_is_said_before_anything_runs(served, folder, done):
    spec = {**spec_of(texts(folder)), "measure": {"stats": {"kind": "text_stat"}}}
    answer = served.post("/v1/runs", {"spec": spec})
    assert answer.status_code == 422
    assert "did you mean 'text_stats'" in answer.json()["title"]
    checked = served.post("/v1/specs/validate", {"spec": spec}).json()
    assert (checked["valid"], checked["problem"]["type"]) == (False, "spec-error")
    good = served.post("/v1/specs/validate", {"spec": spec_of(texts(folder))}).json()
    assert good["valid"]
    assert [s["misses"] for s in good["plan"]["steps"] if s["step"] == "stats"] == [0]


@pytest.mark.parametrize(
    "change",
    [
        {"source": {"kind": "jsonl", "path": "/etc/passwd"}},
        {"source": {"kind": "jsonl", "path": "../../../../etc/*"}},
        {"source": {"kind": "jsonl", "path": "s3://bucket/x"}},
        {"source": {"kind": "jsonl", "path": "http://127.0.0.1/x"}},
        {"measure": {"reason": {"kind": "bad_words", "words": "/etc/hostname"}}},
        {"learn": {"model": {"kind": "ngram", "text": "/etc/hostname"}}},
        {"label": {"learner": "a", "oracle": "file:/etc/hostname", "budget": 4}},
        {"ablate": {"panel": ["/etc/hostname"]}},
    ],
)
def test_a_spec_names_nothing_outside_the_roots(served, folder, change):
    for path in ("/v1/runs", "/v1/specs/preview"):
        answer = served.post(path, {"spec": {**spec_of(texts(folder)), **change}})
        assert (answer.status_code, answer.json()["type"]) == (422, "outside-roots-error")


def test_links_lead_nowhere_outside_the_roots(served, folder):
    (folder / "linked").symlink_to("/etc")
    answer = served.post("/v1/runs", {"spec": spec_of(folder / "linked" / "*.conf")})
    assert (answer.status_code, answer.json()["type"]) == (422, "outside-roots-error")


def test_a_preview_tells_what_becomes_of_the_first_documents_and_leaves_nothing(served, folder):
    runs = set((folder / "store" / "runs").iterdir()) if (folder / "store" / "runs").exists() else set()
    found = served.post("/v1/specs/preview", {"spec": spec_of(texts(folder)), "documents": 20}).json()
    assert found["total"]["documents_in"] == 20
    assert found["reasons"] == {"short": 9}
    assert [d["id"] for d in found["documents"]] == [f"doc-{i}" for i in range(20)]
    assert [d["fate"] for d in found["documents"]] == ["rejected"] * 9 + ["kept"] * 11
    assert {p for p in (folder / "store" / "runs").iterdir() if p not in runs} == set()
    assert list((folder / "store" / "service" / "state" / "trials").iterdir()) == []


def test_documents_say_why_they_stayed_or_went(served, done):
    page = served.get(f"/v1/runs/{done['id']}/documents", params={"fate": "rejected", "reason": "short"}).json()
    assert page["total"] == 9
    document = served.get(f"/v1/runs/{done['id']}/documents/doc-3").json()
    assert (document["fate"], document["reasons"]) == ("rejected", ["short"])
    assert [(r["value"], r["threshold"]) for r in document["rules"]] == [(4, 10)]
    assert served.get(f"/v1/runs/{done['id']}/documents/nobody").status_code == 404
    kept = served.get(f"/v1/runs/{done['id']}/what-if", params={"rule": "stats.words>=5"}).json()
    assert kept["rules"][0]["effect"] == "replaces"


def test_an_export_is_downloaded_as_its_manifest_says(served, done):
    found = served.get(f"/v1/runs/{done['id']}/export").json()
    for file in found["manifest"]["files"]:
        data = served.get(f"/v1/runs/{done['id']}/export/{file['name']}").content
        assert hashlib.sha256(data).hexdigest() == file["sha256"]
    for wrong in ("nothing", "..%2F..%2Fformat.json", "%2e%2e/%2e%2e/format.json"):
        assert served.get(f"/v1/runs/{done['id']}/export/{wrong}").status_code == 404


def test_a_report_comes_as_a_page_and_as_numbers(served, done):
    page = served.get(f"/v1/runs/{done['id']}/report")
    assert page.headers["content-type"].startswith("text/html")
    assert "sandbox" in page.headers["content-security-policy"]
    assert served.get(f"/v1/runs/{done['id']}/report", params={"format": "json"}).json()["run"] == done["run"]


def test_a_browser_signs_in_once_with_a_link_and_out_again(served):
    with httpx.Client(base_url=served.url, trust_env=False, timeout=60) as browser:
        assert browser.get("/v1/runs").status_code == 401
        signed = browser.get(served.sign_in)
        assert (signed.status_code, signed.headers["location"]) == (303, "/")
        cookie = signed.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert browser.get("/v1/runs").status_code == 200
        assert browser.post("/sign-out").status_code == 403, "a browser says which page asks"
        assert browser.post("/sign-out", headers={"Origin": served.url}).status_code == 204
        assert browser.get("/v1/runs").status_code == 401
        session = cookie.split("=", 1)[1].split(";")[0]
        browser.cookies.set("tamis_session", session)
        assert browser.get("/v1/runs").status_code == 401
    assert httpx.get(served.sign_in, trust_env=False, timeout=60).status_code == 401
    link = served.sign_in.split("=")[1]
    assert served.get("/v1/runs", link).status_code == 401, "a link is no token"


def test_health_is_told_to_anybody(served):
    for path in ("/healthz", "/readyz"):
        answer = httpx.get(served.url + path, trust_env=False, timeout=60)
        assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_errors_of_every_kind_are_problems(served, done):
    answers = [
        served.get("/nowhere"),
        served.post("/healthz"),
        served.post("/v1/runs", {"spec": []}),
        served.post("/v1/runs", {"spec": {}, "more": 1}),
        served.get("/v1/runs", params={"limit": "many"}),
        served.get(f"/v1/runs/{done['id']}/clusters", params={"column": "nothing.here"}),
    ]
    assert [a.status_code for a in answers] == [404, 405, 422, 422, 422, 422]
    for answer in answers:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code
        assert set(answer.json()) >= {"type", "title"}


def test_text_that_is_no_unicode_and_deep_nests_are_refused_in_words(served, folder):
    deep = "[" * 900 + "]" * 900
    bodies = [b'{"spec": {"name": "\\ud800", "source": {}}}', b'{"spec": {"a": ' + deep.encode() + b"}}", b"\xff", b"{"]
    with served.client() as client:
        for path in ("/v1/runs", "/v1/specs/validate"):
            for body in bodies:
                answer = client.post(path, content=body, headers={"Content-Type": "application/json"})
                assert answer.status_code in (200, 400, 422), (path, body[:40], answer.text)
                assert answer.status_code != 200 or not answer.json()["valid"]


def test_openapi_tells_of_every_route_what_may_go_wrong(served):
    found = served.get("/openapi.json").json()
    assert "Problem" in found["components"]["schemas"]
    for path, methods in found["paths"].items():
        for method, told in methods.items():
            if path.startswith("/v1/"):
                assert {"401", "403", "422"} <= set(told["responses"]), (path, method)
                assert told["security"], (path, method)


def test_a_cursor_that_was_made_up_is_refused(served):
    for made_up in ('[1,"\\ud800"]', '[1,"a\\u0000b"]', "[1]", "{}", '["x","y"]', "no"):
        cursor = urlsafe_b64encode(made_up.encode()).decode()
        answer = served.get("/v1/runs", params={"after": cursor})
        assert (answer.status_code, answer.json()["type"]) == (422, "spec-error"), made_up


def test_a_part_of_a_file_that_it_does_not_have_is_a_problem(served, done):
    export = f"/v1/runs/{done['id']}/export"
    path = f"{export}/{served.get(export).json()['manifest']['files'][0]['name']}"
    assert served.get(path, headers={"Range": "bytes=0-3"}).content == b"PAR1"
    for wrong in ("bytes=99999999-", "bytes=x-", "lines=1-2", "bytes=-"):
        answer = served.get(path, headers={"Range": wrong})
        assert (answer.status_code, answer.headers["content-type"]) == (416, "application/problem+json"), wrong
