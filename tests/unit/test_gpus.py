"""GPUs are shared out among processes by locks that end with them."""

import subprocess
import sys
from pathlib import Path

import pytest

from trainer import gpus

HERE = str(Path(__file__).parents[2])
CODE = """
import sys
from pathlib import Path
from trainer.gpus import take_one
print(take_one(Path(sys.argv[1])), take_one(Path(sys.argv[1])), flush=True)
sys.stdin.read()
"""


def taker(folder: Path, devices: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", CODE, str(folder)],
        env={"PYTHONPATH": HERE, "CUDA_VISIBLE_DEVICES": devices},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_processes_take_different_gpus_and_keep_them(tmp_path):
    with taker(tmp_path, "3,5") as one:
        assert said(one) == "3 3"
        with taker(tmp_path, "3,5") as two:
            assert said(two) == "5 5"
            two.kill()
        one.kill()


def test_a_gpu_is_free_again_when_its_process_was_killed(tmp_path):
    with taker(tmp_path, "7") as one:
        assert said(one) == "7 7"
        with taker(tmp_path, "7") as two:
            one.kill()
            assert said(two) == "7 7"
            two.kill()


@pytest.mark.parametrize(("given", "found"), [("0,1", ["0", "1"]), ("", []), ("-1", []), (" 2 ", ["2"])])
def test_the_gpus_of_a_process_are_those_that_it_may_see(monkeypatch, given, found):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)

    assert gpus.visible() == found


def test_a_machine_without_gpus_gives_none(tmp_path):
    with taker(tmp_path, "") as one:
        assert said(one) == "None None"
        one.kill()
