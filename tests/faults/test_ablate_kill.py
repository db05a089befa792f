"""kill -9 while arms are trained: the ablation goes on, and its result is that of an undisturbed one."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ablation_runs import made

HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def command(tmp_path: Path) -> list[str]:
    """An ablation of two arms on one budget, in a store of this test's own."""
    mill = made(tmp_path)
    fields = {
        "--panel": mill["panel"],
        "--panel-bytes": "2k",
        "--tokenizer": "artifact:bpe",
        "--parameters": "30k",
        "--context": "32",
        "--budgets": "2k,4k",
        "--seeds": "1",
        "--learning-rate": "0.01",
        "--arms": "unfiltered,curated",
    }
    return ["ablate", "mill", *(part for pair in fields.items() for part in pair), "--engine", "local", "--json"]


def what_was_found(text: str) -> Any:
    """What depends on the numbers alone, not on clocks."""
    done = json.loads(text)
    kept = ("arm", "seed", "budget", "tokens", "ledger", "bits_per_byte", "domains")
    return done["ablation"], [{k: e[k] for k in kept} for e in done["endpoints"]], done["curves"]


def trained(store: Path) -> int:
    """How many steps the runs in a store have told of, in all."""
    logs = [*store.glob("trained/*/run/*.jsonl"), *store.glob("trained/trunk-*/*/*.jsonl")]
    return sum(len(log.read_bytes().splitlines()) for log in logs if log.exists())


@pytest.mark.long
def test_an_ablation_that_is_killed_three_times_ends_as_if_it_had_not_been(tamis, command, tmp_path):
    env = {**os.environ, **HERE, "TAMIS_STORE": str(tmp_path / "store")}
    for wanted in (1, 6, 12):
        running = subprocess.Popen(
            [str(Path(sys.executable).parent / "tamis"), *command],
            cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while trained(tmp_path / "store") < wanted and running.poll() is None and time.monotonic() < deadline:
            os.sched_yield()
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()

    went_on = tamis(*command, env=HERE)
    undisturbed = tmp_path / "undisturbed"
    subprocess.run(["cp", "-r", str(tmp_path / "store"), str(undisturbed)], check=True)
    for folder in ("trained", "ablations", "views"):
        subprocess.run(["rm", "-rf", str(undisturbed / folder)], check=True)
    alone = tamis(*command, env={**HERE, "TAMIS_STORE": str(undisturbed)})

    assert went_on.returncode == alone.returncode == 0, went_on.stderr + alone.stderr
    assert what_was_found(went_on.stdout) == what_was_found(alone.stdout)
