import os
import subprocess
import sys
from pathlib import Path

import pytest

from stages.failpoints import failpoint


def test_without_the_variable_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TAMIS_FAILPOINTS", raising=False)
    failpoint("anything")


def test_only_the_named_place_acts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_FAILPOINTS", "a.b:kill,here.now:error")

    failpoint("here")
    with pytest.raises(OSError, match=r"failpoint here\.now"):
        failpoint("here.now")


def test_a_hit_counts_from_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_FAILPOINTS", "third.time:error@3")

    failpoint("third.time")
    failpoint("third.time")
    with pytest.raises(OSError, match="third"):
        failpoint("third.time")


def test_once_is_once_for_all_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAMIS_FAILPOINTS", "once.only:error")
    monkeypatch.setenv("TAMIS_FAILPOINTS_ONCE", str(tmp_path))

    with pytest.raises(OSError, match="once"):
        failpoint("once.only")
    failpoint("once.only")


def test_an_unknown_action_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_FAILPOINTS", "a:explode")

    with pytest.raises(ValueError, match="explode"):
        failpoint("a")


def test_kill_ends_the_process_without_a_word() -> None:
    code = "from stages.failpoints import failpoint; failpoint('x'); print('still here')"
    ended = subprocess.run(
        [sys.executable, "-c", code], env=os.environ | {"TAMIS_FAILPOINTS": "x:kill"}, capture_output=True, check=False
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (-9, b"", b"")
