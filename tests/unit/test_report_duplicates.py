"""What a report says of duplicates: clusters side by side, who stayed and why, pairs near the threshold, repeats."""

import json
import random
import re
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.api import run, view
from pipelines.duplicate_steps import DuplicateStep
from pipelines.report import collect, render
from pipelines.report.near_misses import PAIRS, WITHIN, NearMisses
from pipelines.report.repeats import marked
from pipelines.run import Options
from stages.chance import draw

NOTICE = "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة في كل يوم <b>&amp; مجانا</b>"
HOSTILE = "</mark></pre><script>alert(1)</script><img src=x onerror=alert(2)> \u202egnp.exe"


def texts() -> dict[str, str]:
    """Seven texts more and more edited, two copies of a hostile one, three alone, and four with one notice."""
    base = [f"w{i}" for i in range(100)]
    edited = {f"edit-{k}": " ".join([*base[: 100 - k], *(f"e{k}q{j}" for j in range(k))]) for k in (0, 3, 5, 8, 10, 15)}
    alone = {f"alone-{i}": f"{HOSTILE} " + " ".join(f"x{i}q{j}" for j in range(40)) for i in range(3)}
    copies = {f"copy-{i}": f"{HOSTILE} " + " ".join(f"c{j}" for j in range(40)) for i in range(2)}
    notices = {f"notice-{i}": " ".join(f"n{i}q{j}" for j in range(30)) + f"\n\n{NOTICE}" for i in range(4)}
    return {**edited, "edit-0-again": " ".join(base), **alone, **copies, **notices, "empty": ""}


def jaccard(a: str, b: str) -> float:
    """Of sets of words, the slow way."""
    first, second = (set(re.findall(r"\w+", text)) for text in (a, b))
    return len(first & second) / len(first | second)


@pytest.fixture(scope="module")
def twins_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("twins")
    lines = [json.dumps({"id": name, "text": text, "source": "<u>s</u>"}) for name, text in texts().items()]
    (folder / "a.jsonl").write_text("\n".join(lines))
    spec = {
        "name": "twins",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 1500},
        "measure": {
            "sketch": {"kind": "minhash", "bands": 60, "rows": 2, "ngram": 1},
            "near": {"kind": "near_duplicates", "of": "sketch", "verify": True, "threshold": 0.75},
            "parts": {"kind": "paragraph_duplicates", "digits": True},
        },
        "keep": [
            {"column": "leaving.bytes", "ge": 1, "on_null": "drop", "reason": "empty"},
            {"one_of": "near.cluster", "by": "longest", "reason": "near-<i>duplicate"},
        ],
    }
    done = run(spec, store=folder / "store", options=Options("local", 1))
    return view(done["run"], store=folder / "store")


@pytest.fixture(scope="module")
def report(twins_run: Any) -> dict[str, Any]:
    return collect(twins_run)


@pytest.fixture(scope="module")
def page(report: dict[str, Any]) -> str:
    return render(report)


def test_the_member_that_stayed_stands_first_and_the_others_share_words_with_it(report):
    largest = report["duplicates"][0]["largest"]

    assert [(c["size"], c["kept"], c["rejected"], c["considered"], c["copies"]) for c in largest] == [
        (6, 1, 5, 6, 5),
        (2, 1, 1, 2, 1),
    ]
    assert [[(m["stays"], m["fate"]) for m in c["members"]] for c in largest] == [
        [(True, "kept"), *[(False, "rejected")] * 3],
        [(True, "kept"), (False, "rejected")],
    ]
    assert all(any(p["shared"] for p in m["pieces"]) or m["identical"] for c in largest for m in c["members"])


def test_the_value_that_decided_is_that_of_every_member(report):
    by_id = {name: len(text.encode()) for name, text in texts().items()}
    (duplicates,) = report["duplicates"]

    assert duplicates["choice"]["by"] == "longest"
    for cluster in duplicates["largest"]:
        assert [m["by"] for m in cluster["members"]] == [by_id[m["id"]] for m in cluster["members"]]
        assert cluster["members"][0]["by"] == max(m["by"] for m in cluster["members"])


def test_equal_texts_are_said_to_be_equal_and_not_repeated(report):
    copies = report["duplicates"][0]["largest"][1]["members"]

    assert [(m["identical"], bool(m["pieces"]), m["to_first"]) for m in copies] == [
        (False, True, 1.0),
        (True, False, 1.0),
    ]


def test_pairs_around_the_threshold_have_their_true_jaccard(report):
    (duplicates,) = report["duplicates"]
    pairs = [(p["documents"][0]["id"], p["documents"][1]["id"], p["similarity"]) for p in duplicates["near_misses"]]

    assert duplicates["threshold"] == 0.75
    assert pairs
    assert [value for _, _, value in pairs] == [jaccard(texts()[a], texts()[b]) for a, b, _ in pairs]
    assert [p["above"] for p in duplicates["near_misses"]] == [v >= 0.75 for _, _, v in pairs]
    assert [p["linked"] for p in duplicates["near_misses"]] == [v >= 0.75 for _, _, v in pairs]


def test_similarities_have_a_histogram_with_the_threshold_on_it(report):
    histogram = report["duplicates"][0]["histogram"]

    assert histogram["column"] == "near.jaccard"
    assert [(m["reason"], m["resolved"][0]["value"]) for m in histogram["thresholds"]] == [("linked", 0.75)]
    outside = [*histogram["null"].values(), *histogram["below"].values(), *histogram["above"].values()]
    assert sum(histogram["kept"]) + sum(histogram["rejected"]) + sum(outside) == len(texts())
    assert "near.jaccard" not in [h["column"] for h in report["histograms"]]


def test_what_the_step_counted_is_told_in_words(report, page):
    counts = report["duplicates"][0]["counts"]

    assert counts["compared_pairs"] >= counts["linked_pairs"] > 0
    assert f"<dt>pairs linked</dt><dd>{counts['linked_pairs']}</dd>" in page
    assert "<dt>documents without a word, not compared</dt><dd>1</dd>" in page


def test_repeated_paragraphs_are_counted_and_marked(report):
    (repeats,) = report["repeats"]
    whole = [texts()[name] for name in ("edit-0", "copy-0")]  # one of two equal texts of a single paragraph

    assert sum(repeats["repeating"].values()) == 3 + len(whole)
    assert repeats["duplicate_bytes"] == sum(len(t.encode()) for t in [NOTICE] * 3 + whole)
    assert repeats["bytes"] == sum(len(t.encode()) for t in texts().values())
    shared = Counter("".join(p["text"] for p in e["pieces"] if p["shared"]) for e in repeats["examples"])
    assert shared == {NOTICE: 3, **dict.fromkeys(whole, 1)}
    assert repeats["examples"][0]["max_occurrences"] == 4


def test_the_page_says_why_a_member_stayed_and_points_to_the_rule(page):
    anchor = re.search(r'href="#(reason-\d+)">near-&lt;i&gt;duplicate', page)[1]

    assert f'id="{anchor}"' in page
    assert re.search(r"stayed: the longest\s*\([\d,]+ bytes\)", page)


def test_the_page_marks_what_is_shared_and_escapes_the_rest(page):
    assert "<mark>" in page
    assert "<script>alert(" not in page
    assert "<img" not in page
    assert "\u202e" not in page
    assert NOTICE not in page


def test_a_report_of_duplicates_made_twice_is_the_same(twins_run, report):
    assert collect(twins_run) == report


STEP = DuplicateStep(
    name="d",
    kind="near_duplicates",
    similarity="jaccard",
    certainty="verified",
    threshold=0.7,
    strict=False,
    text="text",
    signature=None,
    ngram=5,
    clustered=True,
)


@settings(deadline=None)  # a busy machine is no failure
@given(
    st.lists(st.tuples(st.integers(0, 40), st.none() | st.integers(400, 1000).map(lambda n: n / 1000)), max_size=120),
    st.integers(1, 50),
    st.booleans(),
)
def test_pairs_are_chosen_alike_however_rows_are_cut(rows, cut, backwards):
    ids = [f"{i:032x}" for i in range(len(rows))]
    nearest = [None if value is None else f"{1000 + other:032x}" for other, value in rows]
    columns = {"doc_id": pa.array(ids, pa.string()), "d.nearest": pa.array(nearest, pa.string())}
    table = pa.table({**columns, "d.jaccard": pa.array([v for _, v in rows], pa.float64())})

    def chosen(size, *, backwards):
        found = NearMisses(STEP, 0.7)
        starts = range(0, len(rows), size)
        for start in reversed(starts) if backwards else starts:
            part = table.slice(start, size)
            found.add(start, part, draw(0, "x", part["doc_id"]))
        return [(p.doc_id, p.nearest, p.similarity) for p in found.pairs()]

    whole = chosen(max(1, len(rows)), backwards=False)
    assert chosen(cut, backwards=backwards) == whole
    for side in (True, False):
        mine = [abs(v - 0.7) for _, _, v in whole if (v >= 0.7) == side]
        there = sorted(abs(v - 0.7) for _, v in rows if v is not None and (v >= 0.7) == side)
        assert len(mine) <= PAIRS
        assert min(mine, default=None) == next((d for d in there if d <= WITHIN), None)


@given(st.lists(st.sampled_from(["a", "é", "篩", "🌾", "م", "\n"]), max_size=40).map("".join), st.randoms())
def test_spans_in_bytes_become_spans_of_characters(text, chance: random.Random):
    edges = sorted(chance.sample(range(len(text) + 1), 2 * min(3, (len(text) + 1) // 2)))
    spans = list(zip(edges[::2], edges[1::2], strict=True))
    offset = [len(text[:i].encode()) for i in range(len(text) + 1)]
    found = marked(text, [{"begin": offset[a], "end": offset[b]} for a, b in spans])

    assert "".join(p["text"] for p in found) == text
    assert [p["text"] for p in found if p["shared"]] == [text[a:b] for a, b in spans]
