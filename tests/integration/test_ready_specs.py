"""The specs that people start from run on the bundled sample, and decide what they say they decide."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.api import run
from pipelines.run import Options
from pipelines.store import Store

SPECS = Path(__file__).parents[2] / "pipelines" / "specs"
#: A quarter of the sample, of which the last file ends in the planted records.
PART = {"source.path": str(SPECS.parent / "samples" / "raw" / "raw-00003.jsonl.gz")}
#: Reasons that must have met a document, by spec.
REASONS = {
    "fineweb-datatrove-0.10": {
        "language", "gopher-repetition/top-4-gram", "gopher-quality/short-doc", "gopher-quality/long-doc",
        "c4/few-sentences", "fineweb/few-end-marks", "near-duplicate",
    },
    "fineweb-2024": {
        "language", "gopher-repetition/duplicate-lines", "gopher-quality/short-doc", "c4/curly-bracket",
        "fineweb/short-lines", "near-duplicate",
    },
    "dclm": {
        "language", "gopher-repetition/duplicate-5-grams", "gopher-quality/symbols", "mostly-repeated", "nothing-left",
        "near-duplicate",
    },
}  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The outcome of each spec on a part of the sample; they share a store, and so what they measure alike."""
    store = tmp_path_factory.mktemp("store")
    return {
        name: run(SPECS / f"{name}.yaml", store=Store.open(store), options=Options("local", 2), changes=PART)
        | {"store": store}
        for name in REASONS
    }


def ledger(outcome: dict[str, Any]) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((outcome["store"] / "runs" / outcome["run"] / "ledger.json").read_text())
    return value


def exported(outcome: dict[str, Any]) -> list[str]:
    tables = [pq.read_table(f, columns=["text"]) for f in sorted(Path(outcome["export"]).glob("*.parquet"))]
    return [text for table in tables for text in table["text"].to_pylist()]


@pytest.mark.parametrize("name", REASONS)
def test_every_document_is_exported_rejected_or_quarantined(done: Any, name: str) -> None:
    total = done[name]["total"]

    assert total["documents_in"] == total["exported"] + total["rejected"] + total["quarantined"]
    assert min(total["exported"], total["rejected"], total["quarantined"]) > 0


@pytest.mark.parametrize("name", REASONS)
def test_the_reasons_that_the_spec_is_made_of_are_given(done: Any, name: str) -> None:
    reasons = ledger(done[name])["reasons"]

    assert {reason for reason in REASONS[name] if not reasons.get(reason)} == set()


def test_the_two_releases_of_one_name_decide_otherwise(done: Any) -> None:
    new, old = (ledger(done[name])["reasons"] for name in ("fineweb-datatrove-0.10", "fineweb-2024"))

    assert old["gopher-repetition/duplicate-lines"] > 10 * new["gopher-repetition/duplicate-lines"]


@pytest.mark.parametrize("name", ["fineweb-datatrove-0.10", "fineweb-2024"])
def test_what_leaves_fineweb_has_no_address_of_a_person_in_it(done: Any, name: str) -> None:
    texts = exported(done[name])
    addresses = {a for text in texts for a in re.findall(r"[A-Za-z0-9]+@[A-Za-z0-9]+\.com\b", text)}

    assert addresses == {"email@example.com"}


def test_what_is_measured_alike_is_measured_once(done: Any) -> None:
    steps = ledger(done["fineweb-2024"])["steps"]

    computed = {
        n: steps[n]["computed_shards"] for n in ("stats", "c4", "edited", "left", "sketch", "private", "repeats")
    }
    assert computed == dict.fromkeys(computed, 0) | {"repeats": steps["repeats"]["computed_shards"]}
    assert computed["repeats"] > 0


@pytest.mark.long
def test_the_comparison_of_selecting_and_ordering_trains_its_arms_at_equal_compute_under_three_schedules(tmp_path):
    tiny = {"parameters": "100k", "context": 32, "budgets": ["30k"], "seeds": 1, "learning_rate": 0.01}
    changes = {f"ablate.{name}": value for name, value in tiny.items()}
    done = run(SPECS / "active-curriculum.yaml", store=tmp_path, options=Options("local", 2), changes=changes)
    results = [json.loads(path.read_text()) for path in tmp_path.glob("ablations/*/result.json")]

    assert done["total"]["exported"] > 0
    assert sorted(r["settings"]["training"]["schedule"] for r in results) == ["constant", "cosine", "wsd"]
    for result in results:
        tokens = {e["arm"]: e["tokens"] for e in result["endpoints"]}
        assert set(tokens) == {"random-selection", "active", "curriculum", "curated"}
        assert tokens["active"] < tokens["random-selection"]  # scoring is charged
        assert all(e["diverged"] is None for e in result["endpoints"])
