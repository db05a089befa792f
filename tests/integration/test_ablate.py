"""Ablations of a small run: arms are views of one token column, what is trained is found again, and the result adds up."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from ablation_runs import ablated, made

from pipelines import api
from pipelines.scaling_points import read_points
from stages.errors import DataError, SpecError
from trainer.token_pack import TokenPack
from trainer.view import View


@pytest.fixture(scope="module")
def mill(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return made(tmp_path_factory.mktemp("ablate"))


@pytest.fixture(scope="module")
def done(mill: dict[str, Any]) -> dict[str, Any]:
    return ablated(mill, arms=["unfiltered", "curated", "random", "unordered"])


def records(mill: dict[str, Any]) -> set[str]:
    return {p.parent.name for p in Path(mill["store"]).glob("trained/*/record.json")}


def pack_and_view(mill: dict[str, Any], done: dict[str, Any], arm: str) -> tuple[TokenPack, View]:
    keys = done["keys"]["views"][arm]
    view = View.load(Path(mill["store"]) / "views" / keys["pack"] / f"{keys['view']}.view")
    assert len({p.parent for p in Path(mill["store"]).glob("tokens/*/*.tokens")}) == 1, "arms share one token column"
    shards = json.loads((Path(mill["store"]) / "runs" / mill["run"] / "shards.json").read_text())["shards"]
    paths = [next(Path(mill["store"]).glob(f"tokens/*/{s['digest']}.*.tokens")) for s in shards]
    return TokenPack.open(paths), view


def ids_of(mill: dict[str, Any], *columns: str) -> list[dict[str, Any]]:
    return pa.Table.from_batches(api.documents(mill["run"], list(columns), store=mill["store"])).to_pylist()


def test_every_arm_has_an_endpoint_for_each_seed_and_budget(done):
    found = {(e["arm"], e["seed"], e["budget"]) for e in done["endpoints"]}

    assert found == {
        (a, s, b) for a in ("unfiltered", "curated", "random", "unordered") for s in (1, 2) for b in (1200, 2400, 4800)
    }
    assert all(np.isfinite(e["bits_per_byte"]) and e["diverged"] is None for e in done["endpoints"])


def test_training_lowers_the_loss_of_every_arm(done):
    loss = {(e["arm"], e["seed"], e["budget"]): e["bits_per_byte"] for e in done["endpoints"]}

    assert all(loss[arm, seed, 4800] < loss[arm, seed, 1200] for arm, seed, budget in loss if budget == 4800)


def test_arms_are_views_of_one_token_column(mill, done):
    pack, everything = pack_and_view(mill, done, "unfiltered")
    _, curated = pack_and_view(mill, done, "curated")
    _, unordered = pack_and_view(mill, done, "unordered")
    _, random = pack_and_view(mill, done, "random")
    verdicts = ids_of(mill, "verdict.keep", "order.position")
    kept = [r["doc_id"] for r in sorted((v for v in verdicts if v["verdict.keep"]), key=lambda v: v["order.position"])]

    assert sorted(pack.doc_id(int(r)) for r in everything.rows) == sorted(v["doc_id"] for v in verdicts)
    assert [pack.doc_id(int(r)) for r in curated.rows] == kept
    assert (curated.ordered, unordered.ordered) == (True, False)
    assert sorted(curated.rows) == list(unordered.rows)
    wanted = pack.lengths_of(curated.rows).sum()
    longest = pack.lengths.max()
    assert wanted - longest < pack.lengths_of(random.rows).sum() <= wanted
    assert set(random.rows) < set(everything.rows)


def test_an_order_on_a_small_budget_is_read_to_its_end(mill, done):
    keys = done["keys"]["views"]["curated"]
    folder = Path(mill["store"]) / "views" / keys["pack"]
    whole = View.load(folder / f"{keys['view']}.view").rows
    parts = [v.rows for v in map(View.load, folder.glob("*.view")) if v.ordered and len(v.rows) < len(whole)]
    place = {int(row): n for n, row in enumerate(whole)}

    assert len(parts) == 6  # two seeds, three budgets
    for rows in parts:
        places = [place[int(row)] for row in rows]

        assert places == sorted(places)
        assert places[-1] > 0.75 * len(whole)


def test_a_finished_ablation_is_found_and_trains_nothing(mill, done):
    before = records(mill)

    assert ablated(mill, arms=["unfiltered", "curated", "random", "unordered"]) == done
    assert records(mill) == before


def test_an_arm_more_trains_that_arm_alone_and_copies_no_tokens(mill, done):
    before = records(mill)
    tokens = sorted(Path(mill["store"]).glob("tokens/*/*.tokens"))

    more = ablated(mill, arms=["unfiltered", "curated", "random", "unordered", "again"])

    assert len(records(mill)) == len(before) + 6
    assert sorted(Path(mill["store"]).glob("tokens/*/*.tokens")) == tokens
    kept = [e for e in more["endpoints"] if e["arm"] != "again"]
    assert [e["ledger"] for e in kept] == [e["ledger"] for e in done["endpoints"]]
    assert [e["bits_per_byte"] for e in kept] == [e["bits_per_byte"] for e in done["endpoints"]]


def test_arms_with_the_same_documents_under_the_same_seed_are_the_same_run(mill, done):
    own = {"name": "twin", "set": {"order": None}}
    found = ablated(mill, arms=["unfiltered", "unordered", own])
    by_arm = {a: [e["bits_per_byte"] for e in found["endpoints"] if e["arm"] == a] for a in ("unordered", "twin")}

    assert by_arm["unordered"] == by_arm["twin"]


def test_tokens_and_documents_of_arms_are_counted(mill, done):
    pack, _ = pack_and_view(mill, done, "unfiltered")
    arms = {a["name"]: a for a in done["arms"]}

    assert arms["unfiltered"]["documents"] == pack.documents == 240
    assert arms["unfiltered"]["tokens"] == pack.tokens + pack.documents
    assert arms["curated"]["documents"] == sum(r["verdict.keep"] for r in ids_of(mill, "verdict.keep"))
    assert arms["unfiltered"]["curation_cpu_seconds"] == 0.0
    assert arms["curated"]["curation_cpu_seconds"] > 0.0
    assert [arms[a]["rewrites_text"] for a in arms] == [False] * 4


def test_an_arm_with_another_text_is_tokenized_on_its_own_and_flagged(mill):
    own = {"name": "raw-text", "set": {"measure": {}, "order": None, "keep": []}}
    found = ablated(mill, arms=["unfiltered", own], budgets=[1200], seeds=1)

    assert {a["name"]: a["rewrites_text"] for a in found["arms"]} == {"unfiltered": False, "raw-text": True}


def test_an_arm_without_documents_is_refused_with_a_sentence(mill):
    none = {"name": "none", "set": {"keep.0.ge": 10**9}}

    with pytest.raises(DataError, match=r"the arm 'none' \(.*\) has no document; loosen the rules"):
        ablated(mill, arms=["unfiltered", none])


def test_a_budget_beyond_an_arm_is_refused_where_repeats_are_not_allowed(mill):
    with pytest.raises(
        SpecError, match=r"the arm '\w+' has [\d,]+ tokens, and its largest budget of [\d,]+ would take"
    ):
        ablated(mill, exhausted="refuse", budgets=[1200, 10**6])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exhausted": "refuse", "budgets": [1500, 10**6]}, r"its largest budget of [\d,]+ would take"),
        ({"budgets": [1500, 1501]}, "come to the same number of steps"),
        ({"ladder": True, "parameters": "12k"}, r"the ladder has a model of 0\.25 times the parameters: no model has"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_bracket_is(mill, fields, said):
    before = records(mill)

    with pytest.raises(SpecError, match=said):
        ablated(mill, **{"arms": ["unfiltered", "curated"], "budgets": [1500], "learning_rate": None, **fields})

    assert records(mill) == before


def test_a_finished_ablation_of_another_version_is_made_again(mill, done, monkeypatch):
    monkeypatch.setattr("pipelines.ablation.training.FORMAT", 0)

    assert ablated(mill, arms=["unfiltered", "curated", "random", "unordered"])["ablation"] != done["ablation"]


def test_a_run_without_tokens_needs_a_tokenizer(mill):
    with pytest.raises(SpecError, match="has no step `tokens`, so its ablation needs a tokenizer; fit one with"):
        ablated(mill, tokenizer=None)


def test_a_panel_document_inside_an_arm_is_told_and_left_out_once(mill, tmp_path):
    corpus = [json.loads(line) for line in (mill["folder"] / "corpus" / "0.jsonl").read_text().splitlines()]
    stolen = max(corpus, key=lambda r: len(r["text"]))
    path = tmp_path / "stolen" / "eval.jsonl"
    path.parent.mkdir()
    path.write_text(json.dumps(stolen, ensure_ascii=False) + "\n")
    found = ablated(mill, panel=[mill["panel"], str(path)], arms=["unfiltered", "curated"], budgets=[1200], seeds=1)
    arm = {a["name"]: a for a in found["arms"]}["unfiltered"]

    assert arm["contamination"]["panel_documents_hit"] == 1
    assert found["evidence_clean"]["documents"] == found["evidence"]["documents"] - 1
    assert all(e["bits_per_byte_clean"] != e["bits_per_byte"] for e in found["endpoints"])


def test_a_ladder_writes_the_runs_that_a_scaling_fit_reads(mill):
    found = ablated(mill, arms=["unfiltered", "curated"], ladder=True, seeds=1, parameters="60k", budgets=[1200, 2400])
    path = Path(mill["store"]) / "ablations" / found["ablation"] / "ladder.csv"
    points = read_points(path)

    assert points.arms == ("unfiltered", "curated")
    assert len(points.loss_N) == 2 * 3 * 2
    assert len(set(points.parameters_N)) == 3
    endpoints = {(e["arm"], e["budget"]): e for e in found["endpoints"]}
    largest = points.parameters_N == points.parameters_N.max()
    of_curated = largest & (points.arm_N == 1)
    assert sorted(points.tokens_N[of_curated]) == sorted(endpoints["curated", b]["tokens"] for b in (1200, 2400))


def test_the_report_is_beside_the_result(mill, done):
    html, numbers = api.report(done["ablation"], store=mill["store"])

    assert done["evidence"]["verdict"] in html
    assert json.loads(numbers)["verdict"] == done["evidence"]["verdict"]
