"""Whatever happens while a result is written, the same command run again gives the same committed bytes, once."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import pipelines
from pipelines.commit import Attempt, committed, seal
from pipelines.engine import Failure
from pipelines.engine_local import LocalEngine
from pipelines.store import Store

FOLDER = "steps/stats-0123456789abcdef"
TABLE = pa.table({"text": ["naïve", "漢字 かな", "שלום", "👩‍👩‍👧", "e\u0301", None] * 1000})
OWN = ("commit", "store_local")
PLACES = sorted(
    place
    for module in OWN
    for place in re.findall(
        r'failpoint\("([a-z_.]+)"\)', (Path(pipelines.__path__[0]) / f"{module}.py").read_text(encoding="utf-8")
    )
)


@dataclass(frozen=True)
class Job:
    """Computes one result, sealed; where `rival` is set, another attempt is faster at the last moment."""

    store: Store
    failpoints: str = ""
    rival: bool = False
    bytes_a_file: int | None = None

    def __call__(self) -> str:
        os.environ["TAMIS_FAILPOINTS"] = self.failpoints
        if self.bytes_a_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (self.bytes_a_file, self.bytes_a_file))
        if committed(self.store, FOLDER, "shard") is not None:
            seal(self.store, FOLDER, "all", {"shards": ["shard"]})
            return "cached"
        with Attempt(self.store, FOLDER, "shard") as attempt:
            self.write(attempt)
            if self.rival:
                with Attempt(self.store, FOLDER, "shard") as rival:
                    self.write(rival)
                    rival.commit({"count": TABLE.num_rows})
            attempt.commit({"count": TABLE.num_rows})
        seal(self.store, FOLDER, "all", {"shards": ["shard"]})
        return "computed"

    def write(self, attempt: Attempt) -> None:
        with attempt.file() as path:
            pq.write_table(TABLE, path)
        with attempt.file(".json") as path:
            path.write_bytes(b"{}")


@pytest.fixture(scope="module")
def engine() -> Iterator[LocalEngine]:
    with LocalEngine(2) as local:
        yield local


def run(engine: LocalEngine, job: Job) -> str | Failure:
    [outcome] = engine.each([job])
    return outcome.failure or str(outcome.value)


def result(store: Store) -> dict[str, Any]:
    """What is committed, without what names the attempt; every file is there with its size and digest."""
    record = committed(store, FOLDER, "shard")
    assert record is not None
    for file in record["files"]:
        assert file["sha256"] == _sha256(store.get(file["path"]))
    files = [{k: v for k, v in f.items() if k != "path"} for f in record["files"]]
    return {**record, "attempt": None, "files": files, "sealed": store.get_json(f"{FOLDER}/manifests/all.json")}


def _sha256(data: bytes) -> str:
    from stages.fingerprint import digest  # noqa: PLC0415  # one name, one use

    return digest(data)


@pytest.fixture(scope="module")
def undisturbed(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = Store.open(tmp_path_factory.mktemp("undisturbed"))
    assert run(engine, Job(store)) == "computed"
    return result(store)


def test_there_is_a_failpoint_before_and_after_every_write() -> None:
    assert PLACES == [
        "commit.after_put",
        "commit.before_put",
        "data.after_put",
        "data.before_put",
        "discard.after_delete",
        "discard.before_delete",
        "seal.after_put",
        "seal.before_put",
        "store.after_link",
        "store.after_rename",
        "store.before_link",
        "store.before_rename",
    ]


@pytest.mark.parametrize("hit", [1, pytest.param(2, marks=pytest.mark.long)])
@pytest.mark.parametrize("place", PLACES)
def test_a_kill_at_any_write_changes_nothing_once_it_is_run_again(
    engine: LocalEngine, store: Store, undisturbed: dict[str, Any], place: str, hit: int
) -> None:
    killed = run(engine, Job(store, f"{place}:kill@{hit}", rival=place.startswith("discard")))
    before = committed(store, FOLDER, "shard")
    again = run(engine, Job(store))

    if hit == 1:
        assert killed == Failure("crash", "the task's process was ended by SIGKILL, 2 times") or before is not None
    assert again == ("computed" if before is None else "cached")
    assert result(store) == undisturbed
    assert before in (None, committed(store, FOLDER, "shard"))


@pytest.mark.parametrize("place", [p for p in PLACES if not p.startswith("discard")])
def test_a_failing_disk_at_any_write_is_an_error_and_changes_nothing_once_it_is_run_again(
    engine: LocalEngine, store: Store, undisturbed: dict[str, Any], place: str
) -> None:
    failed = run(engine, Job(store, f"{place}:error"))

    if place == "store.after_link":
        assert failed == "computed"  # the record is there: as good as an answer that was lost on the way
    else:
        assert isinstance(failed, Failure)
        assert failed.reason == "error"
    assert run(engine, Job(store)) in {"computed", "cached"}
    assert result(store) == undisturbed


def test_an_attempt_that_failed_before_its_record_leaves_no_file(engine: LocalEngine, store: Store) -> None:
    run(engine, Job(store, "data.after_put:error@2"))

    assert list(store.list("steps")) == []
    assert list(store.scratch().iterdir()) == []


def test_a_full_disk_is_one_sentence_and_the_run_goes_on_when_there_is_space(
    engine: LocalEngine, store: Store, undisturbed: dict[str, Any]
) -> None:
    with LocalEngine(1) as limited:  # the limit stays with the process
        failed = run(limited, Job(store, bytes_a_file=500))
    left = [*store.list("steps"), *store.scratch().iterdir()]

    assert run(engine, Job(store)) == "computed"
    assert left == []
    assert isinstance(failed, Failure)
    assert "File too large" in failed.message
    assert result(store) == undisturbed


def test_a_file_that_no_record_names_is_never_trusted(
    engine: LocalEngine, store: Store, undisturbed: dict[str, Any]
) -> None:
    half = store.scratch() / "half"
    half.write_bytes(b"PAR1 half of something")
    store.upload(half, f"{FOLDER}/shard.0123456789abcdef.parquet")

    assert committed(store, FOLDER, "shard") is None
    assert run(engine, Job(store)) == "computed"
    assert result(store) == undisturbed


def test_of_two_processes_at_one_address_exactly_one_commits(store: Store, undisturbed: dict[str, Any]) -> None:
    with LocalEngine(4) as many:
        outcomes = list(many.each([Job(store)] * 40))
    record = committed(store, FOLDER, "shard")

    assert record is not None
    assert [o.failure for o in outcomes] == [None] * 40
    assert result(store) == undisturbed
    assert list(store.list(FOLDER)) == sorted(
        [*(f["path"] for f in record["files"]), f"{FOLDER}/commits/shard.json", f"{FOLDER}/manifests/all.json"]
    )


def test_a_worker_that_was_asleep_while_another_committed_loses(store: Store, undisturbed: dict[str, Any]) -> None:
    code = (
        "import sys\n"
        "from pipelines.commit import Attempt\n"
        "from tests.faults.test_commit_faults import FOLDER, Job\n"
        "from pipelines.store import Store\n"
        "job = Job(Store(sys.argv[1]))\n"
        "with Attempt(job.store, FOLDER, 'shard') as attempt:\n"
        "    job.write(attempt)\n"
        "    print('written', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    print(attempt.commit({'count': 0})['attempt'] == attempt.id)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, store.url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as sleeper:
        assert sleeper.stdout is not None
        assert sleeper.stdout.readline() == "written\n"
        sleeper.send_signal(signal.SIGSTOP)
        with LocalEngine(1) as engine:
            assert run(engine, Job(store)) == "computed"
        sleeper.send_signal(signal.SIGCONT)
        answer, _ = sleeper.communicate("\n", timeout=20)

    assert answer == "False\n"
    assert result(store) == undisturbed
    assert len(list(store.list(FOLDER))) == 4


@pytest.mark.parametrize("writes", [1, 2, 3, 4])
def test_a_driver_killed_after_any_write_resumes_to_the_same_bytes(
    store: Store, undisturbed: dict[str, Any], engine: LocalEngine, writes: int
) -> None:
    code = (
        "import sys\n"
        "from pipelines.engine_local import LocalEngine\n"
        "from pipelines.store import Store\n"
        "from tests.faults.test_commit_faults import Job\n"
        "print('up', flush=True)\n"
        "list(LocalEngine(1).each([Job(Store(sys.argv[1]))]))\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, store.url], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        _wait_for_writes(Path(store.url), writes)
        driver.kill()

    assert run(engine, Job(store)) in {"computed", "cached"}
    assert result(store) == undisturbed


def _wait_for_writes(folder: Path, count: int) -> None:
    """Return once this many files were seen in the making or made, or when nothing more can come."""
    deadline = time.monotonic() + 10
    seen: set[str] = set()
    while len(seen) < count and time.monotonic() < deadline:
        seen |= {p.name for p in folder.rglob("*") if "shard" in p.name or p.name == "all.json"}
