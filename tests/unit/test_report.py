"""The report: its numbers against slow counts, its page against hostile text."""

import base64
import hashlib
import json
import re
import unicodedata
from collections import Counter
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.api import run
from pipelines.report import collect, render, write
from pipelines.report.clusters import LARGEST, Clusters
from pipelines.report.histogram import binned
from pipelines.report.histogram_figure import histogram_figure
from pipelines.report.page import funnel
from pipelines.report.tally import SEVERAL, Reasons
from pipelines.run import Options
from stages.errors import DataError


@pytest.fixture(scope="session")
def report(finished_run):
    return collect(finished_run)


@pytest.fixture(scope="session")
def page(report):
    return render(report)


@pytest.fixture(scope="session")
def rows(finished_run):
    """Every document as a dictionary: the slow way to count."""
    columns = [
        "source",
        "lang",
        "leaving.bytes",
        "copies.cluster",
        "verdict.fate",
        "verdict.reasons",
        "verdict.text_bytes",
    ]
    return [row for shard in finished_run.shards for row in finished_run.read(shard, columns).to_pylist()]


def test_what_went_in_is_what_was_exported_rejected_and_quarantined(report, finished_run):
    total = report["total"]
    assert total["documents_in"] == total["exported"] + total["rejected"] + total["quarantined"] == 133
    assert {k: total[k] for k in finished_run.ledger["total"]} == finished_run.ledger["total"]


def test_reasons_count_documents_with_the_reason_and_with_it_alone(report, rows):
    anyhow = Counter(reason for row in rows for reason in row["verdict.reasons"])
    alone = Counter(row["verdict.reasons"][0] for row in rows if len(row["verdict.reasons"]) == 1)
    size = Counter()
    for row in rows:
        size.update(dict.fromkeys(row["verdict.reasons"], row["verdict.text_bytes"]))
    found = {r["reason"]: (r["documents"], r["only"], r["bytes"]) for r in report["reasons"]}
    assert found == {name: (anyhow[name], alone[name], size[name]) for name in found}
    assert {name: n for name, (n, _, _) in found.items()} == dict.fromkeys(found, 0) | dict(anyhow)


def test_every_rejected_document_flows_to_one_end(report, rows):
    ends = Counter()
    for row in rows:
        groups = {reason.partition("/")[0] for reason in row["verdict.reasons"]}
        if groups:
            ends[row["source"], SEVERAL if len(groups) > 1 else groups.pop()] += 1
    assert {(f["source"], f["group"]): f["documents"] for f in report["flow"]} == dict(ends)


def test_the_funnel_ends_with_what_was_exported(report):
    steps = funnel(report)
    assert [s["left"] + s["lost"] for s in steps[1:-1]] == [s["left"] for s in steps[:-2]]
    assert steps[-2]["left"] == steps[-1]["left"] == report["total"]["exported"]


def test_sources_and_languages_count_every_record_once(report, rows):
    for table, column in ((report["sources"], "source"), (report["languages"], "lang")):
        assert sum(row["documents"] for row in table) == report["total"]["documents_in"]
        kept = Counter(row[column] or "(unknown)" for row in rows if row["verdict.fate"] == "kept")
        assert {row["name"]: row["kept"] for row in table if row["kept"]} == dict(kept)


def test_a_histogram_counts_every_document_by_fate(report, rows):
    (found,) = report["histograms"]
    assert found["column"] == "leaving.bytes"
    for fate in ("kept", "rejected"):
        values = [row["leaving.bytes"] for row in rows if row["verdict.fate"] == fate]
        inside, _ = np.histogram(values, found["edges"])
        assert found[fate] == inside.tolist()
        assert found["below"][fate] == sum(v < found["edges"][0] for v in values)
        assert found["above"][fate] == sum(v > found["edges"][-1] for v in values)


def test_duplicates_are_counted_by_cluster(report, rows):
    sizes = Counter(row["copies.cluster"] for row in rows)
    (found,) = report["duplicates"]
    assert found["clusters"] == sum(n > 1 for n in sizes.values())
    assert found["alone"] == sum(n == 1 for n in sizes.values())
    assert found["largest"][0]["size"] == max(sizes.values()) == 20


def test_the_rules_status_counts_add_up_to_all_documents(report):
    for rule in report["rules"]:
        assert sum(rule[s] for s in ("passed", "failed", "not_applicable", "null_kept", "null_dropped")) == 130


def test_samples_show_documents_of_their_fate_and_reason(report):
    assert {d["fate"] for d in report["samples"]["kept"]} == {"kept"}
    for reason, found in report["samples"]["rejected"].items():
        assert all(reason in d["reasons"] for d in found)


def test_a_report_made_twice_is_the_same(report, finished_run):
    assert collect(finished_run) == report


def test_the_page_and_its_numbers_lie_in_the_runs_folder_and_stay(finished_run, report, page):
    path = f"runs/{finished_run.run}/report"
    before = finished_run.store.get(f"{path}.html"), finished_run.store.get(f"{path}.json")
    write(finished_run)
    assert (finished_run.store.get(f"{path}.html"), finished_run.store.get(f"{path}.json")) == before
    assert before[0].decode() == page
    assert json.loads(before[1]) == json.loads(json.dumps(report))


def test_a_run_of_no_documents_has_a_report_all_the_same(store, tmp_path):
    (tmp_path / "nothing.jsonl").write_text("")
    spec = {"name": "nothing", "source": {"kind": "jsonl", "path": str(tmp_path / "nothing.jsonl")}, "keep": []}
    done = run(spec, store=store, options=Options("local", 1))
    assert "No documents went in." in store.get(f"runs/{done['run']}/report.html").decode()


def test_numbers_that_contradict_the_ledger_are_refused(finished_run):
    total = {**finished_run.ledger["total"], "exported": 1}
    other = type(finished_run)(
        finished_run.store,
        finished_run.run,
        finished_run.spec,
        finished_run.plan,
        finished_run.record,
        {**finished_run.ledger, "total": total},
    )
    with pytest.raises(DataError, match="58 documents under 'exported' but its ledger says 1"):
        collect(other)


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def tags(page):
    parser = _Tags()
    parser.feed(page)
    return parser.found


def test_markup_from_the_corpus_is_text_on_the_page(page):
    names = Counter(name for name, _ in tags(page))
    assert names["script"] == names["style"] == 1
    assert not {"img", "b onclick", "u", "i", "iframe", "object", "form"} & names.keys()
    assert "&lt;img src=x onerror=alert(2)&gt;" in page
    assert "{{7*7}}" in page


def test_no_tag_has_a_handler_a_style_or_an_address_outside_the_page(page):
    for name, attributes in tags(page):
        assert not [a for a in attributes if a.startswith("on") or a in ("style", "src", "action")], name
        assert attributes.get("href", "#").startswith("#")


def test_characters_that_cannot_be_seen_are_named(page):
    assert "⟨U+202E⟩gnp.exe⟨U+202C⟩ ⟨U+001B⟩[31m ⟨U+0007⟩" in page
    hidden = {c for c in page if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Co") and c not in "\n\u200d"}
    assert hidden == set()


def test_the_policy_allows_the_pages_own_style_and_script_and_nothing_else(page):
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', page)[1].replace("&#39;", "'")
    for tag in ("style", "script"):
        inside = re.search(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'; ")
    assert "unsafe" not in policy


def test_every_drawing_says_in_words_what_it_shows(page):
    drawings = [attributes for name, attributes in tags(page) if name == "svg"]
    assert len(drawings) > 10
    assert all(d["role"] == "img" and d["aria-label"] for d in drawings)


REASONS = ["a/1", "a/2", "b", "c/1"]
lists = st.lists(st.sets(st.sampled_from(REASONS)).map(sorted), max_size=30)


@settings(deadline=None)  # a busy machine is no failure
@given(lists, lists)
def test_tallies_do_not_depend_on_how_rows_are_cut(first, second):
    def counted(*parts):
        tally = Reasons(REASONS)
        for part in parts:
            reasons = pa.chunked_array([pa.array(part, pa.list_(pa.string()))])
            tally.add(reasons, np.full(len(part), 7), pa.chunked_array([pa.array(["s"] * len(part), pa.string())]))
        return tally.json(), tally.flow

    assert counted(first, second) == counted(first + second)
    anyhow = Counter(reason for row in first for reason in row)
    assert [r["documents"] for r in counted(first)[0]["reasons"]] == [anyhow[name] for name in REASONS]
    stopped = Counter(min((r.partition("/")[0] for r in row), key="abc".index) for row in first if row)
    assert [g["first"] for g in counted(first)[0]["groups"]] == [stopped[g] for g in "abc"]


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.floats(-1e6, 1e9) | st.integers(-50, 10**7).map(float), min_size=1, max_size=60),
    st.lists(st.floats(-100, 1e6), max_size=3),
    st.booleans(),
)
def test_bins_hold_every_value_and_reach_every_threshold(values, thresholds, whole):
    if whole:
        values, thresholds = [float(round(v)) for v in values], [float(round(t)) for t in thresholds]
    made = binned("c", np.array(values), thresholds, whole=whole)
    made.add(np.array([*values, np.nan]), np.zeros(len(values) + 1, np.int64))
    inside, _ = np.histogram(values, made.edges)
    assert made.counts[0][1:-1].tolist() == inside.tolist()
    assert made.counts[0].sum() == len(values)
    assert made.nulls.tolist() == [1, 0]
    assert (np.diff(made.edges) > 0).all()
    assert len(made.edges) <= 120
    assert all(made.edges[0] - 1e-6 * abs(t) <= t <= made.edges[-1] * (1 + 1e-9) + 1e-9 for t in thresholds if t > 0)
    notes = {"unit": "1", "thresholds": [], "column": "c"}
    assert histogram_figure({**made.json(), **notes}).startswith("<svg")


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.integers(0, 30), min_size=1, max_size=80), st.integers(1, 10), st.booleans())
def test_clusters_are_counted_and_chosen_alike_however_rows_are_cut(names, cut, backwards):
    size = Counter(names)
    table = pa.table({"d.cluster": [f"{n:02}" for n in names], "d.cluster_size": [size[n] for n in names]})
    found = Clusters("d")
    starts = range(0, len(names), cut)
    for start in reversed(starts) if backwards else starts:
        part = table.slice(start, cut)
        found.add(part, np.ones(part.num_rows, bool))
    answer = found.json()
    assert answer["clusters"] == sum(n > 1 for n in size.values())
    assert answer["in_clusters"] == sum(n for n in size.values() if n > 1)
    largest = sorted((-n, f"{name:02}") for name, n in size.items() if n > 1)[:LARGEST]
    assert list(found.largest().items()) == [(name, -n) for n, name in largest]
