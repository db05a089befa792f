"""Documents side by side in a report: what they share is marked, and pairs near the threshold are found."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.api import run, view
from pipelines.report.collect import collect
from pipelines.report.page import page
from pipelines.report.twins import side_by_side
from pipelines.run import Options

WORDS = ["sieve", "flour", "bran", "篩", "粉", "المنخل", "мука", "é", "<b>", "&", "🌾", "\u202e"]


def documents(*texts: str) -> list[dict[str, Any]]:
    return [{"id": str(i), "text": t, "text_characters": len(t)} for i, t in enumerate(texts)]


def marked(text: str, other: str) -> list[str]:
    return [p["text"] for p in side_by_side(documents(other, text))[1]["pieces"] if p["shared"]]


@pytest.mark.parametrize(
    ("text", "other", "shared"),
    [
        ("one two three four five", "zero one two three nine", ["one two three"]),
        ("One, two: THREE!", "one two three", ["One, two: THREE"]),
        ("a b c x d e f", "a b c d e f", ["a b c", "d e f"]),
        ("猫が好きです", "私は猫が好き", ["猫が好き"]),
        ("nothing in common", "to see here", []),
        ("", "x", []),
    ],
)
def test_runs_of_three_shared_words_are_marked(text, other, shared):
    assert marked(text, other) == shared


@given(st.lists(st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join), min_size=1, max_size=4))
def test_pieces_are_the_text_and_alternate(texts):
    for text, shown in zip(texts, side_by_side(documents(*texts)), strict=True):
        assert "".join(p["text"] for p in shown["pieces"]) == text
        assert all(a["shared"] != b["shared"] for a, b in zip(shown["pieces"], shown["pieces"][1:], strict=False))


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("twins")
    base = [f"w{i}" for i in range(100)]
    texts = [" ".join([*base[: 100 - k], *(f"e{k}q{j}" for j in range(k))]) for k in (0, 0, 3, 5, 8, 10, 15)]
    texts += [f"<script>alert({i})</script> alone " + " ".join(f"x{i}q{j}" for j in range(30)) for i in range(5)]
    lines = [json.dumps({"id": f"d{i}", "text": t}) for i, t in enumerate(texts)]
    (folder / "a.jsonl").write_text("\n".join(lines))
    spec = {
        "name": "twins",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 2000},
        "measure": {
            "sketch": {"kind": "minhash", "bands": 60, "rows": 2, "ngram": 1},
            "near": {"kind": "near_duplicates", "of": "sketch", "verify": True, "threshold": 0.75},
        },
        "keep": [{"one_of": "near.cluster", "by": "first", "reason": "near-duplicate"}],
    }
    done = run(spec, store=folder / "store", options=Options("local", 1))
    return collect(view(done["run"], store=folder / "store"))


def test_members_of_the_largest_cluster_stand_side_by_side_with_who_stayed_first(report):
    largest = report["duplicates"][0]["largest"]

    assert [(c["size"], len(c["members"])) for c in largest] == [(6, 4)]
    assert [m["fate"] for m in largest[0]["members"]] == ["kept", "rejected", "rejected", "rejected"]
    assert all(any(p["shared"] for p in m["pieces"]) for m in largest[0]["members"])


def test_pairs_nearest_to_the_threshold_are_shown_by_similarity(report):
    duplicates = report["duplicates"][0]

    assert duplicates["threshold"] == 0.75
    values = [p["similarity"] for p in duplicates["near_misses"]]
    assert values == sorted(values)
    assert [p["above"] for p in duplicates["near_misses"]] == [v >= 0.75 for v in values]
    assert all(len(p["documents"]) == 2 for p in duplicates["near_misses"])


def test_what_the_step_counted_is_told(report):
    counts = report["duplicates"][0]["counts"]

    assert counts["compared_pairs"] >= counts["linked_pairs"] > 0


def test_the_page_marks_what_is_shared_and_escapes_the_rest(report):
    html = page(report)

    assert "<mark>" in html
    assert "<script>alert(" not in html
