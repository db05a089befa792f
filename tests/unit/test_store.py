import contextlib
import os
import pickle
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.input_s3 import find_s3
from pipelines.store import Store, checked
from pipelines.store_s3 import CREDENTIALS, ENDPOINTS
from stages.errors import StorageError

DEAD = "http://127.0.0.1:1"  # an endpoint where nothing listens
HOSTILE = "naïve 漢字 שלום 👩‍👩‍👧 e\u0301 \u202e.json"


def test_what_is_created_reads_back(store: Store) -> None:
    data = f"{HOSTILE} 漢字".encode()

    assert store.create(f"runs/a/{HOSTILE}", data)
    assert store.get(f"runs/a/{HOSTILE}") == data
    assert store.read_range(f"runs/a/{HOSTILE}", 1, 4) == data[1:5]
    assert store.size(f"runs/a/{HOSTILE}") == len(data)
    with store.open_input(f"runs/a/{HOSTILE}") as file:
        assert file.read() == data


def test_only_the_first_create_counts(store: Store) -> None:
    assert [store.create("a/b", b"first"), store.create("a/b", b"second")] == [True, False]
    assert store.get("a/b") == b"first"


def test_of_many_creators_at_one_moment_exactly_one_wins(store: Store) -> None:
    start = Barrier(8)
    won: list[int] = []

    def create(number: int) -> None:
        start.wait()
        if store.create("runs/one", str(number).encode()):
            won.append(number)

    threads = [Thread(target=create, args=(i,)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [str(n).encode() for n in won] == [store.get("runs/one")]


def test_absent_is_an_answer_to_find_and_a_failure_to_get(store: Store) -> None:
    assert store.find("runs/none") is None
    assert store.find_json("runs/none") is None
    assert store.size("runs/none") is None
    for read in (store.get, store.get_json, store.open_input, lambda p: store.read_range(p, 0, 1)):
        with pytest.raises(StorageError, match="runs/none"):
            read("runs/none")


def test_json_survives_with_names_that_are_not_unicode(store: Store) -> None:
    value = {"path": os.fsdecode(b"caf\xe9/\xff.jsonl"), "text": HOSTILE, "rows": 3, "share": 0.1, "none": None}

    store.create_json("runs/x.json", value)

    assert store.get_json("runs/x.json") == value


def test_a_number_that_is_none_is_not_json(store: Store) -> None:
    with pytest.raises(ValueError, match="JSON"):
        store.create_json("runs/x.json", {"share": float("nan")})
    assert store.find("runs/x.json") is None


def test_what_is_not_json_says_so(store: Store) -> None:
    store.create("runs/x.json", b'{"half')

    with pytest.raises(StorageError, match="is not JSON"):
        store.get_json("runs/x.json")


def test_a_listing_is_sorted_and_knows_nothing_in_the_making(store: Store) -> None:
    for path in ("steps/b-1/2", "steps/b-1/10", "steps/a-1/z", "steps/a-1.x", "steps/a-10/c/d", "stepsister/x"):
        store.create(path, b"")
    (store.scratch() / "half").write_bytes(b"")

    assert list(store.list("steps")) == ["steps/a-1.x", "steps/a-1/z", "steps/a-10/c/d", "steps/b-1/10", "steps/b-1/2"]
    assert list(store.list("nothing")) == []
    assert list(store.list("")) == ["format.json", *store.list("steps"), "stepsister/x"]


def test_delete_is_the_same_twice(store: Store) -> None:
    store.create("a/b", b"")
    store.delete("a/b")
    store.delete("a/b")

    assert store.find("a/b") is None


def test_a_file_from_scratch_is_moved_and_any_other_is_copied(store: Store, tmp_path: Path) -> None:
    made, mine = store.scratch() / "made", tmp_path / "mine"
    made.write_bytes(b"made")
    mine.write_bytes(b"mine")

    store.upload(made, "a/made")
    store.upload(mine, "a/mine")

    assert (store.get("a/made"), store.get("a/mine")) == (b"made", b"mine")
    assert (made.exists(), mine.exists()) == (False, True)
    assert list(store.scratch().iterdir()) == []


def test_a_store_pickles_as_its_address(store: Store) -> None:
    store.create("a", b"1")
    again = pickle.loads(pickle.dumps(store))

    assert again == store
    assert again.get("a") == b"1"
    assert len(pickle.dumps(store)) < 200 + len(store.url)


def test_a_store_of_another_format_is_refused(tmp_path: Path) -> None:
    (tmp_path / "format.json").write_text('{"format": 2}')

    with pytest.raises(StorageError, match=r'"format": 2.*knows only format 1'):
        Store.open(tmp_path)


def test_looking_for_a_store_makes_none(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="there is no store"):
        Store.open(tmp_path / "none", create=False)
    assert not (tmp_path / "none").exists()


def test_a_store_below_a_file_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match=r"file/store.*Not a directory; a part of the path is a file"):
        Store.open(tmp_path / "file" / "store")


def test_a_store_that_cannot_be_written_says_what_is_wrong() -> None:
    with pytest.raises(StorageError, match=r"cannot write '/proc/tamis"):
        Store.open("/proc/tamis")


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file may grow beyond 1,000 bytes; held only around one call, because pytest writes files too."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_does_not_fit_leaves_nothing(store: Store) -> None:
    with full_disk(), pytest.raises(StorageError, match=r"cannot write .*runs/big.*File too large"):
        store.create("runs/big", b"x" * 5000)

    assert store.find("runs/big") is None
    assert list(store.scratch().iterdir()) == []
    assert store.create("runs/small", b"x")


def test_opening_sweeps_what_killed_processes_left_yesterday(store: Store) -> None:
    old, new = store.scratch() / "old", store.scratch() / "new"
    for path in (old, new):
        path.write_bytes(b"")
    two_days_ago = time.time() - 2 * 86_400
    os.utime(old, (two_days_ago, two_days_ago))

    Store.open(store.url)

    assert list(store.scratch().iterdir()) == [new]


@pytest.mark.parametrize("path", ["", "/etc/passwd", "a//b", "../up", "a/../../up", "a/./b", "a/", "nul\0"])
def test_a_path_never_leaves_the_store(store: Store, path: str) -> None:
    with pytest.raises(ValueError, match="not a path inside a store"):
        store.create(path, b"")


@given(st.text())
def test_a_checked_path_stays_below_any_root(path: str) -> None:
    try:
        inside = checked(path)
    except ValueError:
        return
    assert os.path.normpath(f"/top/{inside}") == f"/top/{path}"


@pytest.mark.parametrize("given", ["abc", "-1", "1e3", "٣", "101", " "])
def test_a_number_of_retries_that_is_none_is_refused(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAMIS_S3_RETRIES", given)
    sentence = f"TAMIS_S3_RETRIES is {given!r}; set it to a number from 0 to 100 or unset it"

    for ask in (lambda: Store.open("s3://bucket/store"), lambda: find_s3(f"s3://bucket-{ord(given[0])}/*.jsonl")):
        with pytest.raises(StorageError) as refused:
            ask()
        assert refused.value.message == sentence


def test_where_no_credentials_are_set_a_failure_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*CREDENTIALS, *ENDPOINTS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", DEAD)
    monkeypatch.setenv("TAMIS_S3_RETRIES", "0")

    for ask in (lambda: Store.open("s3://bucket/store"), lambda: find_s3("s3://bucket-without-a-key/*.jsonl")):
        with pytest.raises(
            StorageError, match=r"; no AWS credentials were found in the environment \(AWS_ACCESS_KEY_ID"
        ):
            ask()


def test_where_credentials_are_set_a_failure_says_nothing_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_ENDPOINT_URL": DEAD}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TAMIS_S3_RETRIES", "0")

    with pytest.raises(StorageError, match=r"credentials and network and run again$"):
        Store.open("s3://bucket/store")


def test_a_store_below_a_prefix_that_no_object_can_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", DEAD)
    monkeypatch.setenv("TAMIS_S3_RETRIES", "0")

    with pytest.raises(StorageError, match=r"in s3://bucket/a/\.\./b: Could not parse path"):
        Store.open("s3://bucket/a/../b")
