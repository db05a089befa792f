"""A document's twins: who stayed, what is nearest and how alike, and what it repeats."""

import io
import json
import random
from typing import Any

import pytest
from rich.console import Console

from pipelines.api import run, view
from pipelines.explain import explain
from pipelines.run import Options
from pipelines.terminal.documents import explanation

PARAGRAPH = "المنخل يمرر الدقيق الناعم ويحتفظ بالنخالة في كل يوم"


def words(seed: int, n: int = 90) -> list[str]:
    draw = random.Random(seed)
    return [f"{draw.choice(['sieve', 'мука', 'é', 'flour', 'βράση'])}{draw.randrange(40)}x" for _ in range(n)]


def texts() -> dict[str, str]:
    """A chain of edits (base, near, far), a copy of base, three documents alone, and two with one paragraph."""
    base = words(1)
    near = [*base[:40], "edited", *base[41:]]
    alone = {f"alone-{i}": " ".join(words(10 + i)) for i in range(3)}
    notice = {f"notice-{i}": f"{' '.join(words(20 + i, 30))}\n\n{PARAGRAPH}" for i in range(2)}
    chain = {"base": " ".join(base), "near": " ".join(near), "far": " ".join([*near, "end"])}
    return {**chain, "copy": " ".join(base), **alone, **notice}


def jaccard(a: str, b: str) -> float:
    """Of 5-word n-grams, the slow way."""
    first, second = ({tuple(t.split()[i : i + 5]) for i in range(len(t.split()) - 4)} for t in (a, b))
    return len(first & second) / len(first | second)


@pytest.fixture(scope="module")
def twins_run(tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("explain-twins")
    records = [{"id": name, "text": text, "lang": "fr" if name == "copy" else "en"} for name, text in texts().items()]
    lines = [json.dumps(record) for record in records]
    (folder / "a.jsonl").write_text("\n".join(lines[::2]))
    (folder / "b.jsonl").write_text("\n".join(lines[1::2]))
    spec = {
        "name": "twins",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 1500},
        "measure": {
            "exact": {"kind": "exact_duplicates"},
            "sketch": {"kind": "minhash"},
            "copies": {"kind": "near_duplicates", "of": "sketch", "verify": True, "threshold": 0.5},
            "rough": {"kind": "near_duplicates", "of": "sketch", "threshold": 0.5},
            "parts": {"kind": "paragraph_duplicates"},
        },
        "keep": [
            {"column": "lang", "in": ["en"], "on_null": "keep", "reason": "language"},
            {"one_of": "copies.cluster", "by": "longest", "reason": "near-duplicate"},
        ],
    }
    done = run(spec, store=folder / "store", options=Options("local", 1))
    return view(done["run"], store=folder / "store")


def outcome(twins_run: Any, name: str, step: str) -> Any:
    (found,) = [d for d in explain(twins_run, name).duplicates if d.step == step]
    return found


def test_a_document_names_the_member_that_stayed_and_how_alike_they_are(twins_run):
    found = outcome(twins_run, "near", "copies")

    assert (found.size, found.stays["id"], found.stays["fate"]) == (4, "far", "kept")
    assert (found.nearest["id"], found.certainty) == ("far", "verified")
    assert found.value == found.value_to_stays == jaccard(texts()["near"], texts()["far"])
    assert (found.rejected, found.reasons) == (True, ["near-duplicate"])


def test_the_nearest_and_the_one_that_stayed_can_be_two(twins_run):
    found = outcome(twins_run, "copy", "copies")

    assert (found.nearest["id"], found.value, found.stays["id"]) == ("base", 1.0, "far")
    assert found.value_to_stays == pytest.approx(jaccard(texts()["copy"], texts()["far"]), abs=0.2)


def test_a_member_that_another_rule_rejects_still_names_the_one_that_stayed(twins_run):
    (twin,) = explain(twins_run, "copy").twins

    assert (twin.status, twin.stays["id"], twin.size) == ("was not considered", "far", 4)
    assert outcome(twins_run, "copy", "copies").reasons == []


def test_a_twin_tells_where_it_came_from(twins_run):
    twin = outcome(twins_run, "copy", "exact").cluster
    nearest = outcome(twins_run, "base", "copies").nearest

    assert {twin} <= {nearest["doc_id"], explain(twins_run, "base").doc_id}
    assert (nearest["id"], nearest["source"], nearest["path"], nearest["ordinal"]) == ("copy", "source", "b.jsonl", 1)


def test_a_step_without_a_rule_is_told_and_rejects_nothing(twins_run):
    found = outcome(twins_run, "copy", "rough")

    assert (found.certainty, found.size, found.nearest["id"], found.value) == ("estimated", 4, "base", 1.0)
    assert (found.rejected, found.stays) == (False, None)


def test_a_document_alone_has_no_twin(twins_run):
    found = outcome(twins_run, "alone-1", "copies")

    assert (found.size, found.nearest, found.value, found.rejected) == (1, None, None, False)


def test_what_is_repeated_is_quoted(twins_run):
    found = [r for name in ("notice-0", "notice-1") for r in explain(twins_run, name).repeats]

    assert sorted((r.spans, [s["text"] for s in r.first]) for r in found) == [(0, []), (1, [PARAGRAPH])]


def test_every_document_of_a_cluster_names_the_same_one_that_stayed(twins_run):
    stays = {outcome(twins_run, name, "copies").stays["id"] for name in ("base", "near", "far", "copy")}

    assert stays == {"far"}


def test_the_screen_names_the_twin_the_number_and_what_follows(twins_run):
    screen = Console(width=200, file=io.StringIO())
    screen.print(explanation(explain(twins_run, "near")))
    text = screen.file.getvalue()

    assert "copies (near_duplicates): one of 4 in the cluster" in text
    assert "stayed, and nearest" in text
    assert "(verified; linked from 0.5)" in text
    assert "rejected for it" in text
