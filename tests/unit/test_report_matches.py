"""What a report and an explanation say of documents that an index of earlier corpora knows."""

import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from rich.console import Console

from pipelines.api import index_add, index_info, run, view
from pipelines.duplicate_steps import duplicate_steps
from pipelines.explain import explain
from pipelines.index.commands import Storage, Taking
from pipelines.report import collect, render
from pipelines.report.memberships import Memberships
from pipelines.run import Options
from pipelines.terminal.documents import explanation

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


@pytest.fixture(scope="module")
def filtered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run over eleven documents, one without words, six of which a Bloom index of seventy knows."""
    folder = tmp_path_factory.mktemp("filtered")
    store, options = folder / "store", Options("local", 1)
    done = run(spec(folder, "early", range(70)), store=store, options=options)
    kept_in = Storage("bloom", capacity=500, false_positive_rate=1e-4)
    index_add("seen", done["run"], taking=Taking(), storage=kept_in, store=store)
    made = spec(folder, "later", range(64, 74), seen={"kind": "index_matches", "of": "sketch", "index": "seen"})
    with (folder / "later.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"id": "later-none", "text": "…"}))
    made["keep"] = [{"column": "seen.matches", "le": 0, "on_null": "keep", "reason": "seen-before"}]
    planned = run(made, store=store, options=options)["run"]
    more = run(spec(folder, "extra", range(100, 130)), store=store, options=options)
    index_add("seen", more["run"], taking=Taking(), store=store)
    return view(planned, store=store)


def test_the_report_tells_what_a_bloom_index_held_and_how_many_matches_are_by_chance(filtered):
    (found,) = collect(filtered)["matches"]

    assert found["bloom"] == {
        "index": "seen",
        "documents": 70,
        "capacity": 500,
        "false_positive_rate": {"nominal": 1e-4, "measured": 0, "probes": 100_000},
        "bands": 14,
        "rows": 8,
    }
    assert found["expected_false"] == {"nominal": 10 * 1e-4, "measured": 0, "at_most": pytest.approx(3e-4, rel=0.01)}
    assert (found["documents"], found["asked"], found["matched"]) == (11, 10, 6)
    assert found["fates"] == {"kept": 0, "rejected": 6, "quarantined": 0}
    assert {e["id"] for e in found["examples"]} == {f"later-{i}" for i in range(64, 70)}
    assert (found["reasons"], found["similarity"], found["histogram"]) == (["seen-before"], None, None)


def test_the_report_is_of_the_index_as_it_was_however_it_has_grown(filtered):
    stored = json.loads(filtered.store.get(f"runs/{filtered.run}/report.json"))

    assert stored["matches"] == collect(filtered)["matches"]
    assert index_info("seen", store=filtered.store)["documents"] == 100
    assert stored["repeat"]["keys"] == collect(filtered)["repeat"]["keys"]


def test_the_page_says_that_a_bloom_filter_names_no_twin_and_errs(filtered):
    page = " ".join(re.sub("<[^>]+>", " ", render(collect(filtered))).split())

    assert "6 of 11 documents (54.5 %) are known to the index seen : 0 kept, 6 rejected." in page
    assert "Bloom filter: it cannot name the twin" in page
    assert "documents that the index held 70 its capacity 500 false-positive rate asked for, when full 0.0001" in page
    assert (
        "looked up 10 known 6 by chance, at the rate asked for fewer than 0.01 by chance, at the measured rate none"
        in page
    )
    assert "92.4 % at 0.8" in page


@pytest.mark.parametrize(
    ("rates", "expected", "words"),
    [
        (
            (0.01, 0.002),
            {"nominal": 2.0, "measured": 0.4, "at_most": None},
            "about 2 by chance, at the measured rate about 0.4",
        ),
        ((1e-6, 0.0), {"nominal": 2e-4, "measured": 0, "at_most": 5.991465}, "none, at most 5.991 (95 %)"),
        ((1e-6, None), {"nominal": 2e-4, "measured": None, "at_most": None}, "at the measured rate unknown"),
    ],
)
def test_what_is_expected_by_chance_is_the_rate_times_the_documents_that_were_looked_up(
    filtered, rates, expected, words
):
    report = collect(filtered)
    (step,) = duplicate_steps(filtered)
    probes = {"nominal": rates[0], "measured": rates[1], "probes": 0 if rates[1] is None else 100}
    found = Memberships(replace(step, bloom={**step.bloom, "false_positive_rate": probes}))
    for _ in range(2):
        found.add(
            0,
            pa.table({"seen.matches": [1, *[0] * 99, None]}),
            np.zeros(101, np.int64),
            np.arange(101, dtype=np.uint64),
        )

    facts = found.json({place: {"text": "", "values": {}} for place in found.places()})

    assert (facts["documents"], facts["asked"], facts["matched"]) == (202, 200, 2)
    assert {by: n if n is None else round(n, 6) for by, n in facts["expected_false"].items()} == expected
    report["matches"][0] |= {**facts, "examples": []}
    assert words in " ".join(re.sub("<[^>]+>", " ", render(report)).split())


def test_an_explanation_says_that_a_bloom_index_knows_the_document(filtered):
    outcomes = {i: explain(filtered, f"later-{i}").duplicates[0] for i in (64, 73, "none")}

    assert {i: found.known for i, found in outcomes.items()} == {64: True, 73: False, "none": None}
    assert (outcomes[64].nearest, outcomes[64].value, outcomes[64].reasons) == (None, None, ["seen-before"])
    screen = Console(width=200, file=io.StringIO())
    screen.print(explanation(explain(filtered, "later-64")))
    assert "known to the index, a Bloom filter, which names no twin" in screen.file.getvalue()


def test_an_explanation_names_the_twin_in_the_other_corpus(later):
    found = explain(later, "later-5").duplicates[0]

    assert (found.corpus, found.value, found.certainty, found.reasons) == ("second", 1.0, "estimated", ["seen-before"])
    assert set(found.nearest) == {"doc_id", "id"}
    assert explain(later, "later-9").duplicates[0].nearest is None
