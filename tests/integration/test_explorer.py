"""An explorer over a real finished run says what reading every sidecar says."""

import json
import multiprocessing
import os
import shutil
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipelines.sample import FATES, Place, documents
from pipelines.service.explorer.explorer import Explorer
from pipelines.view import RunView
from pipelines.what_if import what_if
from stages.errors import SpecError
from stages.rules import NOT_SELECTED

COLUMNS = ["leaving.bytes", "clean.changed", "lang", "path", "copies.cluster", "copies.cluster_size"]


@pytest.fixture(scope="module")
def explorer(finished_run: RunView, tmp_path_factory: pytest.TempPathFactory) -> Explorer:
    return Explorer.open(finished_run, tmp_path_factory.mktemp("explorer") / finished_run.run)


@pytest.fixture(scope="module")
def every(finished_run: RunView) -> list[dict[str, Any]]:
    """Every document, the slow way."""
    rows = []
    for index, shard in enumerate(finished_run.shards):
        table = finished_run.read(shard, [*COLUMNS, "verdict.fate", "verdict.reasons", "verdict.text_bytes"])
        rows += [{**r, "place": Place(index, i)} for i, r in enumerate(table.to_pylist())]
    return rows


def ids(rows: Any) -> list[str]:
    return [row["doc_id"] for row in rows]


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, lambda r: True),
        ({"fate": "kept"}, lambda r: r["verdict.fate"] == "kept"),
        ({"reason": "copy"}, lambda r: "copy" in r["verdict.reasons"]),
        ({"fate": "rejected", "reason": "size/long"}, lambda r: "size/long" in r["verdict.reasons"]),
        ({"where": ["leaving.bytes>=200", ("lang", "in", ["en", "ru"])]}, lambda r: r["leaving.bytes"] >= 200 and r["lang"] in ("en", "ru")),
        ({"where": [("lang", "null", True)]}, lambda r: r["lang"] is None),
        ({"where": [("lang", "null", False), "clean.changed==true"]}, lambda r: r["lang"] is not None and r["clean.changed"]),
        ({"where": ["lang>=f"]}, lambda r: r["lang"] is not None and r["lang"] >= "f"),
    ],
)  # fmt: skip
def test_pages_hold_the_documents_that_looking_at_each_one_finds(
    explorer: Explorer, every: Any, asked: Any, wanted: Any
) -> None:
    right = [r for r in every if wanted(r)]

    for offset in (0, 1, len(right) - 2, len(right) + 5):
        found = explorer.documents(**asked, offset=max(0, offset), limit=7)
        some = right[max(0, offset) :][:7]

        assert (found.total, found.bytes) == (len(right), sum(r["verdict.text_bytes"] or 0 for r in right))
        assert ids(found.rows) == ids(some)
        assert list(found.places) == [r["place"] for r in some]
        assert [(r["fate"], r["reasons"]) for r in found.rows] == [
            (r["verdict.fate"], r["verdict.reasons"]) for r in some
        ]


@pytest.mark.parametrize("column", ["leaving.bytes", "lang", "copies.cluster_size", "clean.changed"])
def test_sorted_pages_put_least_or_most_first_and_nothing_last(explorer: Explorer, every: Any, column: str) -> None:
    rejected = [r for r in every if r["verdict.fate"] == "rejected"]
    known = sorted((r for r in rejected if r[column] is not None), key=lambda r: r[column])
    unknown = [r for r in rejected if r[column] is None]

    up = explorer.documents("rejected", sort=column, limit=len(every), columns=[column])
    down = explorer.documents("rejected", sort=f"-{column}", limit=len(every))
    deep = explorer.documents("rejected", sort=column, offset=len(known) - 3, limit=6)

    assert ids(up.rows) == ids(known + unknown)
    assert ids(down.rows) == ids(known[::-1] + unknown)
    assert ids(deep.rows) == ids((known + unknown)[len(known) - 3 :][:6])
    assert [r["values"][column] for r in up.rows] == [r[column] for r in known + unknown]


def test_documents_are_read_and_found_by_their_ids(explorer: Explorer, every: Any) -> None:
    page = explorer.documents("rejected", sort="-leaving.bytes", limit=5)

    assert ids(explorer.read(page.places)) == ids(page.rows)
    for characters in (None, 40):
        places = [r["place"] for r in every[::3]]
        assert explorer.read(places, characters) == list(documents(explorer.view, places, characters))
    assert [explorer.find(r["doc_id"]) for r in every] == [r["place"] for r in every]
    assert [explorer.find(d) for d in ("0" * 32, "f" * 32, "no hex", "")] == [None] * 4


def test_what_is_quarantined_is_listed_with_the_records_that_are_no_documents(
    explorer: Explorer, finished_run: RunView
) -> None:
    records = finished_run.quarantined().to_pylist()

    found = explorer.documents("quarantined", offset=1, limit=10)

    assert found.total == len(records) == 3
    assert [r["message"] for r in found.rows] == [r["message"] for r in records[1:]]
    assert explorer.documents("quarantined", records[0]["reason"]).total == sum(
        r["reason"] == records[0]["reason"] for r in records
    )


def test_what_if_over_a_real_run_is_what_the_sidecars_say(explorer: Explorer, finished_run: RunView) -> None:
    for rules in ([], ["leaving.bytes>=300"], ["leaving.bytes<=p40", "lang in en,fr"], ["copies.cluster_size<=1"]):
        assert explorer.what_if(rules) == what_if(finished_run, rules)


@pytest.mark.parametrize("given", [{}, {"low": 50.0, "high": 500.0}, {"low": 120, "high": 120}, {"fate": "kept"}])
def test_a_histogram_counts_every_document_once(explorer: Explorer, every: Any, given: Any) -> None:
    found = explorer.histogram("leaving.bytes", bins=9, **given)

    edges = found["edges"]
    assert edges == sorted(set(edges))
    for fate in [given["fate"]] if "fate" in given else FATES:
        values = [r["leaving.bytes"] for r in every if r["verdict.fate"] == fate]
        last = len(edges) - 2
        bins = [sum(a <= v < b or (i == last and v == b) for v in values) for i, (a, b) in enumerate(pairwise(edges))]
        assert found["counts"][fate] == bins
        outside = [sum(v < edges[0] for v in values), sum(v > edges[-1] for v in values)]
        assert [found["below"][fate], found["above"][fate], found["null"][fate]] == [*outside, 0]


def test_texts_are_counted_by_value_and_fate(explorer: Explorer, every: Any) -> None:
    found = {v["value"]: v for v in explorer.histogram("lang")["values"]}

    for value in {r["lang"] for r in every}:
        mine = [r["verdict.fate"] for r in every if r["lang"] == value]
        assert found[value] == {"value": value, **{f: mine.count(f) for f in FATES}}


@pytest.mark.parametrize("test", ["ge", "gt", "le", "lt"])
@pytest.mark.parametrize("value", [0, 100, 236, 236.5, "p50", 10**9])
def test_borderline_documents_are_the_nearest_on_each_side(
    explorer: Explorer, every: Any, test: str, value: Any
) -> None:
    found = explorer.borderline("leaving.bytes", value, 6, test=test, fate="rejected")

    limit, mine = found["value"], [r for r in every if r["verdict.fate"] == "rejected"]
    after = test in ("gt", "le")
    ordered = sorted(mine, key=lambda r: r["leaving.bytes"])
    below = [r for r in ordered if r["leaving.bytes"] < limit or (after and r["leaving.bytes"] == limit)]
    assert ids(found["below"]) == ids(below[::-1][:6])
    assert ids(found["above"]) == ids(ordered[len(below) :][:6])


def test_clusters_come_by_size_with_members_in_the_order_of_the_corpus(explorer: Explorer, every: Any) -> None:
    sizes: dict[str, list[Any]] = {}
    for row in every:
        sizes.setdefault(row["copies.cluster"], []).append(row)
    crowded = {c: rows for c, rows in sizes.items() if c is not None and len(rows) > 1}

    found = explorer.clusters("copies.cluster", limit=1000, members=3)

    assert (found["total"], found["documents"]) == (len(crowded), sum(map(len, crowded.values())))
    assert [c["size"] for c in found["clusters"]] == sorted((len(r) for r in crowded.values()), reverse=True)
    for cluster in found["clusters"]:
        members = crowded[cluster["cluster"]]
        assert ids(cluster["members"]) == ids(members[:3])
        assert cluster["kept"] == sum(m["verdict.fate"] == "kept" for m in members)
    assert explorer.clusters("copies.cluster", 1, 1, 3)["clusters"] == found["clusters"][1:2]


@pytest.mark.parametrize(
    "ask",
    [
        lambda e: e.documents("lost"),
        lambda e: e.documents(reason=NOT_SELECTED),
        lambda e: e.documents(where=["text.length>=3"]),
        lambda e: e.documents(where=[("lang", "near", "en")]),
        lambda e: e.documents(where=[("leaving.bytes", "ge", "many")]),
        lambda e: e.documents(sort="verdict.reasons"),
        lambda e: e.documents(offset=-1),
        lambda e: e.documents("quarantined", where=["lang==en"]),
        lambda e: e.histogram("verdict.reasons"),
        lambda e: e.histogram("leaving.bytes", fate="lost"),
        lambda e: e.histogram("leaving.bytes", low=5.0, high=1.0),
        lambda e: e.borderline("lang", "en"),
        lambda e: e.borderline("leaving.bytes", 5, test="eq"),
        lambda e: e.clusters("copies.clusters"),
        lambda e: e.what_if(["lang"]),
    ],
)
def test_what_cannot_be_meant_is_refused(explorer: Explorer, ask: Any) -> None:
    with pytest.raises(SpecError):
        ask(explorer)


# -- building -----------------------------------------------------------------------------------------------------------


def content(folder: Path) -> dict[str, bytes]:
    files = (p for p in sorted(folder.rglob("*")) if p.is_file() and not p.name.startswith("."))
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def build(view: RunView, folder: Path, stop_at: float = 2.0) -> None:
    def told(done: int, total: int) -> None:
        if done >= stop_at * total:
            os.kill(os.getpid(), signal.SIGKILL)

    Explorer.open(view, folder, told)


def test_a_build_that_is_killed_leaves_nothing_and_is_built_again(
    finished_run: RunView, explorer: Explorer, tmp_path: Path
) -> None:
    folder = tmp_path / finished_run.run
    for share in (0.1, 0.6, 1.0):
        child = multiprocessing.get_context("fork").Process(target=build, args=(finished_run, folder, share))
        child.start()
        child.join()
        assert child.exitcode == -signal.SIGKILL
        assert not folder.exists()
        assert len(list(tmp_path.glob(".*.part"))) == 1

    steps: list[tuple[int, int]] = []
    again = Explorer.open(finished_run, folder, lambda *step: steps.append(step))

    assert not list(tmp_path.glob(".*.part"))
    assert again.what_if([]) == explorer.what_if([])
    assert steps == sorted(steps)
    assert steps[-1][0] == steps[-1][1]


def test_builders_at_once_make_one_folder(finished_run: RunView, tmp_path: Path) -> None:
    folder = tmp_path / finished_run.run
    context = multiprocessing.get_context("fork")
    children = [context.Process(target=build, args=(finished_run, folder)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join()

    assert [child.exitcode for child in children] == [0] * 4
    assert [p.name for p in tmp_path.iterdir() if not p.name.startswith(".")] == [finished_run.run]
    assert not list(tmp_path.glob(".*.part"))


def test_arrays_of_another_run_or_format_are_built_anew(finished_run: RunView, tmp_path: Path) -> None:
    folder = tmp_path / finished_run.run
    first = Explorer.open(finished_run, folder)
    made, meta = content(folder), json.loads((folder / "meta.json").read_text())

    for changed in ({"format": 0}, {"run": "another"}, {"content": "0"}):
        (folder / "meta.json").write_text(json.dumps(meta | changed))
        assert Explorer.open(finished_run, folder).arrays.meta == meta
    (folder / "meta.json").write_text('{"format"')
    Explorer.open(finished_run, folder)
    shutil.rmtree(folder)
    Explorer.open(finished_run, folder)

    assert content(folder) == made
    assert first.documents(limit=3).total == meta["rows"]  # what was open stays readable


def test_a_column_is_read_from_its_sidecars_once_and_when_it_is_asked_for(
    finished_run: RunView, tmp_path: Path
) -> None:
    folder = tmp_path / finished_run.run
    before = sorted(p.name for p in (Explorer.open(finished_run, folder).arrays.folder / "columns").iterdir())

    Explorer.open(finished_run, folder).documents(where=["ordinal>=3"])
    stamp = (folder / "columns" / "ordinal" / "column.json").stat().st_mtime_ns
    Explorer.open(finished_run, folder).histogram("ordinal")

    assert "ordinal" not in before
    assert {"leaving.bytes", "lang", "clean.changed", "verdict.text_bytes"} <= set(before)
    assert (folder / "columns" / "ordinal" / "column.json").stat().st_mtime_ns == stamp
