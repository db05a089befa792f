"""Inputs: which files a glob means, and how their table is cut into packs."""

from pathlib import Path

import pyarrow as pa
import pytest

from pipelines.inputs import check, freeze, packs
from stages.errors import DataError
from stages.sources.jsonl import Jsonl


def write(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"text": "t"}\n')
    return path


def paths(glob: Path | str) -> list[str]:
    return list(freeze("mill", Jsonl(path=str(glob)))["path"].to_pylist())


# -- globs -----------------------------------------------------------------------------------------------------------


def test_globs_match_as_in_a_shell_and_paths_are_sorted_below_the_root(tmp_path: Path) -> None:
    for name in (
        "b.jsonl",
        "a.jsonl",
        "a.txt",
        ".hidden.jsonl",
        "sub/c.jsonl",
        "sub/deep/d.jsonl",
        "水/篩.jsonl",
        "[x].jsonl",
    ):
        write(tmp_path / name)

    assert paths(tmp_path / "*.jsonl") == ["[x].jsonl", "a.jsonl", "b.jsonl"]
    assert paths(tmp_path / "**/*.jsonl") == [
        "[x].jsonl", "a.jsonl", "b.jsonl", "sub/c.jsonl", "sub/deep/d.jsonl", "水/篩.jsonl",
    ]  # fmt: skip
    assert paths(tmp_path / "*/*.jsonl") == ["sub/c.jsonl", "水/篩.jsonl"]
    assert paths(tmp_path / "s?b/**") == ["sub/c.jsonl", "sub/deep/d.jsonl"]
    assert paths(tmp_path / "**/deep/**/*.jsonl") == ["sub/deep/d.jsonl"]
    assert paths(tmp_path / "[!a].jsonl") == ["b.jsonl"]
    assert paths(tmp_path / ".h*") == [".hidden.jsonl"]
    assert paths(tmp_path / "sub") == ["c.jsonl", "deep/d.jsonl"]
    assert paths(tmp_path / "sub/c.jsonl") == ["c.jsonl"]
    assert paths(tmp_path / "[x].jsonl") == ["[x].jsonl"]


def test_a_link_in_a_circle_is_named(tmp_path: Path) -> None:
    write(tmp_path / "a/b/x.jsonl")
    (tmp_path / "a/b/up").symlink_to(tmp_path / "a")

    with pytest.raises(DataError, match="leads back to"):
        paths(tmp_path / "a/**/*.jsonl")


def test_linked_folders_and_files_are_followed(tmp_path: Path) -> None:
    write(tmp_path / "real/x.jsonl")
    (tmp_path / "in").mkdir()
    (tmp_path / "in/folder").symlink_to(tmp_path / "real")
    (tmp_path / "in/file.jsonl").symlink_to(tmp_path / "real/x.jsonl")

    assert paths(tmp_path / "in/**/*.jsonl") == ["file.jsonl", "folder/x.jsonl"]


def test_the_table_says_where_each_file_is_and_in_which_version(tmp_path: Path) -> None:
    path = write(tmp_path / "x.jsonl")
    stat = path.stat()

    table = freeze("mill", Jsonl(path=str(tmp_path / "*.jsonl")))

    assert table.to_pylist() == [
        {"source": "mill", "path": "x.jsonl", "uri": str(path), "size": stat.st_size, "version": str(stat.st_mtime_ns)}
    ]
    check(table)


# -- packs -----------------------------------------------------------------------------------------------------------


def files(sizes: dict[str, int]) -> pa.Table:
    names = sorted(sizes)
    return pa.table(
        {
            "source": ["mill"] * len(names),
            "path": names,
            "uri": [f"/x/{n}" for n in names],
            "size": [sizes[n] for n in names],
            "version": ["1"] * len(names),
        }
    )


def test_packs_are_neighbours_that_cover_every_file_once() -> None:
    table = files({f"{i:05d}": 1 + (i * 7919) % 3000 for i in range(3000)} | {"01500big": 10**7})

    found = packs(table, 100_000)

    assert [p.start for p in found] == [0, *(p.stop for p in found[:-1])]
    assert found[-1].stop == 3001
    sizes = table["size"].to_numpy()
    totals = [int(sizes[p.start : p.stop].sum()) for p in found if p.stop - p.start > 1]
    assert max(totals) <= 200_000 + 3000
    assert 30_000 < sum(totals) / len(totals) < 120_000
    assert [(p.stop - p.start) for p in found if table["path"][p.start].as_py() == "01500big"] == [1]


@pytest.mark.parametrize("added", ["00000a", "01234a", "02999a"])
def test_an_added_file_changes_one_pack_or_a_few_neighbours(added: str) -> None:
    sizes = {f"{i:05d}": 1 + (i * 7919) % 3000 for i in range(3000)}
    before, after = (packs(files(s), 100_000) for s in (sizes, sizes | {added: 900}))

    gone = {p.name for p in before} - {p.name for p in after}

    assert len(gone) <= 2
    assert len(before) > 30


def test_a_pack_is_named_by_its_files_where_they_are_and_their_versions_alone(tmp_path: Path) -> None:
    sizes = {f"{i:05d}": 1000 for i in range(50)}
    changed = files(sizes).set_column(4, "version", pa.array(["2", *["1"] * 49]))
    moved = files(sizes).set_column(2, "uri", pa.array([f"/y/{n}" for n in sorted(sizes)]))

    names = [p.name for p in packs(files(sizes), 10_000)]

    assert names == [p.name for p in packs(files(sizes | {"99999": 10**9}), 10_000)][: len(names)]
    assert names[0] != packs(changed, 10_000)[0].name
    assert names[1:] == [p.name for p in packs(changed, 10_000)][1:]
    assert not set(names) & {p.name for p in packs(moved, 10_000)}


def test_small_and_large_files_come_in_order_and_small_ones_in_bounded_groups() -> None:
    sizes = {"a": 3, "b": 9, "c": 4, "d": 4, "e": 4, "f": 20, "g": 30, "h": 0}
    [pack] = packs(files(sizes), 10_000)

    groups = [[f.path for f in group] for group in pack.files(files(sizes)).groups(small=9, together=12)]

    assert groups == [["a", "b"], ["c", "d", "e"], ["f"], ["g"], ["h"]]
