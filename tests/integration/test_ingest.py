"""Ingest from files to committed shards: what is found, how it is packed, and that the answer depends on nothing else."""

import gzip
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from obstore.store import S3Store

from pipelines.commit import committed
from pipelines.ingest import IngestPack
from pipelines.inputs import check, freeze, packs
from pipelines.store import Store
from stages.document import DOCUMENT, doc_id
from stages.errors import DataError
from stages.sources.base import Source
from stages.sources.jsonl import Jsonl
from stages.sources.parquet import Parquet
from stages.sources.warc import Warc

FOLDER = "steps/mill-0123456789abcdef"
SHARED = Path(__file__).parents[2] / "../shared/data"
shared = pytest.mark.skipif(not SHARED.exists(), reason="the shared data folder is not there")


def ingest(store: Store, source: Source) -> list[dict[str, Any]]:
    table = freeze("mill", source)
    tasks = [
        IngestPack(store, "mill", source, FOLDER, p.name, p.files(table)) for p in packs(table, source.shard_bytes)
    ]
    return [pickle.loads(pickle.dumps(task))() for task in tasks]


def shards(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [s for r in records for s in r["shards"]]


def texts(store: Store, records: list[dict[str, Any]]) -> list[str]:
    return [t for s in shards(records) for t in pq.read_table(store.open_input(s["path"]))["text"].to_pylist()]


def write(path: Path, texts: list[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps({"text": t}, ensure_ascii=False) + "\n" for t in texts))
    return path


# -- shards ----------------------------------------------------------------------------------------------------------


def test_the_commit_record_says_what_was_made_of_the_files(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "in/a.jsonl", ["水車", "b"])
    (tmp_path / "in/b.jsonl").write_bytes(b"bad\n" + b'{"text": "c"}\n' + b"[]\n")
    (tmp_path / "in/c.jsonl").write_bytes(b"")

    [record] = ingest(store, Jsonl(path=str(tmp_path / "in")))

    [shard] = record["shards"]
    assert (shard["rows"], shard["bytes"], shard["source"]) == (3, 8, "mill")
    assert (record["documents_in"], record["bytes_in"], record["skipped"]) == (5, 8, {})
    assert record["malformed"] == {
        "count": 2, "path": record["malformed"]["path"], "by_reason": {"bad-json": 1, "not-an-object": 1},
    }  # fmt: skip
    assert pq.read_table(store.open_input(record["malformed"]["path"])).to_pylist()[0] == {
        "doc_id": doc_id("mill", "b.jsonl", 0),
        "source": "mill",
        "path": "b.jsonl",
        "ordinal": 0,
        "reason": "bad-json",
        "message": "b.jsonl, line 1 (record 0): it is not JSON (unexpected character, expected a JSON value: line 1 column 1 (char 0))",
    }
    hashes = {f["path"]: f["sha256"] for f in record["files"]}
    assert hashes[shard["path"]].startswith(shard["digest"])
    assert len(shard["digest"]) == 32
    assert pq.read_schema(store.open_input(shard["path"])).remove_metadata() == DOCUMENT


def test_big_files_are_cut_by_records_into_shards_of_the_asked_size(tmp_path: Path, store: Store) -> None:
    expected = [f"{i} " + "é" * 500 for i in range(1000)]
    write(tmp_path / "in/a.jsonl", expected)

    records = ingest(store, Jsonl(path=str(tmp_path / "in"), shard_bytes=100_000))

    assert texts(store, records) == expected
    assert len(shards(records)) == 10
    assert all(100_000 <= s["bytes"] < 101_100 for s in shards(records)[:-1])
    first = [pq.read_table(store.open_input(s["path"]))["ordinal"][0].as_py() for s in shards(records)]
    assert first == [sum(s["rows"] for s in shards(records)[:i]) for i in range(len(shards(records)))]


def test_the_same_documents_make_the_same_bytes_wherever_they_are_and_however_packed(tmp_path: Path) -> None:
    plain = write(tmp_path / "one/a.jsonl", [f"{i} 水車 {'x' * (i % 900)}" for i in range(5000)])
    (tmp_path / "two").mkdir()
    (tmp_path / "two/a.jsonl").write_bytes(gzip.compress(plain.read_bytes()))
    stores = [Store.open(tmp_path / f"store{i}") for i in range(2)]

    found = [shards(ingest(s, Jsonl(path=str(tmp_path / n)))) for s, n in zip(stores, ("one", "two"), strict=True)]

    assert [s["digest"] for s in found[0]] == [s["digest"] for s in found[1]]


def test_one_added_file_adds_its_shard_and_changes_no_other(tmp_path: Path, store: Store) -> None:
    for i in range(3):
        write(tmp_path / f"in/{i}.jsonl", [f"{i} {j} " + "x" * 900 for j in range(300)])
    source = Jsonl(path=str(tmp_path / "in"), shard_bytes=1_000_000)
    before = {s["digest"] for s in shards(ingest(store, source))}
    write(tmp_path / "in/1a.jsonl", ["y" * 900 for _ in range(300)])

    after = {s["digest"] for s in shards(ingest(store, source))}

    assert before < after
    assert len(after - before) == 1


def test_two_folders_with_equal_names_sizes_and_times_keep_their_own_texts(tmp_path: Path, store: Store) -> None:
    folders = {name: write(tmp_path / name / "a.jsonl", [text]) for name, text in (("one", "水車"), ("two", "風車"))}
    for path in folders.values():
        os.utime(path, ns=(1, 1))

    found = {name: texts(store, ingest(store, Jsonl(path=str(path.parent)))) for name, path in folders.items()}

    assert found == {"one": ["水車"], "two": ["風車"]}


def test_a_moved_corpus_makes_the_same_shards(tmp_path: Path, store: Store) -> None:
    path = write(tmp_path / "in/a.jsonl", ["水車", "b"])
    before = shards(ingest(store, Jsonl(path=str(path.parent))))
    path.parent.rename(tmp_path / "out")

    after = shards(ingest(store, Jsonl(path=str(tmp_path / "out"))))

    assert [s["digest"] for s in after] == [s["digest"] for s in before]


def test_a_pack_that_is_ingested_twice_keeps_the_first_record(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "in/a.jsonl", ["a"])
    source = Jsonl(path=str(tmp_path / "in"))

    [first], [second] = ingest(store, source), ingest(store, source)

    assert first == second
    assert len(list(store.list("steps"))) == 2


class Growing(Jsonl):
    """A source whose files grow while they are read."""

    def read(self, file: Any, rows: Any) -> None:
        super().read(file, rows)
        with Path(file.uri).open("a") as grown:
            grown.write("\n")


def test_a_file_that_changes_while_it_is_read_is_named_and_nothing_is_committed(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "in/a.jsonl", ["x" * 100_000])

    with pytest.raises(DataError, match=r"a\.jsonl' has changed since the run began"):
        ingest(store, Growing(path=str(tmp_path / "in")))

    assert list(store.list("steps")) == []


@pytest.mark.parametrize("now", ["", '{"text": "b"}\n'])
def test_a_small_file_among_many_that_changed_since_it_was_frozen_is_named(
    tmp_path: Path, store: Store, now: str
) -> None:
    for name in "abc":
        write(tmp_path / f"in/{name}.jsonl", [name])
    (tmp_path / "in/b.jsonl").write_text("" if now else '{"text": "é"}\n')
    source = Jsonl(path=str(tmp_path / "in"))
    table = freeze("mill", source)
    [pack] = packs(table, source.shard_bytes)
    (tmp_path / "in/b.jsonl").write_text(now)
    os.utime(tmp_path / "in/b.jsonl", ns=(1, 1))

    with pytest.raises(DataError, match=r"b\.jsonl' has changed since the run began"):
        IngestPack(store, "mill", source, FOLDER, pack.name, pack.files(table))()


def test_no_document_at_all_is_a_result_too(tmp_path: Path, store: Store) -> None:
    write(tmp_path / "in/a.jsonl", [])

    [record] = ingest(store, Jsonl(path=str(tmp_path / "in")))

    assert (record["shards"], record["documents_in"], record["malformed"]["count"]) == ([], 0, 0)
    [pack] = packs(freeze("mill", Jsonl(path=str(tmp_path / "in"))), 32_000_000)
    assert committed(store, FOLDER, pack.name) == record


MEMORY = """
import sys
from pathlib import Path
from pipelines.ingest import IngestPack
from pipelines.inputs import freeze, packs
from pipelines.store import Store
from stages.sources.jsonl import Jsonl
source = Jsonl(path=sys.argv[1], shard_bytes=4_000_000, max_document_bytes=1_000_000)
files = freeze("mill", source)
store = Store.open(sys.argv[2])
for pack in packs(files, source.shard_bytes):
    record = IngestPack(store, "mill", source, "steps/mill-0", pack.name, pack.files(files))()
print(record["documents_in"], record["peak_memory_bytes"])
"""


@pytest.mark.long
def test_peak_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    peaks = []
    for copies in (20, 200):
        path = tmp_path / f"{copies}.jsonl.gz"
        block = "".join(json.dumps({"text": f"{i} 水車 " + "x" * 4000}, ensure_ascii=False) + "\n" for i in range(250))
        path.write_bytes(gzip.compress(block.encode(), 1) * copies)
        command = [sys.executable, "-c", MEMORY, str(path), str(tmp_path / f"store{copies}")]
        documents, peak = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
        assert documents == 250 * copies
        peaks.append(peak)

    assert peaks[1] < 1.1 * peaks[0]


# -- S3 --------------------------------------------------------------------------------------------------------------


@pytest.fixture
def bucket(s3_server: dict[str, Any]) -> S3Store:
    return S3Store(s3_server["bucket"], client_options={"allow_http": True})


@pytest.mark.s3
def test_a_bucket_is_read_like_a_folder(tmp_path: Path, store: Store, bucket: S3Store) -> None:
    lines = [f"{i} 水車 🌾 " + "x" * (i % 50) for i in range(30_000)]
    plain = write(tmp_path / "in/a.jsonl", lines).read_bytes()
    table = pa.table({"text": lines})
    (tmp_path / "in/sub").mkdir()
    (tmp_path / "in/sub/b.gz").write_bytes(gzip.compress(plain))
    pq.write_table(table, tmp_path / "in/c.parquet", row_group_size=5000)
    for name in ("a.jsonl", "sub/b.gz", "c.parquet"):
        obstore.put(bucket, f"read/{name}", tmp_path / "in" / name)

    for kind, glob in ((Jsonl, "**/[ab]*"), (Parquet, "*.parquet")):
        near, far = (kind(path=f"{root}/{glob}") for root in (tmp_path / "in", "s3://corpus/read"))
        local, remote = freeze("mill", near), freeze("mill", far)
        assert remote.select(["path", "size"]).equals(local.select(["path", "size"]))
        other = Store.open(tmp_path / f"store-{kind.__name__}")
        assert [s["digest"] for s in shards(ingest(other, far))] == [s["digest"] for s in shards(ingest(store, near))]
    assert freeze("mill", Jsonl(path="s3://corpus/read/a.jsonl"))["path"].to_pylist() == ["a.jsonl"]
    for folder in ("s3://corpus/read/", "s3://corpus/read"):
        assert freeze("mill", Jsonl(path=folder))["path"].to_pylist() == ["a.jsonl", "c.parquet", "sub/b.gz"]
    with pytest.raises(DataError, match="matches no file"):
        freeze("mill", Jsonl(path="s3://corpus/rea"))


@pytest.mark.s3
def test_an_object_that_is_gone_or_another_is_named(tmp_path: Path, store: Store, bucket: S3Store) -> None:
    source = Jsonl(path="s3://corpus/change/*.jsonl")
    obstore.put(bucket, "change/x.jsonl", b'{"text": "a"}\n')
    table = freeze("mill", source)
    [pack] = packs(table, source.shard_bytes)
    task = IngestPack(store, "mill", source, FOLDER, pack.name, pack.files(table))
    obstore.put(bucket, "change/x.jsonl", b'{"text": "b"}\n')
    with pytest.raises(DataError, match=r"'s3://corpus/change/x.jsonl' has changed since"):
        task()
    with pytest.raises(DataError, match=r"'s3://corpus/change/x.jsonl' has changed since"):
        check(table)
    obstore.delete(bucket, "change/x.jsonl")
    with pytest.raises(DataError, match=r"'s3://corpus/change/x.jsonl' is gone since"):
        task()


@pytest.mark.s3
def test_a_prefix_without_objects_matches_nothing(s3_server: dict[str, Any]) -> None:
    with pytest.raises(DataError, match="matches no file"):
        freeze("mill", Jsonl(path="s3://corpus/nothing/*.jsonl"))


# -- real data -------------------------------------------------------------------------------------------------------


@shared
@pytest.mark.shared
def test_every_document_and_byte_of_the_raw_corpus_comes_out(store: Store) -> None:
    records = ingest(store, Jsonl(path=str(SHARED / "raw/*.jsonl.gz")))

    assert sum(r["documents_in"] for r in records) == 68_630
    assert sum(r["bytes_in"] for r in records) == 211_140_577
    assert sum(r["malformed"]["count"] for r in records) == 0


@shared
@pytest.mark.shared
def test_every_page_of_the_web_archive_comes_out(store: Store) -> None:
    records = ingest(store, Warc(path=str(SHARED / "warc/*.warc.gz")))

    assert sum(r["documents_in"] for r in records) == 2_585
    assert [r["skipped"] for r in records] == [{"record of type warcinfo": 1}]
    assert sum(r["malformed"]["count"] for r in records) == 0
