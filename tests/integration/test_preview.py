"""`tamis plan` says what would be computed and why, and touches nothing."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml


@pytest.fixture
def spec(tmp_path: Path, corpus: Path) -> Any:
    def write(ftfy: bool = True, minimum: int = 100) -> Path:
        value = {
            "name": "planned",
            "source": {"kind": "jsonl", "path": f"{corpus.name}/*.jsonl", "shard_bytes": 4000},
            "measure": {"clean": {"kind": "normalize", "ftfy": ftfy}, "copies": {"kind": "exact_duplicates"}},
            "keep": [{"column": "leaving.bytes", "ge": minimum, "on_null": "drop", "reason": "short"}],
        }
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(value))
        return path

    return write


def lines(result: Any) -> dict[str, dict[str, Any]]:
    assert result.returncode == 0, result.stderr
    return {line["step"]: line for line in json.loads(result.stdout)["steps"]}


def test_planning_before_any_run_creates_no_store_and_says_never_run(tamis, spec, tmp_path):
    found = lines(tamis("plan", spec(), "--json"))
    steps = ("source", "clean", "copies.digest", "copies", "verdict")
    assert [found[name]["why"] for name in steps] == [["never run"]] * 5
    assert not (tmp_path / "store").exists()


def test_after_a_run_everything_is_there_and_planning_changes_no_file(tamis, spec, tmp_path):
    tamis("run", spec(), "--engine", "local")
    before = {str(p): p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")}
    found = lines(tamis("plan", spec(), "--json"))
    assert {name: line["misses"] for name, line in found.items()} == dict.fromkeys(found, 0)
    assert {str(p): p.stat().st_mtime_ns for p in (tmp_path / "store").rglob("*")} == before


def test_the_field_that_made_a_step_miss_is_named(tamis, spec):
    tamis("run", spec(), "--engine", "local")
    found = lines(tamis("plan", spec(ftfy=False), "--json"))
    assert found["source"]["misses"] == 0
    assert found["clean"]["misses"] == found["clean"]["shards"] > 0
    assert "ftfy: True -> False" in found["clean"]["why"]
    assert found["copies.digest"]["why"] == ["reads clean, which changed"]


def test_a_new_threshold_misses_the_verdict_only(tamis, spec):
    tamis("run", spec(), "--engine", "local")
    found = lines(tamis("plan", spec(minimum=150), "--json"))
    assert {name for name, line in found.items() if line["misses"]} == {"verdict"}


def test_an_added_file_misses_one_shard_once_it_is_ingested_and_says_so_before(tamis, spec, write_jsonl):
    tamis("run", spec(), "--engine", "local")
    write_jsonl("corpus/part-9.jsonl", [{"text": "A new document. " * 300}])
    found = lines(tamis("plan", spec(), "--json"))
    assert found["source"]["why"] == ["files are new or have changed"]
    assert found["clean"]["why"] == ["depends on source"]
