"""Pages about a finished run, from a real server: they say what the API says, and corpus text stays text."""

import html
import re
from pathlib import Path
from urllib.parse import quote, unquote

import httpx
import pytest
from browsing_runs import HOSTILE_ID, ablation, corpus, spec
from hypothesis import given
from hypothesis import strategies as st
from service_runs import Served, service

from pipelines.labelling.human_oracle import Queue
from pipelines.labelling.waiting_oracle import FOLDER, queue_name
from pipelines.service.pages.passages import marked
from pipelines.service.pages.rewriting import rewritten
from pipelines.yaml_text import read_yaml

PAGE = {"Accept": "text/html"}
LABELS = ["high", "low"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("browsing")


@pytest.fixture(scope="module")
def served(folder):
    with service(folder) as found:
        yield found


@pytest.fixture(scope="module")
def runs(served: Served, folder: Path):
    """Two finished jobs over one corpus, the second with a stricter rule."""
    path = corpus(folder)
    jobs = [served.until(served.submit(s)["id"]) for s in (spec(path), spec(path, "stricter", 100))]
    assert [job["state"] for job in jobs] == ["SUCCEEDED"] * 2
    return [job["id"] for job in jobs]


def shown(served: Served, path: str, status: int = 200) -> str:
    answer = served.get(path, headers=PAGE)
    assert answer.status_code == status, answer.text[-2000:]
    assert answer.headers["content-type"].startswith("text/html")
    return answer.text


def number(page: str, pattern: str) -> int:
    found = re.search(pattern, page)
    assert found, pattern
    return int(found[1].replace(",", ""))


@pytest.mark.parametrize(
    "query",
    [
        "",
        "fate=kept",
        "fate=rejected&reason=few-words",
        "fate=quarantined",
        "where=stats.words>=20&where=lang==en&sort=-stats.words",
        "fate=rejected&sort=stats.words&offset=10&limit=20",
    ],
)
def test_a_list_has_the_documents_and_the_total_of_the_api(served, runs, query):
    page = shown(served, f"/runs/{runs[0]}/documents?{query}")
    told = served.get(f"/v1/runs/{runs[0]}/documents?{query}").json()
    assert number(page, r'id="total">([\d,]+)<') == told["total"]
    linked = re.findall(rf'<tr data-row>\s*<td><a href="/runs/{runs[0]}/documents/([0-9a-f]{{32}})', page)
    assert linked == [d["doc_id"] for d in told["documents"]]


def test_fates_and_reasons_are_counted_as_the_api_counts_them(served, runs):
    page = shown(served, f"/runs/{runs[0]}/documents?fate=rejected&reason=few-words")
    for fate in ("kept", "rejected", "quarantined"):
        total = served.get(f"/v1/runs/{runs[0]}/documents", params={"fate": fate, "limit": 1}).json()["total"]
        assert number(page, rf'{fate.capitalize()} <span class="number">([\d,]+)') == total
    for reason in ("few-words", "language", "copy"):
        asked = {"fate": "rejected", "reason": reason, "limit": 1}
        total = served.get(f"/v1/runs/{runs[0]}/documents", params=asked).json()["total"]
        assert number(page, rf'{reason} <span class="number">([\d,]+)') == total > 0


def test_a_filter_from_the_form_becomes_an_address_that_says_it(served, runs):
    here = f"/runs/{runs[0]}/documents"
    asked = {"fate": "rejected", "where": "lang is known", "column": "stats.words", "test": ">=", "value": "20"}
    answer = served.get(here, params=asked, headers=PAGE)
    assert answer.status_code == 303
    address = answer.headers["location"]
    assert unquote(address) == f"{here}?fate=rejected&where=lang is known&where=stats.words>=20"
    page = shown(served, address)
    assert "Remove the filter stats.words&gt;=20" in page
    assert shown(served, address) == page, "the same address shows the same page"
    assert (
        served.get(here, params={"page": 3, "limit": 20}, headers=PAGE)
        .headers["location"]
        .endswith("offset=40&limit=20")
    )


def test_what_cannot_be_asked_is_said_on_a_page(served, runs):
    page = shown(served, f"/runs/{runs[0]}/documents?where=stats.wrds>=3", 422)
    assert "did you mean" in page
    assert "no run" in shown(served, "/runs/nothing/documents", 404)
    answer = httpx.get(f"{served.url}/runs/{runs[0]}/documents", headers=PAGE, trust_env=False, timeout=60)
    assert answer.status_code == 401


def test_a_document_page_says_which_rule_fired_and_with_which_numbers(served, runs):
    asked = {"fate": "rejected", "reason": "few-words", "limit": 1, "sort": "stats.words"}
    doc_id = served.get(f"/v1/runs/{runs[0]}/documents", params=asked).json()["documents"][0]["doc_id"]
    told = served.get(f"/v1/runs/{runs[0]}/documents/{doc_id}").json()
    rule = next(r for r in told["rules"] if r["reason"] == "few-words")
    page = shown(served, f"/runs/{runs[0]}/documents/{doc_id}")
    assert f"<b>few-words</b>: stats.words is <b>{rule['value']}</b> and must be <b>≥ {rule['threshold']}</b>" in page
    assert page.count('<td class="text">pass</td>') == sum(r["status"] == "pass" for r in told["rules"])
    for name in told["values"]:
        assert f"<dt>{name}</dt>" in page


def test_a_copy_is_shown_beside_what_stayed_with_their_similarity(served, runs):
    copies = [served.get(f"/v1/runs/{runs[0]}/documents/copy-0-{i}").json() for i in range(4)]
    told = next(copy for copy in copies if copy["fate"] == "rejected")
    page = shown(served, f"/runs/{runs[0]}/documents/{told['doc_id']}")
    stays = told["duplicates"][0]["stays"]
    assert f'/documents/{stays["doc_id"]}">{stays["id"]}</a>' in page
    assert "Jaccard <b>" in page
    assert page.count('<mark class="own">') >= 2


def test_what_was_found_is_marked_and_what_was_rewritten_is_a_difference(served, runs):
    page = shown(served, f"/runs/{runs[0]}/documents/letter-03")
    assert "<del>" in page
    assert "<ins>" in page
    assert "private: email" in page
    assert "again: repeated" in page
    assert "miller3@mail.example.org" in page


def test_hostile_text_is_shown_and_does_nothing(served, runs):
    asked = {"limit": 200, "text": 10}
    found = served.get(f"/v1/runs/{runs[0]}/documents", params=asked).json()["documents"]
    mine = [d["doc_id"] for d in found if d["id"] == HOSTILE_ID]
    pages = [shown(served, f"/runs/{runs[0]}/documents/{doc_id}") for doc_id in mine]
    pages.append(shown(served, f"/runs/{runs[0]}/documents?texts=true&limit=200"))
    pages.append(shown(served, f"/runs/{runs[0]}/documents?fate=quarantined"))
    assert len(mine) == 6
    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "<b onclick" not in page
        assert "<i>" not in page
        assert "<u>meta" not in page
        assert not re.search(r'href="javascript:', page)
        assert not re.search("[\u202e\u202c\x1b\x07]", page)
        tags = re.findall(r"<[a-z][^>]*>", page)
        assert not [tag for tag in tags if re.search(r"\s(style|on[a-z]+)\s*=", tag) or tag == "<script>"]
    assert "⟨U+202E⟩" in pages[0]


def test_a_threshold_keeps_what_the_api_says(served, runs):
    asked = {"column": "stats.words", "test": "ge", "value": "70"}
    part = shown_part(served, f"/runs/{runs[0]}/thresholds/outcome", asked)
    told = served.get(f"/v1/runs/{runs[0]}/what-if", params={"rule": "stats.words>=70"}).json()
    assert number(part.text, r'data-kept="(\d+)"') == told["after"]["documents"]
    assert f"+{told['gained']} −{told['lost']}" in part.text
    assert part.headers["hx-replace-url"] == f"/runs/{runs[0]}/thresholds?column=stats.words&test=ge&value=70"
    page = shown(served, part.headers["hx-replace-url"])
    assert number(page, r'data-kept="(\d+)"') == told["after"]["documents"]
    assert 'type="range"' in page


def shown_part(served: Served, path: str, asked) -> httpx.Response:
    answer = served.get(path, params=asked, headers={**PAGE, "HX-Request": "true"})
    assert answer.status_code == 200, answer.text
    assert "<html" not in answer.text
    return answer


def test_documents_on_the_border_are_those_of_the_api(served, runs):
    asked = {"column": "stats.words", "test": "ge", "value": "60"}
    part = shown_part(served, f"/runs/{runs[0]}/thresholds/borderline", asked).text
    told = served.get(
        f"/v1/runs/{runs[0]}/borderline", params={"column": "stats.words", "value": 60, "limit": 5}
    ).json()
    linked = re.findall(r"/documents/([0-9a-f]{32})", part)
    assert linked == [d["doc_id"] for side in ("above", "below") for d in told[side]]


def test_texts_are_chosen_by_value(served, runs):
    page = shown(served, f"/runs/{runs[0]}/thresholds?column=lang")
    assert re.search(r'value="en" checked', page)
    assert re.search(r'value="de">', page)
    part = shown_part(
        served, f"/runs/{runs[0]}/thresholds/outcome", {"column": "lang", "test": "in", "value": ["en", "de"]}
    )
    told = served.get(f"/v1/runs/{runs[0]}/what-if", params={"rule": "lang in en, de"}).json()
    assert number(part.text, r'data-kept="(\d+)"') == told["after"]["documents"]


def test_a_forked_spec_keeps_what_the_what_if_said(served, runs):
    rules = ["stats.words>=70", "stats.mean_word_chars<=6"]
    told = served.get(f"/v1/runs/{runs[0]}/what-if", params={"rule": rules}).json()
    page = shown(served, f"/runs/{runs[0]}/fork?{'&'.join('rule=' + quote(r) for r in rules)}")
    text = html.unescape(re.search(r"<textarea[^>]*>\n?(.*?)</textarea>", page, re.DOTALL)[1])
    job = served.until(served.submit(read_yaml(text, "the editor"))["id"])
    assert job["state"] == "SUCCEEDED"
    assert job["total"]["exported"] == told["after"]["documents"]


def test_clusters_come_as_the_api_has_them_and_members_stand_side_by_side(served, runs):
    told = served.get(f"/v1/runs/{runs[0]}/clusters", params={"column": "copies.cluster"}).json()
    page = shown(served, f"/runs/{runs[0]}/clusters?column=copies.cluster")
    assert number(page, r'id="total">([\d,]+)<') == told["total"] >= 4
    sizes = re.findall(r'cluster=\d+">\d+</a></td>\s*<td>(\d+)</td><td>(\d+)</td>', page)
    assert sizes == [(str(c["size"]), str(c["kept"])) for c in told["clusters"]]
    one = shown(served, f"/runs/{runs[0]}/clusters?column=copies.cluster&cluster=1")
    for member in told["clusters"][0]["members"][:4]:
        assert f"/documents/{member['doc_id']}" in one
    assert "<mark>" in one
    shown(served, f"/runs/{runs[0]}/clusters?column=copies.cluster&cluster=9999", 404)


def test_two_runs_are_compared_document_by_document(served, runs):
    kept = []
    for run in runs:
        found = served.get(f"/v1/runs/{run}/documents", params={"fate": "kept", "limit": 200}).json()["documents"]
        kept.append({d["doc_id"] for d in found})
    lost, gained = kept[0] - kept[1], kept[1] - kept[0]
    page = shown(served, f"/compare?a={runs[0]}&b={runs[1]}")
    assert number(page, r'first alone <span class="number">([\d,]+)') == len(lost) > 0
    assert number(page, r'second alone <span class="number">([\d,]+)') == len(gained)
    linked = set(re.findall(r'class="is-rejected moved">\s*<header><a href="/runs/\w+/documents/([0-9a-f]{32})', page))
    assert linked == {*sorted(lost)[:20]}
    assert "keep[1].ge" in page
    other = shown(served, f"/compare?a={runs[1]}&b={runs[0]}&moved=gained")
    assert number(other, r'second alone <span class="number">([\d,]+)') == len(lost)


def test_reports_come_in_a_frame_that_may_do_nothing(served, runs):
    name = ablation(served.store, served.get(f"/v1/runs/{runs[0]}").json()["run"])
    assert name in shown(served, "/ablations")
    for path in (f"/ablations/{name}", f"/runs/{runs[0]}/report"):
        page = shown(served, path)
        inside = re.search(r'<iframe class="report" src="([^"]+)" sandbox', page)
        assert inside
        answer = served.get(inside[1], headers=PAGE)
        policy = answer.headers["content-security-policy"]
        assert "sandbox" in policy
        assert "script" not in policy
        assert "frame-ancestors 'self'" in policy
        assert "default-src 'none'" in policy
    api = served.get(f"/v1/ablations/{name}/report").content
    assert served.get(f"/ablations/{name}/report").content == api
    shown(served, "/ablations/nothing", 404)


def test_answers_go_to_the_journal_and_are_taken_back(served):
    queue = queue_name("mill", LABELS)
    questions = [{"doc_id": f"{i:032x}", "id": f"<b>{i}</b>", "text": f"text {i} <script>"} for i in range(3)]
    asked = {"learner": "mill", "labels": LABELS, "questions": questions, "at": 0.0}
    served.store.create_json(f"{FOLDER}/{queue}/one.json", asked)
    journal = Queue(served.store, queue)

    page = shown(served, "/labels")
    assert "text 0 &lt;script&gt;" in page
    form = {"queue": queue, "doc_id": f"{0:032x}", "label": "high", "does": "label"}
    headers = {**PAGE, "Origin": served.url}
    with served.client() as client:
        assert client.post("/labels", data=form, headers=PAGE).status_code == 403, "who asks does not say who"
        assert client.post("/labels", data=form, headers=headers).status_code == 303
        assert journal.answers() == {f"{0:032x}": "high"}
        part = client.post("/labels", data={**form, "label": "low"}, headers={**headers, "HX-Request": "true"})
        assert "was labelled" in part.text
        assert journal.answers() == {f"{0:032x}": "high"}
        client.post("/labels", data={"queue": queue, "doc_id": f"{1:032x}", "does": "skip"}, headers=headers)
        assert journal.answers()[f"{1:032x}"] is None
        client.post("/labels", data={"queue": queue, "does": "undo"}, headers=headers)
        assert journal.answers() == {f"{0:032x}": "high"}
    assert "<b>1</b> of 3" in shown(served, "/labels")
    with served.client(served.reader) as reader:
        assert reader.post("/labels", data=form, headers=headers).status_code == 403
    for queue in ("../../../..", "\0", "nobody's"):  # a name is no path
        assert served.get("/labels", params={"queue": queue}, headers=PAGE).status_code == 200


WORDS = st.lists(st.sampled_from(["a ", "b ", "c\n", "dd", "é", " "]), max_size=25).map("".join)


@given(WORDS, WORDS)
def test_a_difference_holds_both_texts_whole(before, after):
    parts = rewritten(before, after)
    assert "".join(p.text for p in parts if p.kind != "new") == before
    assert "".join(p.text for p in parts if p.kind != "gone") == after


@given(WORDS, st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from("xy"))))
def test_marks_leave_a_text_as_it_is(text, spans):
    whole = [(len(text[:a].encode()), len(text[:b].encode()), mark) for a, b, mark in spans]
    found = marked(text, [({"begin": a, "end": b}, mark) for a, b, mark in whole])
    assert "".join(p.text for p in found.passages) == text
    assert {m for p in found.passages for m in p.marks} == {m for a, b, m in whole if a < b}
