"""An export holds the kept documents in order, whole or not at all, with bytes that depend on them alone."""

import hashlib
import io
import json
import os
import pickle
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
import zstandard

from pipelines.commit import Attempt
from pipelines.engine_local import LocalEngine
from pipelines.export import Request, _Verdicts, export
from pipelines.export_file import COLUMNS
from pipelines.export_places import InBucket, InFolder, InStore, Place
from pipelines.export_plan import KEEP, SIZE
from pipelines.ingest import shard_writer
from pipelines.judging import VERDICT
from pipelines.plan import plan
from pipelines.progress import NullWatch
from pipelines.shards import Shard, sidecar_schema, sidecar_writer
from pipelines.spec import from_data
from pipelines.store import Store
from stages.base import Sink
from stages.document import DOCUMENT, doc_id
from stages.errors import SpecError, StorageError
from stages.sinks.jsonl import Jsonl
from stages.sinks.parquet import Parquet

TEXTS = ("the fine flour falls", "篩は細かい粉を通す", "المنخل يمرر الدقيق", "e\u0301 🐈‍⬛ \u202e", "", "bran " * 40)
Document = dict[str, Any]


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as found:
        yield found


def documents_of(seed: int, keep: float = 0.7) -> list[Document]:
    """Documents of two sources in the final order, some rejected, some of several times the size of a file."""
    draw = random.Random(seed)
    documents = []
    for source in ("mail", "web"):
        for path in sorted(("a.jsonl", "ａ.jsonl", "b/ü.jsonl", "𐀀.jsonl", "ﬀ.jsonl")):
            for ordinal in range(draw.randrange(12)):
                text = draw.choice(TEXTS) * draw.choice((1, 1, 1, 30))
                documents.append(
                    dict.fromkeys(DOCUMENT.names)
                    | {"doc_id": doc_id(source, path, ordinal), "id": f"{source}-{ordinal}", "text": text, "lang": "en"}
                    | {"source": draw.choice((source, "its own")), "path": path, "ordinal": ordinal}
                    | {"meta": json.dumps({"n": ordinal}), "in": source, "keep": draw.random() < keep}
                )
    return documents


def committed_run(store: Store, documents: Sequence[Document], size: int, run: str = "run-1", name: str = "web") -> Any:
    """The documents as a run's shards of about `size` documents with verdicts, as ingest and judging leave them."""
    shards, paths = [], {}
    for source, found in groupby(documents, itemgetter("in")):
        rows = list(found)
        ends = [*range(0, len(rows), size), len(rows)]
        for a, b in pairwise(ends):
            shard, verdict = _shard(store, source, rows[a:b])
            shards.append(shard)
            paths[shard.digest] = {KEEP: verdict, SIZE: verdict}
    random.Random(size).shuffle(shards)
    sources = {"mail": {"kind": "jsonl", "path": "x"}, "web": {"kind": "jsonl", "path": "x"}}
    return plan(from_data({"name": name, "sources": sources})), _Verdicts(store, shards, paths), run


def _shard(store: Store, source: str, rows: list[Document]) -> tuple[Shard, str]:
    sizes = [len(r["text"].encode()) for r in rows]
    table = pa.Table.from_pylist([{n: r[n] for n in DOCUMENT.names} for r in rows], DOCUMENT)
    digest = hashlib.sha256("".join(table["doc_id"].to_pylist()).encode()).hexdigest()[:32]
    with Attempt(store, "steps/documents-0", digest) as attempt:
        with attempt.file() as path, shard_writer(path) as writer:
            writer.write_table(table, row_group_size=4)
        path = attempt.commit({})["files"][0]["path"]
    shard = Shard(digest, path, len(rows), sum(sizes), source)
    segments = []
    for path, group in groupby(zip(rows, sizes, strict=True), lambda pair: pair[0]["path"]):
        kept = [(r["ordinal"], s) for r, s in group if r["keep"]]
        segments.append([path, kept[0][0] if kept else 0, len(kept), sum(s for _, s in kept)])
    verdict = {
        "doc_id": [r["doc_id"] for r in rows],
        "id": [r["id"] for r in rows],
        "keep": [r["keep"] for r in rows],
        "fate": ["kept" if r["keep"] else "rejected" for r in rows],
        "reasons": [[] if r["keep"] else ["short"] for r in rows],
        "text_bytes": sizes,
    }
    numbers = {"documents": sum(not r["keep"] for r in rows), "alone": 0}
    counts = {"kept": sum(r["keep"] for r in rows), "rejected": numbers["documents"], "quarantined": 0}
    with Attempt(store, "steps/verdict-0", digest) as attempt:
        with attempt.file() as path, sidecar_writer(path, VERDICT) as writer:
            writer.write_table(pa.table(verdict, sidecar_schema(VERDICT)), row_group_size=4)
        record = attempt.commit({"segments": segments, "counts": counts | {"reasons": {"short": numbers}}})
    return shard, record["files"][0]["path"]


def exported(
    place: Place, run: Any, engine: LocalEngine, sink: Sink | None = None, shard_bytes: int = 500
) -> dict[str, Any]:
    made, verdicts, name = run
    request = Request(verdicts.store, name, made, sink or Parquet(rows=7), shard_bytes)
    return export(request, verdicts, place, lambda: engine, NullWatch())


def in_store(store: Store, run: Any) -> Place:
    made, _, name = run
    return (InStore if store.is_local else InBucket)(store, made.spec.name, f"runs/{name}/export-parquet.json")


def content(folder: str | Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(Path(folder).iterdir())}


def data(folder: str | Path) -> dict[str, bytes]:
    return {name: found for name, found in content(folder).items() if name.startswith("part-")}


def cut(documents: Sequence[Document], shard_bytes: int) -> list[list[Document]]:
    """The slow way: the documents of each file, in order."""
    files: dict[int, list[Document]] = {}
    before = 0
    for document in documents:
        if document["keep"]:
            files.setdefault(before // shard_bytes, []).append({n: document[n] for n in COLUMNS.names})
            before += len(document["text"].encode())
    return [files[number] for number in sorted(files)]


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
    assert [f["name"] for f in croissant["recordSet"][0]["field"]] == COLUMNS.names


def test_when_everything_is_rejected_there_is_one_valid_file_without_documents(
    store: Store, tmp_path: Path, engine: LocalEngine
) -> None:
    run = committed_run(store, documents_of(3, keep=0.0), 5)

    result = exported(InFolder(tmp_path / "out"), run, engine)

    (found,) = data(tmp_path / "out").values()
    assert pq.read_table(io.BytesIO(found)).to_pylist() == []
    assert pq.read_schema(io.BytesIO(found)).equals(COLUMNS)
    assert (result["documents"], result["bytes"], result["files"]) == (0, 0, 1)


def test_jsonl_holds_the_same_documents(store: Store, tmp_path: Path, engine: LocalEngine) -> None:
    documents = documents_of(8)

    exported(InFolder(tmp_path / "out"), committed_run(store, documents, 5), engine, Jsonl())

    lines = []
    for found in data(tmp_path / "out").values():
        with zstandard.ZstdDecompressor().stream_reader(found, read_across_frames=True) as reader:
            lines += [json.loads(line) for line in reader.read().decode().split("\n")[:-1]]
    kept = [{n: d[n] for n in COLUMNS.names if d[n] is not None} for d in documents if d["keep"]]
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
from pipelines.export import export
from pipelines.progress import NullWatch
if __name__ == "__main__":
    with open(sys.argv[1], "rb") as file:
        request, verdicts, place = pickle.load(file)
    with LocalEngine(1) as engine:
        print(export(request, verdicts, place, lambda: engine, NullWatch())["path"])
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
    ("export.before_put:kill", True),
    ("export.between_puts:kill", True),
    ("export.between_puts:kill@2", False),
    ("export.after_put:kill", False),
    ("export.before_publish:kill", True),
    ("export.after_publish:kill", True),
    ("export.before_note:kill", True),
    ("export.after_note:kill", True),
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
@pytest.mark.parametrize("failpoint", ["export.between_puts:kill", "export.before_publish:kill@4"])
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


# -- as people call it -------------------------------------------------------------------------------------------------


@pytest.fixture
def finished(tamis: Callable[..., Any], tmp_path: Path, corpus: Path) -> Path:
    """The export of a finished run called `small`."""
    spec = {
        "name": "small",
        "source": {"kind": "jsonl", "path": f"{corpus.name}/*.jsonl"},
        "measure": {"clean": {"kind": "normalize"}, "copies": {"kind": "exact_duplicates"}},
        "keep": [
            {"column": "leaving.bytes", "le": "p80", "per": "lang", "on_null": "drop", "reason": "long"},
            {"one_of": "copies.cluster", "by": "longest", "reason": "copy"},
        ],
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = tamis("run", "spec.yaml", "--engine", "local", "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["export"])


def test_another_format_in_a_folder_holds_the_same_documents_and_a_folder_of_the_store_is_refused(
    finished: Path, tamis: Callable[..., Any], tmp_path: Path
) -> None:
    done = tamis("export", "small", "--format", "jsonl", "--out", "out", "--engine", "local", "--json")
    refused = tamis("export", "small", "--format", "jsonl", "--out", "store/exports/mine", "--engine", "local")

    assert done.returncode == 0, done.stderr
    assert (refused.returncode, (tmp_path / "store/exports/mine").exists()) == (2, False)
    (lines,) = data(tmp_path / "out").values()
    (table,) = data(finished).values()
    with zstandard.ZstdDecompressor().stream_reader(lines, read_across_frames=True) as reader:
        texts = [json.loads(line)["text"] for line in reader.read().decode().split("\n")[:-1]]
    assert texts == pq.read_table(io.BytesIO(table))["text"].to_pylist() != []


def test_what_if_with_the_rules_of_the_run_changes_nothing(finished: Path, tamis: Callable[..., Any]) -> None:
    done = tamis("what-if", "small", "--rule", "leaving.bytes<=p80", "--json")

    found = json.loads(done.stdout)
    assert found["before"] == found["after"]
    assert found["before"]["documents"] == json.loads((finished / "manifest.json").read_bytes())["total"]["documents"]
    assert (found["gained"], found["lost"]) == (0, 0)
