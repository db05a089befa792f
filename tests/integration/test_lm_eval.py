"""The hook to lm-eval: with lm-eval in an environment of its own, and one sentence without it."""

import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from stages.errors import SpecError
from trainer.evaluate import Scorer
from trainer.lm_eval_hook import adapter, benchmarks
from trainer.model import Decoder
from trainer.settings import ModelSettings

ROOT = Path(__file__).parents[2]
VERSION = "lm-eval==0.4.13"


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """A Python that has lm-eval and, from here, everything else."""
    folder = tmp_path_factory.mktemp("lm-eval")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    found = folder / "bin/python"
    paths = {"base": str(folder), "platbase": str(folder)}
    site = Path(sysconfig.get_path("purelib", vars=paths))
    (site / "here.pth").write_text(sysconfig.get_path("purelib") + "\n")
    install = [sys.executable, "-m", "pip", "--python", str(found), "install", "--quiet", VERSION]
    done = subprocess.run(install, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{VERSION} cannot be installed here: {done.stderr.strip().splitlines()[-1]}")
    return found


@pytest.mark.long
@pytest.mark.timeout(900)
def test_lm_eval_says_of_its_tasks_what_we_say(python, tmp_path):
    env = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
    }
    command = [python, ROOT / "tests/integration/lm_eval_run.py", tmp_path]

    done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=300, check=False)

    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    for name in ("accuracy", "bits_per_byte", "rolling", "whole"):
        theirs, ours = said[name]
        assert theirs == pytest.approx(ours, rel=1e-9), name
    assert said["greedy"] == [4, [True, False]]
    assert said["exact_match"] == 0.0


def test_without_lm_eval_benchmarks_are_refused_in_one_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "lm_eval", None)  # as if it were not installed
    model = Decoder(ModelSettings(vocabulary=8, context=4, layers=1, width=8, heads=1, kv_heads=1, hidden=8))

    for call in (
        lambda: adapter(Scorer(model, 0), None, None),
        lambda: benchmarks(Scorer(model, 0), None, None, ["arc_easy"]),
    ):
        with pytest.raises(
            SpecError, match="benchmarks are run by lm-eval, which is not installed; run: pip install lm-eval"
        ):
            call()
