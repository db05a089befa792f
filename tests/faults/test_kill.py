"""kill -9 is a normal event: the same command goes on, exports the same bytes, and computes nothing twice."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
#: Every named place of the pipelines, found in the source, so that a new one is tested without a change here.
FAILPOINTS = sorted(
    {n for f in (ROOT / "pipelines").glob("**/*.py") for n in re.findall(r'failpoint\("([^"]+)"\)', f.read_text())}
)


#: Those that every run of the tests kills at; the others are marked `long`, but for the ones that no run of a spec passes.
OFTEN = {"commit.after_put", "export.before_publish", "discard.before_delete"}
PLACES = [
    pytest.param(place, marks=[] if place in OFTEN else pytest.mark.long)
    for place in FAILPOINTS
    if not place.startswith(("label.", "index."))  # tests of their own kill there
]


@pytest.fixture
def spec(tmp_path: Path, corpus: Path) -> Path:
    value = {
        "name": "kill",
        "source": {"kind": "jsonl", "path": f"{corpus.name}/*.jsonl"},
        "measure": {
            "clean": {"kind": "normalize"},
            "copies": {"kind": "exact_duplicates"},
            "sketch": {"kind": "minhash", "ngram": 2},
            "near-copies": {"kind": "near_duplicates", "of": "sketch", "verify": True},
        },
        "keep": [
            {"column": "leaving.bytes", "ge": 100, "on_null": "drop", "reason": "short"},
            {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
            {"one_of": "near-copies.cluster", "by": "longest", "reason": "near-copy"},
        ],
        "select": {
            "kind": "budget",
            "by": "leaving.bytes",
            "count": "leaving.bytes",
            "amount": 9000,
            "temperature": 50,
            "seed": 1,
        },
        "order": {"kind": "curriculum", "by": "leaving.bytes", "phases": 3, "mix": 0.3, "seed": 1},
        "write": {"kind": "parquet", "shard_bytes": 2000},
    }
    path = tmp_path / "spec.yaml"
    path.write_text(yaml.safe_dump(value))
    return path


def exported(path: str) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(Path(path).glob("*.parquet"))}


def committed(store: Path) -> dict[str, tuple[int, bytes]]:
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in store.glob("steps/*/commits/*.json")}


def run(tamis: Any, spec: Path, store: str, env: dict[str, str] | None = None) -> Any:
    return tamis("run", spec, "--engine", "local", "--workers", "2", "--json", "--store", store, env=env)


_undisturbed: dict[str, bytes] = {}


@pytest.fixture
def undisturbed(tamis: Any, spec: Path) -> dict[str, bytes]:
    """What the spec exports when nothing happens; computed once, since the corpus is always the same."""
    if not _undisturbed:
        _undisturbed.update(exported(json.loads(run(tamis, spec, "undisturbed").stdout)["export"]))
    return _undisturbed


def finish(tamis: Any, spec: Path, store: Path, undisturbed: dict[str, bytes]) -> None:
    """Run to the end and compare: the same bytes, and what was committed before was left alone."""
    before = committed(store)
    result = run(tamis, spec, store.name)
    assert result.returncode == 0, result.stderr
    done = json.loads(result.stdout)
    assert exported(done["export"]) == undisturbed
    after = committed(store)
    swept = {p for p in before if p not in after}
    assert all("copies-" in p or "choice-" in p for p in swept), "only the files of a finished shuffle are deleted"
    assert {p: after[p] for p in before if p not in swept} == {p: v for p, v in before.items() if p not in swept}
    total = done["total"]
    assert total["documents_in"] == total["exported"] + total["rejected"] + total["quarantined"] == 120
    assert total["quarantined"] == 0


def test_the_places_where_every_run_of_the_tests_kills_exist():
    assert set(FAILPOINTS) >= OFTEN


@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_any_named_place_changes_nothing(tamis, spec, tmp_path, undisturbed, place):
    once = tmp_path / "once"
    once.mkdir()
    env = {"TAMIS_FAILPOINTS": f"{place}:kill", "TAMIS_FAILPOINTS_ONCE": str(once)}
    run(tamis, spec, "killed", env)
    finish(tamis, spec, tmp_path / "killed", undisturbed)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 8))])
def test_kills_of_the_whole_group_at_random_moments_change_nothing(tamis, spec, tmp_path, undisturbed, seed):
    moments = random.Random(seed)
    command = [str(Path(sys.executable).parent / "tamis"), "run", str(spec), "--engine", "local", "--store", "killed"]
    for _ in range(3):
        driver = subprocess.Popen(
            command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )
        try:
            driver.wait(timeout=moments.uniform(0.2, 2.5))
        except subprocess.TimeoutExpired:
            os.killpg(driver.pid, signal.SIGKILL)
            driver.wait()
    finish(tamis, spec, tmp_path / "killed", undisturbed)
