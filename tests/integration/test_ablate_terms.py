"""Ablations on other terms: schedules, equal pool and compute, looks, probes, shares of stages, other runs, divergence."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from ablation_runs import LOCAL, ablated, asked, made

from pipelines import api
from pipelines.run import Options
from stages.errors import DataError, SpecError, StageError


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("terms"))


SMALL = {"arms": ["unfiltered", "curated"], "budgets": [1200], "seeds": 1}


@pytest.mark.parametrize("schedule", ["cosine", pytest.param("constant", marks=pytest.mark.long)])
def test_budgets_may_be_trained_under_other_schedules(mill, schedule):
    found = ablated(mill, **SMALL, schedule=schedule)

    assert found["settings"]["training"]["schedule"] == schedule
    assert all(e["diverged"] is None and e["bits_per_byte"] < 8 for e in found["endpoints"])


@pytest.mark.long
def test_a_constant_rate_ends_in_averaged_weights(mill):
    before = set(Path(mill["store"]).glob("trained/*/record.json"))
    ablated(mill, **SMALL, schedule="constant", seed=7)
    new = set(Path(mill["store"]).glob("trained/*/record.json")) - before

    assert [json.loads(path.read_text())["outcome"]["averaged"] for path in new] == [True, True]


def test_an_equal_pool_trains_an_arm_on_its_share_of_the_budget(mill):
    found = ablated(mill, **{**SMALL, "budgets": [6000]}, equal="pool")
    tokens = {e["arm"]: e["tokens"] for e in found["endpoints"]}
    supply = {a["name"]: a["tokens"] for a in found["arms"]}
    batch = found["settings"]["training"]["batch_tokens"]

    assert tokens["unfiltered"] == pytest.approx(6000, abs=batch)
    assert tokens["curated"] == pytest.approx(6000 * supply["curated"] / supply["unfiltered"], abs=batch)


def test_equal_compute_charges_curation_in_tokens(mill):
    found = ablated(mill, **{**SMALL, "budgets": [6000]}, equal="compute")
    tokens = {e["arm"]: e["tokens"] for e in found["endpoints"]}

    assert found["cpu_seconds_per_token"] > 0
    assert tokens["curated"] < tokens["unfiltered"]


def test_a_look_that_expects_nothing_more_stops_all_runs(mill):
    found = ablated(mill, arms=["unfiltered", "again"], budgets=[1200, 4800], seeds=2, looks=True)
    html, _ = api.report(found["ablation"], store=mill["store"])

    assert {(e["arm"], e["budget"]) for e in found["endpoints"]} == {("unfiltered", 1200), ("again", 1200)}
    assert found["stopped"].startswith("After 25 % of the largest budget: nothing is decided; no difference is to be")
    assert found["stopped"] in html


@pytest.mark.ray
def test_ray_trains_the_same_bits_as_the_local_engine(mill, ray_engine):
    del ray_engine  # the session's Ray is up
    here = ablated(mill, **SMALL, seed=11)
    for path in Path(mill["store"]).glob("trained/*"):
        shutil.rmtree(path)
    for path in Path(mill["store"]).glob("ablations/*"):
        shutil.rmtree(path)
    there = api.ablate(mill["run"], asked(mill, **SMALL, seed=11), store=mill["store"], options=Options("ray", 2))

    told = [[(e["arm"], e["ledger"], e["bits_per_byte"]) for e in found["endpoints"]] for found in (here, there)]
    assert told[0] == told[1]


def test_stages_share_what_curation_is_worth(mill):
    found = ablated(mill, arms=["unfiltered", "curated", "shapley"], budgets=[1200], seeds=2)
    shares = found["stages"]

    assert [one["step"] for one in shares["steps"]] == ["order", "short"]
    assert sum(one["value"] for one in shares["steps"]) == pytest.approx(shares["total"]["value"], abs=1e-9)
    assert shares["sentence"] in api.report(found["ablation"], store=mill["store"])[0]


def test_probes_are_asked_of_every_endpoint(mill, tmp_path):
    path = tmp_path / "mills.jsonl"
    items = [
        {"prompt": "stone", "choices": [" wheel", " 篩"], "answer": 0},
        {"prompt": "rye", "choices": [" a", " b"], "answer": 1},
    ]
    path.write_text("".join(json.dumps(item, ensure_ascii=False) + "\n" for item in items))
    found = ablated(mill, **SMALL, probes=[str(path)])

    assert [(e["probes"]["mills"]["items"], e["probes"]["mills"]["chance"]) for e in found["endpoints"]] == [
        (2, 0.5)
    ] * 2
    assert "mills" in api.report(found["ablation"], store=mill["store"])[0]


def test_a_probe_that_cannot_be_read_is_refused_before_anything_is_trained(mill, tmp_path):
    with pytest.raises(DataError, match=r"the probe .* cannot be read"):
        ablated(mill, **SMALL, probes=[str(tmp_path / "gone.jsonl")])


def test_another_run_may_be_an_arm(mill):
    other = {**mill["spec"], "name": "other", "keep": []}
    done = api.run(other, store=mill["store"], options=LOCAL)
    found = ablated(mill, **{**SMALL, "arms": ["unfiltered", {"name": "all-of-it", "run": done["run"]}]})
    documents = {a["name"]: a["documents"] for a in found["arms"]}

    assert documents["all-of-it"] == documents["unfiltered"] == 240


def test_another_spec_may_be_an_arm(mill, tmp_path):
    path = tmp_path / "longer.json"
    rule = {"column": "leaving.bytes", "ge": 130, "on_null": "drop", "reason": "short"}
    path.write_text(json.dumps({**mill["spec"], "name": "longer", "keep": [rule]}))
    found = ablated(mill, **{**SMALL, "arms": ["unfiltered", "curated", {"name": "longer", "spec": str(path)}]})
    documents = {a["name"]: a["documents"] for a in found["arms"]}

    assert 0 < documents["longer"] < documents["curated"] < documents["unfiltered"]


def test_a_run_that_diverges_is_told_and_proves_nothing(mill):
    found = ablated(mill, **{**SMALL, "budgets": [1200, 2400]}, learning_rate=1e30)

    assert len(found["endpoints"]) == 4
    assert all(e["diverged"] for e in found["endpoints"])
    assert all(e["bits_per_byte"] is None for e in found["endpoints"])
    assert found["evidence"]["arms"][0]["decided"] is None
    assert found["endpoints"][0]["diverged"] in api.report(found["ablation"], store=mill["store"])[0]


@pytest.mark.long
def test_larger_budgets_of_a_trunk_that_diverged_are_told_as_well(mill):
    found = ablated(mill, **{**SMALL, "budgets": [1200, 2400, 4800]}, learning_rate=2e30)

    assert [e["diverged"] is not None for e in found["endpoints"]] == [True] * 6


def test_a_bracket_in_which_everything_diverges_stops_with_a_sentence(mill):
    with pytest.raises(
        StageError, match="the baseline diverged under every learning rate of the bracket; give lower ones"
    ):
        ablated(mill, **SMALL, learning_rate=None, bracket=[1e30, 2e30])


def test_an_arm_whose_spec_is_wrong_is_named(mill):
    wrong = {"name": "wrong", "set": {"keep.0.column": "leaving.bites"}}

    with pytest.raises(SpecError, match=r"the arm 'wrong' cannot be planned: .*leaving.bites"):
        ablated(mill, **{**SMALL, "arms": ["unfiltered", wrong]})


def test_the_section_of_a_spec_trains_after_the_run_and_changes_no_run(mill):
    asked = {
        "panel": mill["panel"],
        "tokenizer": "artifact:bpe",
        "learning_rate": 0.01,
        "parameters": "30k",
        "context": 32,
    }
    spec = {**mill["spec"], "ablate": {**asked, "budgets": [1200], "seeds": 1, "panel_bytes": 4000, "name": "after"}}
    done = api.run(spec, store=mill["store"], options=LOCAL)

    assert done["run"] == mill["run"]
    assert [name.startswith("mill-after-") for name in done["ablations"]] == [True]


def test_an_arm_without_an_origin_is_refused_on_the_command_line(tamis):
    refused = tamis("ablate", "mill", "--panel", "held-out.jsonl", "--arm", "mine")

    assert refused.returncode == 2
    assert "--arm 'mine' does not say what the arm is of; write NAME=RUN or NAME=SPEC.yaml" in refused.stderr
