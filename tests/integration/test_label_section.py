"""A spec that labels few, scores all and selects: the section `label:` runs before what reads its artifact."""

from pathlib import Path
from typing import Any

import pytest

from pipelines.api import as_spec, documents, plan, run
from pipelines.run import Options
from pipelines.store import Store
from stages.artifacts import find
from stages.errors import SpecError

SPECS = Path(__file__).parents[2] / "pipelines" / "specs"
SPEC = SPECS / "edu-active.yaml"
#: A quarter of the sample, which holds some forty of the labelled mails.
PART = {"source.path": str(SPECS.parent / "samples" / "raw" / "raw-00001.jsonl.gz"), "label.budget": 30}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = tmp_path_factory.mktemp("store")
    before = plan(SPEC, store=Store.open(store), changes=PART)
    return {"store": store, "before": before, **run(SPEC, store=store, options=Options("local", 2), changes=PART)}


def test_one_spec_labels_few_scores_all_and_selects(done):
    artifact = find(Store.open(done["store"]), "artifact:edu-active", "quality")
    assert sum(artifact.card["data"]["labels"].values()) == 30
    assert artifact.card["data"]["oracle"] == {"oracle": "file", "labels_in_file": 500, "answered": 30}

    rows = [
        row
        for batch in documents("edu-active", ["quality.p_high", "verdict.fate"], store=done["store"])
        for row in batch.to_pylist()
    ]
    scored = sorted(r["quality.p_high"] for r in rows if r["quality.p_high"] is not None)
    kept = [r["quality.p_high"] for r in rows if r["verdict.fate"] == "kept"]
    assert len(scored) > 0.99 * len(rows)
    assert min(kept) >= scored[(len(scored) + 1) // 2 - 1], "kept are documents of the better half"
    assert done["total"]["exported"] == len(kept) > 100


def test_a_plan_says_what_the_labelling_has_yet_to_make(done):
    why = {line["step"]: line["why"] for line in done["before"]["steps"]}

    assert why["quality"] == ["depends on artifact:edu-active, which the spec makes when it is run"]
    after = plan(SPEC, store=done["store"], changes=PART)
    assert all(not line["misses"] for line in after["steps"])


def test_the_spec_again_labels_and_computes_nothing(done):
    def files() -> set[str]:
        return {str(p) for p in done["store"].rglob("*") if p.is_file() and ".scratch" not in p.parts}

    before = files()
    again = run(SPEC, store=done["store"], options=Options("local", 2), changes=PART)

    assert {k: again[k] for k in ("run", "export", "total")} == {k: done[k] for k in ("run", "export", "total")}
    assert files() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label.oracle": "human"}, "`label` asks a person, and a run does not wait for one"),
        ({"label.pool": "kept"}, "which is known only after the run"),
        ({"label.aquire": "entropy"}, "`label` has the unknown field 'aquire'; did you mean 'acquire'"),
        ({"label.acquire": "best"}, "`label` has a wrong 'acquire'"),
        ({"label.learner": "a/b"}, "`label` has the learner 'a/b'"),
        ({"label": "edu"}, "is no mapping"),
        (
            {"label": [{"learner": "a", "oracle": "file:x"}] * 2},
            "entry 2 of `label` fits the learner 'a', as an earlier",
        ),
        ({"label.oracle": "llm:nobody"}, "there is no profile 'nobody'"),
    ],
)
def test_a_wrong_section_is_one_sentence(tmp_path, change, said):
    with pytest.raises(SpecError) as error:
        run(SPEC, store=tmp_path / "store", options=Options("local", 1), changes={**PART, **change})

    assert said in error.value.message


def test_several_labellings_and_paths_beside_the_spec(tmp_path):
    labels = [{"learner": n, "oracle": "file:own.jsonl", "budget": 9, "rounds": 2} for n in ("a", "b")]
    (tmp_path / "spec.yaml").write_text(f"name: two\nsource: {{kind: jsonl, path: x}}\nlabel: {labels}\n")
    spec = as_spec(tmp_path / "spec.yaml")

    assert [(r.learner, r.oracle) for r in spec.label] == [(n, f"file:{tmp_path}/own.jsonl") for n in ("a", "b")]
    assert spec.raw["label"][1]["oracle"] == f"file:{tmp_path}/own.jsonl"
