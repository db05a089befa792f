"""Several processes train what one would: the same samples, the same mean gradient, the same checkpoints."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training_runs import make_data, make_job, result, tensors, train_in_world

from trainer.job import Outcome
from trainer.journal import entries
from trainer.train import train

ROOT = Path(__file__).parents[2]
#: With a large epsilon an update is nearly linear in the gradient, so that weights show a wrong mean and not mere rounding.
LINEAR = {"learning_rate": 1.0, "epsilon": 1.0, "clip": None}


@pytest.fixture(autouse=True)
def data(tmp_path):
    make_data(tmp_path)


def assert_same(found, expected, folder):
    """The same samples, and everything else within rounding."""
    assert (found.ledger, found.steps, found.skipped) == (expected.ledger, expected.steps, expected.skipped)
    assert found.curve.nats_per_token == pytest.approx(expected.curve.nats_per_token, rel=2e-5)
    norms = [[entry["gradient_norm"] for entry in entries(folder / name)] for name in ("many", "one")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)
    for file in ("model", "optimizer"):
        one, many = tensors(expected, file), tensors(found, file)
        assert one.keys() == many.keys()
        for name, value in one.items():
            np.testing.assert_allclose(many[name], value, atol=1e-4, rtol=1e-3, err_msg=name)


@pytest.mark.parametrize(("parallel", "size"), [("ddp", 2), ("fsdp", 2), ("ddp", 4)])
def test_a_world_trains_what_one_process_does(tmp_path, parallel, size):
    expected = train(make_job(tmp_path, "one", optimizer=LINEAR))
    found = train_in_world(make_job(tmp_path, "many", optimizer=LINEAR, parallel=parallel), size)
    assert_same(found, expected, tmp_path)


@pytest.mark.parametrize("parallel", [pytest.param("ddp", marks=pytest.mark.long), "fsdp"])
def test_a_world_accumulates_recomputes_averages_and_clips_like_one_process(tmp_path, parallel):
    changes = {
        "batch_sequences": 8,
        "micro_sequences": 3,
        "checkpoint_activations": True,
        "averaging": {"kind": "ema"},
        "optimizer": {**LINEAR, "clip": 0.2},
    }
    expected = train(make_job(tmp_path, "one", **changes))
    found = train_in_world(make_job(tmp_path, "many", parallel=parallel, **changes), 2)
    assert_same(found, expected, tmp_path)
    for name, value in tensors(expected, "average").items():
        np.testing.assert_allclose(tensors(found, "average")[name], value, atol=1e-5)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_a_world_with_muon_trains_what_one_process_does(tmp_path, parallel):
    changes = {"optimizer": {**LINEAR, "kind": "muon"}, "schedule": {"steps": 6}}
    expected = train(make_job(tmp_path, "one", **changes))
    found = train_in_world(make_job(tmp_path, "many", parallel=parallel, **changes), 2)
    assert found.ledger == expected.ledger
    for name, value in tensors(expected).items():  # Muon rounds to 16 bits on the way
        np.testing.assert_allclose(tensors(found)[name], value, atol=2e-3, err_msg=name)


@pytest.mark.parametrize(("parallel", "precision"), [("ddp", "bf16"), ("fsdp", "fp32")])
def test_a_world_that_was_stopped_ends_with_the_same_bits(tmp_path, parallel, precision):
    changes = {"parallel": parallel, "precision": precision}
    undisturbed = train_in_world(make_job(tmp_path, "undisturbed", **changes), 2)
    train_in_world(make_job(tmp_path, "stopped", stop_after=9, **changes), 2)
    assert result(train_in_world(make_job(tmp_path, "stopped", **changes), 2)) == result(undisturbed)


def test_one_process_goes_on_where_two_stopped_and_the_other_way_round(tmp_path):
    expected = train(make_job(tmp_path, "one", optimizer=LINEAR))
    train_in_world(make_job(tmp_path, "many", optimizer=LINEAR, parallel="fsdp", stop_after=8), 2)
    train(make_job(tmp_path, "many", optimizer=LINEAR, stop_after=16))
    assert_same(train_in_world(make_job(tmp_path, "many", optimizer=LINEAR), 4), expected, tmp_path)


SHARDED = """
import os
import sys
from pathlib import Path
import torch
from torch import nn
from training_runs import SETTINGS
from trainer.distributed import collected, joined, spread
with joined() as world:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 5))
    expected = model[0].weight.detach().clone()
    spread(model, [], SETTINGS.model_copy(update={"parallel": "fsdp"}), world)
    assert model[0].weight.to_local().numel() < expected.numel()
    found = collected(model[0].weight)
    assert torch.equal(found, expected) if world.rank == 0 else found.numel() == 0
    (Path(sys.argv[1]) / f"{world.rank}.done").touch()
os._exit(0)  # as a training process does
"""


def test_shards_are_collected_by_the_first_process_alone(tmp_path):
    (tmp_path / "sharded.py").write_text(SHARDED)
    done = torchrun(2, tmp_path / "sharded.py", tmp_path)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in tmp_path.glob("*.done")) == ["0.done", "1.done"]


def torchrun(size, *what):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(size)]
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests/integration")])
    return subprocess.run(
        [*command, *map(str, what)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "PYTHONPATH": paths},
        check=False,
        timeout=240,
    )


def test_torchrun_trains_a_job_from_a_file(tmp_path):
    expected = train(make_job(tmp_path, "one", optimizer=LINEAR))
    job = make_job(tmp_path, "many", optimizer=LINEAR)
    (tmp_path / "job.json").write_text(job.model_dump_json())
    done = torchrun(2, "-m", "trainer.train", tmp_path / "job.json")
    assert done.returncode == 0, done.stderr
    assert_same(Outcome.model_validate(json.loads(done.stdout)), expected, tmp_path)
