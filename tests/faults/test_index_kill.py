"""kill -9 leaves an index as it was or as it was to be, and the same command comes to the same end."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from index_runs import coming, name_of, table, two_runs

from pipelines.api import index_add, index_info, index_query, index_remove
from pipelines.index.chain import PLACES
from pipelines.index.embedded import Embedded
from pipelines.progress import NullWatch

#: Places of the store and of commits that an index passes.
ELSEWHERE = (
    "data.before_put",
    "data.after_put",
    "commit.before_put",
    "commit.after_put",
    "store.before_link",
    "store.after_link",
    "store.before_rename",
    "store.after_rename",
    "store.after_rename@5",
)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs, the first of which is in the index 'seen'."""
    folder = tmp_path_factory.mktemp("runs")
    two_runs(folder)
    index_add("seen", "first", store=folder / "store")
    return folder


@pytest.fixture
def folder(prepared: Path, tmp_path: Path) -> Path:
    """A copy of what was prepared."""
    shutil.copytree(prepared, tmp_path, dirs_exist_ok=True)
    return tmp_path


def state(folder: Path, index: str = "seen") -> Any:
    """What an index says of itself and of every document of both runs."""
    info = index_info(index, store=folder / "store")
    asked = index_query(index, [folder / "first", folder / "second"], store=folder / "store")
    return info["snapshot"], info["documents"], info["corpora"], asked["results"]


def killed(tamis: Any, folder: Path, place: str, *command: str) -> None:
    name, _, hit = place.partition("@")
    env = {"TAMIS_FAILPOINTS": f"{name}:kill@{hit or 1}"}
    assert tamis("index", *command, "--store", folder / "store", env=env).returncode == -9, place


@pytest.mark.parametrize(
    "place", [*PLACES, "data.after_put@3", *(pytest.param(p, marks=pytest.mark.long) for p in ELSEWHERE)]
)
def test_a_killed_add_leaves_the_old_or_the_new_index(tamis, folder, place):
    old = state(folder)
    killed(tamis, folder, place, "add", "seen", "second")
    left = state(folder)
    index_add("seen", "second", store=folder / "store")
    new = state(folder)

    assert left[1:] in (old[1:], new[1:])
    assert left[0] == (old if left[1:] == old[1:] else new)[0] or left[1:] == new[1:]
    assert new[1] == 80
    again = index_add("seen", "second", store=folder / "store")
    assert again["added"] == 0
    assert state(folder) == new


@pytest.mark.parametrize("place", [*PLACES, "data.after_put", "commit.after_put", "store.after_link"])
def test_a_killed_removal_leaves_the_old_or_the_new_index(tamis, folder, place):
    old = state(folder)
    killed(tamis, folder, place, "remove", "seen", "doc-7", "doc-30")
    left = state(folder)
    new = state(folder)
    if left == old:
        index_remove("seen", ["doc-7", "doc-30"], store=folder / "store")
        new = state(folder)

    assert left in (old, new)
    assert new[1] == 38
    twins = {t["id"] for d in new[3] for t in d.get("matches", [])}
    assert not twins & {"doc-7", "doc-30"}


@pytest.mark.parametrize(
    "place",
    [
        f"{PLACES[0]}@2",
        "data.after_put@8",
        *(pytest.param(place, marks=pytest.mark.long) for place in (f"{PLACES[1]}@2", "commit.before_put@2")),
    ],
)
def test_a_killed_merge_changes_no_answer(tamis, folder, place):
    from pipelines.store import Store  # noqa: PLC0415 - this test builds an index by hand

    store = Store.open(folder / "store")
    manifest = Embedded(store, "seen").snapshot.manifest
    sizes = [[name_of(10 * part + i) for i in range(40)] for part in range(2)]
    for part, names in enumerate(sizes):
        wide = [(part,) * manifest.configuration.permutations] * len(names)
        Embedded(store, "seen").add(coming(str(part), table(names, wide)), NullWatch())
    killed(tamis, folder, place, "add", "seen", "second")  # the fourth of one size: it merges
    left = state(folder)

    index_add("seen", "second", store=folder / "store")
    index_remove("seen", ["doc-1"], store=folder / "store")

    assert left[1] == 160
    after = state(folder)
    assert after[1] == 159
    kept = [[t for t in d.get("matches", []) if t["id"] != "doc-1"] for d in left[3]]
    assert [d.get("matches", []) for d, k in zip(after[3], kept, strict=True) if len(k) == 3] == [
        k for k in kept if len(k) == 3
    ]


def test_a_first_add_that_is_killed_leaves_no_index(tamis, folder):
    killed(tamis, folder, "index.before_manifest", "add", "new", "first")

    answer = tamis("index", "info", "new", "--store", folder / "store")
    assert (answer.returncode, "did you mean" in answer.stderr or "known: seen" in answer.stderr) == (2, True)
    assert index_add("new", "first", store=folder / "store")["added"] == 40
    assert state(folder, "new") == state(folder, "seen")
