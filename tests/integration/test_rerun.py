"""Running again: what changed is noticed wherever it was changed, and two at once end as one."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

TAMIS = Path(sys.executable).parent / "tamis"


@pytest.fixture
def spec(tmp_path: Path, corpus: Path) -> Path:
    (tmp_path / "mine.yaml").write_text(
        "name: mine\nrules:\n  - {column: text_bytes.bytes, ge: 50, on_null: drop, reason: short, cite: us}\n"
    )
    value = {
        "name": "again",
        "source": {"kind": "jsonl", "path": f"{corpus.name}/*.jsonl", "shard_bytes": 3000},
        "measure": {"size": {"kind": "text_bytes"}, "copies": {"kind": "exact_duplicates"}},
        "keep": [
            {"rules": "./mine.yaml", "using": {"text_bytes": "size"}},
            {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
        ],
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def done(result: Any) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_an_edited_rule_file_is_a_new_run_and_the_old_one_still_tells_its_own_rules(tamis, spec, tmp_path):
    first = done(tamis("run", spec, "--engine", "local", "--json"))
    rules = tmp_path / "mine.yaml"
    rules.write_text(rules.read_text().replace("ge: 50", "ge: 150"))
    second = done(tamis("run", spec, "--engine", "local", "--json"))
    assert first["run"] != second["run"]
    assert first["total"]["exported"] > second["total"]["exported"]
    rules.unlink()
    values = [done(tamis("explain", r["run"], "0:6", "--json"))["rules"][0]["threshold"] for r in (first, second)]
    assert values == [50, 150]


def test_an_export_that_was_deleted_is_written_again_with_the_same_bytes(tamis, spec):
    first = done(tamis("run", spec, "--engine", "local", "--json"))
    before = {f.name: f.read_bytes() for f in Path(first["export"]).glob("part-*")}
    shutil.rmtree(first["export"])
    second = done(tamis("run", spec, "--engine", "local", "--json"))
    assert {f.name: f.read_bytes() for f in Path(second["export"]).glob("part-*")} == before


def test_two_drivers_of_one_spec_both_end_with_the_one_run(spec, tmp_path):
    command = [str(TAMIS), "run", str(spec), "--engine", "local", "--workers", "1", "--store", "both", "--json"]
    drivers = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    ends = [driver.communicate() for driver in drivers]
    assert [d.returncode for d in drivers] == [0, 0, 0], ends
    assert len({json.loads(out)["run"] for out, _ in ends}) == 1
    assert [p.name for p in (tmp_path / "both/exports/again").iterdir()] == ["v1"]


def test_a_sidecar_that_was_cut_short_is_named_with_what_to_do(tamis, spec, tmp_path):
    first = done(tamis("run", spec, "--engine", "local", "--json"))
    for file in (tmp_path / "store/steps").glob("size-*/*.parquet"):
        file.write_bytes(file.read_bytes()[:40])
    result = tamis("what-if", first["run"], "--rule", "size.bytes>=60")
    assert result.returncode == 5
    assert "delete the folder steps/size-" in result.stderr


def test_a_run_that_is_no_run_is_a_sentence_and_exit_code_two(tamis, spec):
    done(tamis("run", spec, "--engine", "local", "--json"))
    for name in ("./spec.yaml", "..", "a//b", ""):
        result = tamis("status", name)
        assert (result.returncode, result.stderr.count("\n")) == (2, 1)
        assert "has no run" in result.stderr


def test_reading_from_a_store_that_is_not_there_creates_none(tamis, tmp_path):
    result = tamis("runs", "--store", "typo")
    assert (result.returncode, (tmp_path / "typo").exists()) == (5, False)


@pytest.mark.ray
def test_the_exported_bytes_do_not_depend_on_the_engine(tamis, spec):
    local = done(tamis("run", spec, "--engine", "local", "--json", "--store", "one"))
    ray = done(tamis("run", spec, "--engine", "ray", "--workers", "2", "--json", "--store", "two"))
    files = [{f.name: f.read_bytes() for f in Path(r["export"]).glob("part-*")} for r in (local, ray)]
    assert files[0] == files[1] != {}
