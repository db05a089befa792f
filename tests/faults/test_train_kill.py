"""kill -9 is a normal event: training goes on from the newest whole checkpoint and ends with the same bits."""

import os
import random
import re
import signal
from pathlib import Path

import pytest
from training_runs import make_data, make_job, result, start, steps

from trainer.checkpoint import listed, read
from trainer.journal import entries
from trainer.train import train

ROOT = Path(__file__).parents[2]
#: Every named place of the trainer, found in the source, so that a new one is tested without a change here.
PLACES = sorted(
    {
        name
        for file in (ROOT / "trainer").glob("**/*.py")
        for name in re.findall(r'failpoint\("([^"]+)"\)', file.read_text())
    }
)


#: Places between two others of these; killed at with the long tests alone.
SELDOM = {"trainer.checkpoint.begun", "trainer.checkpoint.before_rename", "trainer.checkpoint.before_delete"}


def killed(job, failpoints):
    process = start(job, failpoints)
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, failpoints


def logged(folder):
    log = folder / "log.jsonl"
    return log.read_bytes().count(b"\n") if log.exists() else 0


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_three_kills_at_any_steps_change_no_bit(tmp_path, precision, seed):
    make_data(tmp_path)
    undisturbed = train(make_job(tmp_path, "undisturbed", precision=precision))
    job = make_job(tmp_path, "killed", precision=precision, checkpoint_every=5)
    moments = random.Random(seed)
    for _ in range(3):
        begun = max(steps(tmp_path / "killed"), default=0)
        killed(job, f"trainer.step.updated:kill@{moments.randint(2, min(12, 24 - begun))}")
    assert result(train(job)) == result(undisturbed)


@pytest.mark.parametrize("place", [pytest.param(p, marks=[pytest.mark.long] if p in SELDOM else []) for p in PLACES])
def test_a_kill_at_any_named_place_changes_no_bit(tmp_path, place):
    make_data(tmp_path)
    undisturbed = train(make_job(tmp_path, "undisturbed", averaging={"kind": "ema"}))
    job = make_job(tmp_path, "killed", averaging={"kind": "ema"}, checkpoint_every=3)
    for hit in (1, 2, 3):  # a place may be passed more often than a checkpoint is written
        killed(job, f"{place}:kill@{hit}")
        assert [read(path).step for _, path in listed(tmp_path / "killed")] == steps(tmp_path / "killed"), (
            "all are whole"
        )
    assert result(train(job)) == result(undisturbed)
    assert steps(tmp_path / "killed") == [21, 24]
    assert not [path.name for path in (tmp_path / "killed").iterdir() if path.name.startswith((".making", ".deleting"))]


def test_a_kill_from_outside_at_any_moment_changes_no_bit(tmp_path):
    make_data(tmp_path)
    schedule = {"kind": "cosine", "steps": 80}
    undisturbed = train(make_job(tmp_path, "undisturbed", schedule=schedule))
    job = make_job(tmp_path, "killed", schedule=schedule, checkpoint_every=1)
    for lines in (5, 25, 50):
        process = start(job)
        while process.is_alive() and logged(tmp_path / "killed") < lines:
            process.join(0.001)
        os.kill(process.pid, signal.SIGKILL)
        process.join(120)
        assert process.exitcode == -signal.SIGKILL
    assert result(train(job)) == result(undisturbed)


def test_the_log_of_a_killed_run_has_every_step_once(tmp_path):
    make_data(tmp_path)
    job = make_job(tmp_path, checkpoint_every=5)
    killed(job, "trainer.step.updated:kill@9")
    train(job)
    assert [entry["step"] for entry in entries(tmp_path / "run")] == list(range(1, 25))
