import hashlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.commit import Attempt, committed, seal
from pipelines.store import Store
from stages.errors import StorageError

TABLE = pa.table({"text": ["naïve", "漢字 かな", "שלום", "👩‍👩‍👧", "e\u0301", None]})
FOLDER = "steps/stats-0123456789abcdef"


def write(attempt: Attempt, table: pa.Table = TABLE, suffix: str = ".parquet") -> None:
    with attempt.file(suffix) as path:
        pq.write_table(table, path)


def test_a_commit_names_its_files_with_size_digest_and_rows(store: Store) -> None:
    with Attempt(store, FOLDER, "shard") as attempt:
        write(attempt)
        record = attempt.commit({"count": 6})

    path = f"{FOLDER}/shard.{attempt.id}.parquet"
    data = store.get(path)
    digest = hashlib.sha256(data).hexdigest()
    expected = {
        "count": 6,
        "attempt": attempt.id,
        "files": [{"path": path, "bytes": len(data), "sha256": digest, "rows": 6}],
    }
    assert record == committed(store, FOLDER, "shard") == expected
    assert pq.read_table(store.open_input(path)).equals(TABLE)


def test_nothing_is_committed_before_the_commit(store: Store) -> None:
    with Attempt(store, FOLDER, "shard") as attempt:
        write(attempt)
        assert committed(store, FOLDER, "shard") is None


def test_an_attempt_that_fails_leaves_nothing(store: Store) -> None:
    def fail() -> None:
        with Attempt(store, FOLDER, "shard") as attempt:
            write(attempt)
            with attempt.file(".2.parquet") as path:
                path.write_bytes(b"half")
                raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()

    assert list(store.list("steps")) == []
    assert list(store.scratch().iterdir()) == []


def test_the_loser_deletes_its_files_and_returns_the_winners_record(store: Store) -> None:
    with Attempt(store, FOLDER, "shard") as first, Attempt(store, FOLDER, "shard") as second:
        write(first)
        write(second)
        write(second, suffix=".2.parquet")
        won = first.commit({"by": "first"})
        lost = second.commit({"by": "second"})

    assert won == lost == committed(store, FOLDER, "shard")
    assert list(store.list(FOLDER)) == [f"{FOLDER}/commits/shard.json", first.path()]


def test_a_result_without_files_can_be_committed(store: Store) -> None:
    with Attempt(store, FOLDER, "shard") as attempt:
        record = attempt.commit({"threshold": 0.5, "names": ("漢", "字")})

    assert record == {"threshold": 0.5, "names": ["漢", "字"], "attempt": attempt.id, "files": []}


def test_a_cut_parquet_file_is_not_committed(store: Store) -> None:
    def cut() -> None:
        with Attempt(store, FOLDER, "shard") as attempt, attempt.file() as path:
            pq.write_table(TABLE, path)
            path.write_bytes(path.read_bytes()[:-5])

    with pytest.raises(StorageError, match="not a whole Parquet file"):
        cut()

    assert list(store.list("steps")) == []


def test_files_that_are_not_parquet_have_no_rows(store: Store) -> None:
    with Attempt(store, FOLDER, "shard") as attempt:
        with attempt.file(".json") as path:
            path.write_bytes(b"{}")
        assert [sorted(f) for f in attempt.files] == [["bytes", "path", "sha256"]]


def test_a_record_that_is_none_is_refused(store: Store) -> None:
    store.create(f"{FOLDER}/commits/shard.json", b"[]")

    with pytest.raises(StorageError, match="not a commit record"):
        committed(store, FOLDER, "shard")


def test_a_missing_file_fails_as_storage(store: Store) -> None:
    with (
        pytest.raises(StorageError, match=r"shard\..*No such file"),
        Attempt(store, FOLDER, "shard") as attempt,
        attempt.file() as path,
    ):
        assert isinstance(path, Path)


def test_an_input_that_cannot_be_read_meanwhile_is_not_blamed_on_the_store(store: Store, tmp_path: Path) -> None:
    def read() -> None:
        with Attempt(store, FOLDER, "shard") as attempt, attempt.file() as path:
            path.write_bytes((tmp_path / "gone.jsonl").read_bytes())

    with pytest.raises(FileNotFoundError, match=r"gone\.jsonl"):
        read()
    assert list(store.scratch().iterdir()) == []


def test_the_first_seal_holds(store: Store) -> None:
    assert seal(store, FOLDER, "ab12", {"shards": ["a"]}) == {"shards": ["a"]}
    assert seal(store, FOLDER, "ab12", {"shards": ["b"]}) == {"shards": ["a"]}
