"""kill -9 while labels are paid for: what was answered is kept, and no text is asked about twice."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chat_server import serving
from label_runs import judge, mail_run, profile

BUDGET = 40
#: The packages of this checkout, wherever they are installed from.
HERE = {"PYTHONPATH": str(Path(__file__).parents[2])}


@pytest.fixture
def labelled(tmp_path: Path) -> Any:
    """A run to label, the command, and a log of what the server was asked."""
    mail_run(tmp_path, documents=120)
    log = tmp_path / "asked.jsonl"
    with serving(judge(log)) as chat:
        command = ["label", "mails", "--learner", "kept", "--oracle", f"llm:{profile(tmp_path, chat.url)}", "--pool"]
        command += ["all", "--budget", str(BUDGET), "--rounds", "3", "--patience", "0", "--engine", "local", "--json"]
        yield command, log


def asked(log: Path) -> list[str]:
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.mark.parametrize(
    "place",
    [
        "label.after_answer:kill@11",
        pytest.param("label.after_picks:kill@2", marks=pytest.mark.long),
        pytest.param("label.before_round:kill@2", marks=pytest.mark.long),
    ],
)
def test_a_kill_between_two_answers_loses_none_of_them(tamis, labelled, tmp_path, place):
    command, log = labelled
    once = tmp_path / "once"
    once.mkdir()
    killed = tamis(*command, env={**HERE, "TAMIS_FAILPOINTS": place, "TAMIS_FAILPOINTS_ONCE": str(once)})
    assert killed.returncode == -signal.SIGKILL
    before = asked(log)
    assert 0 < len(before) < BUDGET

    done = tamis(*command, env=HERE)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["labels"].values()) == BUDGET
    assert len(asked(log)) == len(set(asked(log))) == BUDGET, "every text was asked about exactly once"
    assert asked(log)[: len(before)] == before


def test_kills_at_any_moment_cost_the_one_answer_that_was_under_way(tamis, labelled, tmp_path):
    command, log = labelled
    env = {**os.environ, **HERE, "TAMIS_STORE": str(tmp_path / "store")}
    kills = 0
    for wanted in (3, 12, 25):
        running = subprocess.Popen(
            [str(Path(sys.executable).parent / "tamis"), *command],
            cwd=tmp_path, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 120
        while len(asked(log)) < wanted and running.poll() is None and time.monotonic() < deadline:
            os.sched_yield()
        os.killpg(running.pid, signal.SIGKILL)
        running.wait()
        kills += 1

    done = tamis(*command, env=HERE)
    assert done.returncode == 0, done.stderr
    assert sum(json.loads(done.stdout)["labels"].values()) == BUDGET
    again = Counter(asked(log))
    assert len(again) == BUDGET
    assert sum(n - 1 for n in again.values()) <= kills
