"""A document that breaks a stage is found, quarantined with its reason, and the rest of its shard goes on."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml


@pytest.fixture
def spec(tmp_path: Path, write_jsonl: Any) -> Any:
    def write(poison: list[str], **changes: Any) -> Path:
        records = [{"id": f"good-{i}", "text": f"document number {i}"} for i in range(60)]
        for number, text in enumerate(poison):
            records.insert(7 * (number + 1), {"id": f"bad-{number}", "text": text})
        write_jsonl("corpus/part.jsonl", records)
        value = {
            "name": "poison",
            "source": {"kind": "jsonl", "path": "corpus/*.jsonl"},
            "measure": {"first": {"kind": "fragile"}, "second": {"kind": "text_bytes"}},
            "keep": [],
            "limits": {"max_quarantine": 0.2, "max_document_seconds": 2, "max_shard_seconds": 8},
            **changes,
        }
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(value))
        return path

    return write


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("EAT-NOW", "oom"),
        pytest.param("DIE-NOW", "crash", marks=pytest.mark.long),
        pytest.param("RAISE-NOW", "error", marks=pytest.mark.long),
        pytest.param("HANG-NOW", "timeout", marks=pytest.mark.long),
    ],
)
def test_one_poison_document_is_quarantined_and_the_others_are_exported(tamis, spec, tmp_path, text, reason):
    result = tamis("run", spec([text]), "--engine", "local", "--workers", "1", "--json")
    assert result.returncode == 0, result.stderr
    done = json.loads(result.stdout)
    (file,) = Path(done["export"]).glob("*.parquet")
    assert pq.read_table(file)["id"].to_pylist() == [f"good-{i}" for i in range(60)]
    record = json.loads((tmp_path / "store" / "runs" / done["run"] / "result.json").read_text())
    assert [(q["id"], q["step"], q["reason"]) for q in record["quarantined"]] == [("bad-0", "first", reason)]
    total = done["total"]
    assert (total["documents_in"], total["exported"], total["rejected"], total["quarantined"]) == (61, 60, 0, 1)


def test_several_poison_documents_of_several_kinds_are_all_found(tamis, spec):
    result = tamis("run", spec(["DIE-NOW", "RAISE-NOW", "DIE-NOW"]), "--engine", "local", "--workers", "1", "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["total"]["quarantined"] == 3


def test_more_poison_than_allowed_stops_the_run_and_names_the_step(tamis, spec):
    path = spec(["RAISE-NOW"] * 8, limits={"max_quarantine": 0.01, "max_document_seconds": 2})
    result = tamis("run", path, "--engine", "local", "--workers", "1")
    assert result.returncode == 4
    assert "step 'first'" in result.stderr
    assert "max_quarantine" in result.stderr
