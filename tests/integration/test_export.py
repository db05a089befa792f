"""An export holds the kept documents in order, whole or not at all, with bytes that depend on them alone."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard
from export_runs import committed_run, content, cut, data, documents_of, exported, in_store

from pipelines.engine_local import LocalEngine
from pipelines.export import Request
from pipelines.export_columns import DOCUMENT_COLUMNS
from pipelines.export_places import InFolder
from pipelines.store import Store
from stages.errors import SpecError, StorageError
from stages.sinks.jsonl import Jsonl
from stages.sinks.parquet import Parquet


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as found:
        yield found


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shard_bytes", [1, 300, 10_000_000])
def test_files_hold_the_kept_documents_in_order_cut_by_the_bytes_before_them(
    store: Store, tmp_path: Path, engine: LocalEngine, seed: int, shard_bytes: int
) -> None:
    documents = documents_of(seed)

    result = exported(InFolder(tmp_path / "out"), committed_run(store, documents, 5), engine, shard_bytes=shard_bytes)

    files = [pq.read_table(io.BytesIO(found)).to_pylist() for found in data(tmp_path / "out").values()]
    kept = [d for d in documents if d["keep"]]
    assert files == cut(documents, shard_bytes)
    assert (result["documents"], result["bytes"]) == (len(kept), sum(len(d["text"].encode()) for d in kept))


def test_bytes_depend_on_the_documents_alone_and_not_on_shards_workers_or_the_run(tmp_path: Path) -> None:
    documents = documents_of(11)
    found = []
    for number, (size, workers) in enumerate([(3, 1), (1000, 3)]):
        store = Store.open(tmp_path / f"store-{number}")
        run = committed_run(store, documents, size, run=f"run-{number}")
        with LocalEngine(workers) as engine:
            found.append(data(exported(in_store(store, run), run, engine)["path"]))

    assert len(found[0]) > 3
    assert found[0] == found[1]
    assert not any(b"run-0" in bytes_ for bytes_ in found[0].values())


def test_the_manifest_checksums_card_and_croissant_tell_what_is_there(store: Store, engine: LocalEngine) -> None:
    documents = documents_of(5)
    run = committed_run(store, documents, 6)

    folder = Path(exported(in_store(store, run), run, engine)["path"])

    files = data(folder)
    manifest = json.loads((folder / "manifest.json").read_bytes())
    sums = {name: hashlib.sha256(found).hexdigest() for name, found in files.items()}
    assert folder == Path(store.url) / "exports" / "web" / "v1"
    assert {f["name"]: (f["rows"], f["bytes"], f["sha256"]) for f in manifest["files"]} == {
        name: (pq.read_metadata(io.BytesIO(found)).num_rows, len(found), sums[name]) for name, found in files.items()
    }
    assert manifest["total"]["documents"] == sum(d["keep"] for d in documents)
    assert (folder / "SHA256SUMS").read_text() == "".join(f"{sums[n]}  {n}\n" for n in files)
    header = yaml.safe_load((folder / "README.md").read_text(encoding="utf-8").split("---\n")[1])
    assert (header["language"], header["configs"]) == (
        ["en"], [{"config_name": "default", "data_files": "*.parquet"}]
    )  # fmt: skip
    croissant = json.loads((folder / "croissant.json").read_bytes())
    listed = {f["name"]: f["sha256"] for f in croissant["distribution"] if f["@type"] == "cr:FileObject"}
    assert listed == sums
    assert [f["name"] for f in croissant["recordSet"][0]["field"]] == list(DOCUMENT_COLUMNS)


def test_when_everything_is_rejected_there_is_one_valid_file_without_documents(
    store: Store, tmp_path: Path, engine: LocalEngine
) -> None:
    run = committed_run(store, documents_of(3, keep=0.0), 5)

    result = exported(InFolder(tmp_path / "out"), run, engine)

    (found,) = data(tmp_path / "out").values()
    assert pq.read_table(io.BytesIO(found)).to_pylist() == []
    assert pq.read_schema(io.BytesIO(found)).equals(pa.schema([(n, pa.string()) for n in DOCUMENT_COLUMNS]))
    assert (result["documents"], result["bytes"], result["files"]) == (0, 0, 1)


def test_jsonl_holds_the_same_documents(store: Store, tmp_path: Path, engine: LocalEngine) -> None:
    documents = documents_of(8)

    exported(InFolder(tmp_path / "out"), committed_run(store, documents, 5), engine, Jsonl())

    lines = []
    for found in data(tmp_path / "out").values():
        with zstandard.ZstdDecompressor().stream_reader(found, read_across_frames=True) as reader:
            lines += [json.loads(line) for line in reader.read().decode().split("\n")[:-1]]
    kept = [{n: d[n] for n in DOCUMENT_COLUMNS if d[n] is not None} for d in documents if d["keep"]]
    assert lines == [d | {"meta": json.loads(d["meta"])} for d in kept]


# -- versions ----------------------------------------------------------------------------------------------------------


def test_the_same_run_has_one_version_and_another_run_of_the_name_gets_the_next(
    store: Store, engine: LocalEngine
) -> None:
    first = committed_run(store, documents_of(1), 5, run="run-1")
    second = committed_run(store, documents_of(2), 5, run="run-2")

    paths = [exported(in_store(store, run), run, engine)["path"] for run in (first, second, first, second)]

    assert [Path(p).name for p in paths] == ["v1", "v2", "v1", "v2"]


@pytest.mark.parametrize(("runs", "versions"), [(("run-1", "run-2"), {"v1", "v2"}), (("run-1", "run-1"), {"v1"})])
def test_runs_that_race_for_a_name_each_end_with_their_own_whole_version(
    store: Store, runs: tuple[str, str], versions: set[str]
) -> None:
    made = [committed_run(store, documents_of(4), 5, run=run) for run in runs]
    found: list[dict[str, Any]] = []

    def work(run: Any) -> None:
        with LocalEngine(1) as engine:
            found.append(exported(in_store(store, run), run, engine))

    threads = [threading.Thread(target=work, args=(run,)) for run in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert {Path(f["path"]).name for f in found} == versions
    assert {p.name for p in (Path(store.url) / "exports" / "web").iterdir()} == versions
    assert len({pickle.dumps(data(f["path"])) for f in found}) == 1


def test_a_folder_that_holds_something_else_is_refused_and_left_alone(
    store: Store, tmp_path: Path, engine: LocalEngine
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")

    with pytest.raises(SpecError, match="is not empty; give --out a folder"):
        exported(InFolder(out), committed_run(store, documents_of(1), 5), engine)

    assert content(out) == {"mine.txt": b"mine"}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "store"]


def test_an_empty_folder_is_filled_and_the_same_export_again_is_found_there(
    store: Store, tmp_path: Path, engine: LocalEngine
) -> None:
    run = committed_run(store, documents_of(1), 5)
    (tmp_path / "out").mkdir()
    first = exported(InFolder(tmp_path / "out"), run, engine)
    before = {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")}

    again = exported(InFolder(tmp_path / "out"), run, engine)

    assert again["documents"] == first["documents"]
    assert {p: p.stat().st_mtime_ns for p in tmp_path.rglob("*")} == before


def test_a_verdict_that_is_gone_is_an_error_that_says_what_to_do(store: Store, engine: LocalEngine) -> None:
    run = committed_run(store, documents_of(1), 5)
    store.delete(f"steps/verdict-0/commits/{run[1].shards[0].digest}.json")

    with pytest.raises(StorageError, match="run the spec again"):
        exported(in_store(store, run), run, engine)


# -- sudden death ------------------------------------------------------------------------------------------------------

DRIVER = """
import pickle, sys
from pipelines.engine_local import LocalEngine
from pipelines.execute import Execution
from pipelines.export import export
from pipelines.progress import NullWatch
from pipelines.spec import Limits
if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        request, verdicts, place = pickle.load(file)
    with LocalEngine(1) as engine:
        execution = Execution(verdicts.store, verdicts.shards, Limits(), lambda: engine, NullWatch())
        print(export(request, verdicts, place, execution)["path"])
"""


@pytest.fixture
def killed(tmp_path: Path) -> Callable[[Any, str], int]:
    """Run an export in a process of its own that dies at a failpoint; gives its exit status."""

    def run(work: Any, failpoint: str) -> int:
        (tmp_path / "work.pickle").write_bytes(pickle.dumps(work))
        (tmp_path / "driver.py").write_text(DRIVER)
        command = [sys.executable, str(tmp_path / "driver.py"), str(tmp_path / "work.pickle")]
        done = subprocess.run(
            command, env={**os.environ, "TAMIS_FAILPOINTS": failpoint}, capture_output=True, timeout=60, check=False
        )
        return done.returncode

    return run


#: Where a process dies, and whether the export dies with it: a worker's death is mended when its task, tried again,
#: gets past the place.
POINTS = [
    ("export.between_puts:kill", True),
    ("export.after_publish:kill", True),
    *(
        pytest.param(place, fatal, marks=pytest.mark.long)
        for place, fatal in (
            ("export.before_put:kill", True),
            ("export.between_puts:kill@2", False),
            ("export.after_put:kill", False),
            ("export.before_publish:kill", True),
            ("export.before_note:kill", True),
            ("export.after_note:kill", True),
        )
    ),
]


@pytest.mark.parametrize(("failpoint", "fatal"), POINTS)
def test_a_kill_at_any_write_and_then_a_rerun_give_one_version_with_the_same_content(
    tmp_path: Path, engine: LocalEngine, killed: Callable[[Any, str], int], failpoint: str, *, fatal: bool
) -> None:
    calm, rough = Store.open(tmp_path / "calm"), Store.open(tmp_path / "rough")
    documents = documents_of(21)
    undisturbed = committed_run(calm, documents, 5)
    run = committed_run(rough, documents, 5)
    request = Request(rough, run[2], run[0], Parquet(rows=7), 500)

    assert (killed((request, run[1], in_store(rough, run)), failpoint) != 0) == fatal
    result = exported(in_store(rough, run), run, engine)

    folder = Path(exported(in_store(calm, undisturbed), undisturbed, engine)["path"])
    assert content(result["path"]) == content(folder)
    assert [p.name for p in (tmp_path / "rough" / "exports" / "web").iterdir()] == ["v1"]
    assert exported(in_store(rough, run), run, engine)["path"] == result["path"]


def test_what_an_attempt_before_left_over_is_not_published(store: Store, engine: LocalEngine) -> None:
    run = committed_run(store, documents_of(1), 5)
    left = Path(store.url) / "staging" / f"export-{Request(store, run[2], run[0], Parquet(rows=7), 500).key}" / "data"
    left.mkdir(parents=True)
    (left / "part-99999.parquet").write_bytes(b"half")

    folder = Path(exported(in_store(store, run), run, engine)["path"])

    listed = [f["name"] for f in json.loads((folder / "manifest.json").read_bytes())["files"]]
    assert sorted(data(folder)) == listed
    assert list((Path(store.url) / "staging").iterdir()) == []


@pytest.mark.parametrize("failpoint", ["export.before_put:kill", "export.before_publish:kill"])
def test_a_killed_export_to_a_folder_leaves_nothing_there_and_goes_on_when_repeated(
    store: Store, tmp_path: Path, engine: LocalEngine, killed: Callable[[Any, str], int], failpoint: str
) -> None:
    run = committed_run(store, documents_of(21), 5)
    request = Request(store, run[2], run[0], Parquet(rows=7), 500)
    out = tmp_path / "out"

    assert killed((request, run[1], InFolder(out)), failpoint) != 0
    assert not out.exists()
    exported(InFolder(out), run, engine)
    whole = content(exported(InFolder(tmp_path / "other"), run, engine)["path"])

    assert content(out) == whole
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.s3
@pytest.mark.parametrize(
    "failpoint", ["export.between_puts:kill", pytest.param("export.before_publish:kill@4", marks=pytest.mark.long)]
)
def test_a_bucket_shows_a_manifest_only_when_all_data_is_there(
    s3_server: dict[str, Any], tmp_path: Path, engine: LocalEngine, killed: Callable[[Any, str], int], failpoint: str
) -> None:
    name = hashlib.sha256(failpoint.encode()).hexdigest()[:8]
    store = Store.open(f"s3://{s3_server['bucket']}/export-{name}")
    documents = documents_of(21)
    run = committed_run(store, documents, 5)
    request = Request(store, run[2], run[0], Parquet(rows=7), 500)

    assert killed((request, run[1], in_store(store, run)), failpoint) != 0
    assert store.find("exports/web/v1/manifest.json") is None
    with LocalEngine(1) as fresh:  # started after the server, whose address is in the environment
        result = exported(in_store(store, run), run, fresh)

    calm = Store.open(tmp_path / "calm")
    undisturbed = committed_run(calm, documents, 5)
    expected = content(exported(in_store(calm, undisturbed), undisturbed, engine)["path"])
    assert result["path"] == f"{store.url}/exports/web/v1"
    assert {p.rpartition("/")[2]: store.get(p) for p in store.list("exports/web")} == expected
