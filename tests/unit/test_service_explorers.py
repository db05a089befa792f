"""Browsers of runs: made once however many ask, told as preparing meanwhile, given up when the service closes."""

import fcntl
import os
import threading
import time

import pytest

from pipelines.api import Options, run
from pipelines.service.errors import PreparingError
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.explorer.parts import UNUSED_SECONDS
from pipelines.service.explorers import AT_ONCE, PAIRS, Explorers
from pipelines.spec import from_data
from pipelines.store import Store
from pipelines.view import RunView
from stages.errors import StorageError


@pytest.fixture(scope="module")
def view(tmp_path_factory):
    folder = tmp_path_factory.mktemp("explorers")
    lines = [f'{{"text": "A text of so many words, number {i}."}}\n' for i in range(20)]
    (folder / "in.jsonl").write_text("".join(lines))
    spec = {
        "name": "few",
        "source": {"kind": "jsonl", "path": str(folder / "in.jsonl")},
        "measure": {"stats": {"kind": "text_stats"}},
        "keep": [{"column": "stats.words", "ge": 3, "on_null": "drop", "reason": "short"}],
        "write": {"kind": "parquet"},
    }
    done = run(from_data(spec, folder), store=folder / "store", options=Options(engine="local"))
    return RunView.open(Store.open(str(folder / "store")), done["run"])


@pytest.fixture
def explorers(tmp_path):
    made = Explorers(tmp_path)
    yield made
    made.close()


def held(view, times=1):
    """What opens a view when it is let, with the events that say that it was asked and that it may."""
    asked, may = threading.Semaphore(0), threading.Event()

    def opened():
        asked.release()
        may.wait()
        return view

    return opened, asked, may


def test_who_asks_while_a_browser_is_made_is_told_how_far_it_is_and_gets_the_one_that_was_made(explorers, view):
    opened, asked, may = held(view)
    explorers.prepare(view.run, opened)
    asked.acquire()
    with pytest.raises(PreparingError) as error:
        explorers.get(view.run, opened, patience=0)
    told = error.value.problem()
    assert (told["type"], told["status"], told["run"], told["part"]) == ("preparing-error", 503, view.run, 0.0)
    may.set()
    first = explorers.get(view.run, opened)
    assert explorers.get(view.run, opened) is first
    assert first.documents(limit=0).total == 20
    assert not asked.acquire(blocking=False)  # nobody opened the run once more


def test_a_run_is_made_beside_one_that_takes_long(explorers, view):
    opened, asked, may = held(view)
    explorers.prepare("large", opened)
    asked.acquire()
    assert AT_ONCE == 2
    assert explorers.get(view.run, lambda: view).view is view
    may.set()


def test_what_went_wrong_is_told_to_who_asks_and_tried_again_for_the_next(explorers, view):
    def torn():
        raise StorageError("a sidecar is missing")

    with pytest.raises(StorageError, match="a sidecar is missing"):
        explorers.get(view.run, torn)
    assert explorers.get(view.run, lambda: view).view is view


def test_closing_ends_what_is_being_made_and_leaves_nothing_under_its_name(tmp_path, view):
    explorers = Explorers(tmp_path)
    opened, asked, may = held(view)
    explorers.prepare(view.run, opened)
    asked.acquire()
    closing = threading.Thread(target=explorers.close)
    closing.start()
    assert explorers.closing.wait(60)
    may.set()
    closing.join()
    assert not (tmp_path / view.run).exists()


def test_arrays_that_nobody_asked_for_lately_go_longest_ago_first_and_open_ones_stay(tmp_path, view):
    long_ago = time.time() - 2 * UNUSED_SECONDS
    explorers = Explorers(tmp_path)
    size = 0
    for number, name in enumerate(("old", "older", f"{PAIRS}/a+b", view.run)):
        Explorer.open(view, tmp_path / name)
        size = sum(f.stat().st_size for f in (tmp_path / name).rglob("*") if f.is_file())
        os.utime(tmp_path / name, (long_ago - number, long_ago - number))
    found = explorers.get(view.run, lambda: view)
    assert explorers.tidy(4 * size) == []
    os.utime(tmp_path / view.run, (0, 0))
    assert explorers.tidy(3 * size) == ["a+b"]
    assert explorers.tidy(2 * size) == ["older"]
    os.utime(tmp_path / "old")
    assert explorers.tidy(0) == [], "one was asked for just now, the other is open"
    assert found.documents(limit=0).total == 20
    assert sorted(p.name for p in tmp_path.iterdir() if not p.name.startswith(".")) == sorted(["old", PAIRS, view.run])
    explorers.close()
    later = Explorers(tmp_path)
    os.utime(tmp_path / view.run, (0, 0))
    assert later.tidy(0) == [view.run]
    assert later.get(view.run, lambda: view).documents(limit=0).total == 20, "it is made again"
    later.close()


def test_arrays_that_are_made_just_now_are_left_alone_and_what_dead_builds_left_goes(tmp_path, view):
    explorers = Explorers(tmp_path)
    Explorer.open(view, tmp_path / "busy")
    for part in (".killed.x1.part", ".busy.x2.part"):
        (tmp_path / part).mkdir()
    os.utime(tmp_path / "busy", (0, 0))
    with (tmp_path / ".busy.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert explorers.tidy(0) == []
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir()) == [".busy.x2.part", "busy"]
    assert explorers.tidy(0) == ["busy"]
    assert [p.name for p in tmp_path.iterdir() if p.is_dir()] == []
    explorers.close()
