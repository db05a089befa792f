"""What a report and an explanation say of documents that an index of earlier corpora knows."""

import json
from typing import Any

import pytest

from pipelines.api import index_add, run, view
from pipelines.explain import explain
from pipelines.index.commands import Taking
from pipelines.report import collect, render
from pipelines.run import Options

SKETCH = {"sketch": {"kind": "minhash"}}


def text(i: int) -> str:
    return " ".join(f"w{i}q{j}" for j in range(60)) + " <img src=x> المنخل"


def spec(folder: Any, name: str, numbers: range, **more: Any) -> dict[str, Any]:
    lines = [json.dumps({"id": f"{name}-{i}", "text": text(i)}) for i in numbers]
    (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return {
        "name": name,
        "source": {"kind": "jsonl", "path": str(folder / f"{name}.jsonl")},
        "measure": {**SKETCH, **more},
        "keep": [],
    }


@pytest.fixture(scope="module")
def later(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run over ten documents, six of which two earlier corpora have."""
    folder = tmp_path_factory.mktemp("matches")
    store, options = folder / "store", Options("local", 1)
    for name, numbers in (("<b>first", range(4)), ("second", range(4, 6))):
        done = run(spec(folder, name[-5:], numbers), store=store, options=options)
        index_add("seen", done["run"], taking=Taking(corpus=name), store=store)
    made = spec(folder, "later", range(10), seen={"kind": "index_matches", "of": "sketch", "index": "seen"})
    made["keep"] = [{"column": "seen.jaccard", "lt": 0.8, "on_null": "keep", "reason": "seen-before"}]
    return view(run(made, store=store, options=options)["run"], store=store)


def test_the_report_counts_matches_by_corpus(later):
    (found,) = collect(later)["matches"]

    assert (found["documents"], found["matched"]) == (10, 6)
    assert [(c["name"], c["documents"], c["rejected"]) for c in found["corpora"]] == [
        ("<b>first", 4, 4),
        ("second", 2, 2),
    ]
    assert {(e["id"], e["corpus"], e["similarity"]) for e in found["examples"]} == {
        (f"later-{i}", "<b>first" if i < 4 else "second", 1.0) for i in range(6)
    }
    assert found["reasons"] == ["seen-before"]
    assert sum(found["histogram"]["rejected"]) == 6


def test_the_page_names_the_corpora_and_escapes_them(later):
    page = render(collect(later))

    assert "<b>6 of 10 documents" in page
    assert "&lt;b&gt;first" in page
    assert "<img" not in page


def test_an_explanation_names_the_twin_in_the_other_corpus(later):
    found = explain(later, "later-5").duplicates[0]

    assert (found.corpus, found.value, found.certainty, found.reasons) == ("second", 1.0, "estimated", ["seen-before"])
    assert set(found.nearest) == {"doc_id", "id"}
    assert explain(later, "later-9").duplicates[0].nearest is None
