"""Both engines keep the same promises; each test says one of them."""

import ctypes
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from operator import mul
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.ablation.ablate import PRELOAD
from pipelines.engine import Engine, Failure, Outcome, open_engine
from pipelines.engine_local import LocalEngine
from stages.errors import SpecError, StageError, StorageError
from stages.failpoints import failpoint


@pytest.fixture(scope="module")
def local() -> Iterator[LocalEngine]:
    with LocalEngine(2) as engine:
        yield engine


@pytest.fixture(params=["local", pytest.param("ray", marks=pytest.mark.ray)])
def engine(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue({"local": "local", "ray": "ray_engine"}[request.param])


def by_index(outcomes: Iterator[Outcome]) -> list[Outcome]:
    return sorted(outcomes, key=lambda o: o.index)


def test_every_task_has_one_outcome(engine: Engine) -> None:
    outcomes = by_index(engine.each(partial(mul, i, "漢") for i in range(50)))

    assert outcomes == [Outcome(i, "漢" * i) for i in range(50)]


def test_no_tasks_have_no_outcomes(engine: Engine) -> None:
    assert list(engine.each([])) == []


def test_tasks_run_in_other_processes(engine: Engine) -> None:
    assert os.getpid() not in {o.value for o in engine.each([os.getpid] * 8)}


def test_tasks_are_pulled_as_there_is_room(engine: Engine) -> None:
    pulled: list[int] = []

    def tasks() -> Iterator[partial[int]]:
        for i in range(100):
            pulled.append(i)
            yield partial(abs, i)

    outcomes = engine.each(tasks())
    for _ in range(10):
        next(outcomes)
    most = 10 + 3 * engine.slots
    outcomes.close()  # type: ignore[attr-defined]  # both engines give generators

    assert len(pulled) <= most


def test_our_own_errors_come_back_as_they_are(engine: Engine) -> None:
    [outcome] = engine.each([partial(open_engine, "nope")])

    assert outcome.failure is not None
    assert (outcome.failure.reason, type(outcome.failure.error)) == ("error", SpecError)
    assert outcome.failure.message == "there is no engine 'nope'; choose local, ray or auto"
    assert outcome.failure.error is not None
    assert outcome.failure.error.fields == {"engine": "nope"}


def test_any_other_exception_becomes_a_stage_error_with_its_traceback(engine: Engine) -> None:
    [outcome] = engine.each([partial(int, "شلום")])

    assert outcome.failure is not None
    assert outcome.failure.reason == "error"
    assert outcome.failure.message == "ValueError: invalid literal for int() with base 10: 'شلום'"
    assert isinstance(outcome.failure.error, StageError)
    assert "invalid literal" in outcome.failure.error.fields["traceback"]


def test_an_answer_that_cannot_travel_is_an_error(engine: Engine) -> None:
    [outcome] = engine.each([threading.Lock])

    assert outcome.failure is not None
    assert outcome.failure.reason == "error"
    assert "pickle" in outcome.failure.message


def test_running_out_of_memory_is_told_apart(engine: Engine) -> None:
    [outcome] = engine.each([partial(bytearray, 1 << 62)])

    assert outcome.failure is not None
    assert outcome.failure.reason == "oom"


def test_a_task_that_always_kills_its_process_fails_alone(engine: Engine) -> None:
    tasks = [partial(abs, -1), partial(ctypes.string_at, 0), partial(abs, -2), partial(os._exit, 0), partial(abs, -3)]

    outcomes = by_index(engine.each(tasks))

    assert [o.value for o in outcomes] == [1, None, 2, None, 3]
    assert [o.failure.reason if o.failure else None for o in outcomes] == [None, "crash", None, "crash", None]


def test_a_task_whose_process_is_killed_once_is_done_in_another(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TAMIS_FAILPOINTS", "task.runs:kill")
    monkeypatch.setenv("TAMIS_FAILPOINTS_ONCE", str(tmp_path))
    with LocalEngine(2) as engine:
        outcomes = by_index(engine.each([partial(failpoint, "task.runs")] * 4))

    assert outcomes == [Outcome(i) for i in range(4)]
    assert [p.name for p in tmp_path.iterdir()] == ["task.runs-kill"]


@pytest.mark.ray
def test_ray_workers_see_the_variables_of_the_moment_and_survive_a_kill(
    ray_engine: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TAMIS_FAILPOINTS", "task.runs:kill")
    monkeypatch.setenv("TAMIS_FAILPOINTS_ONCE", str(tmp_path))
    killed = by_index(ray_engine.each([partial(failpoint, "task.runs")] * 4))
    monkeypatch.delenv("TAMIS_FAILPOINTS")
    after = list(ray_engine.each([partial(os.getenv, "TAMIS_FAILPOINTS")]))

    assert killed == [Outcome(i) for i in range(4)]
    assert [p.name for p in tmp_path.iterdir()] == ["task.runs-kill"]
    assert after == [Outcome(0, None)]


def test_a_task_that_takes_too_long_is_ended_even_where_python_is_stuck(engine: Engine) -> None:
    stuck = partial(re.match, r"(a+)+$", "a" * 64 + "b")

    outcomes = by_index(engine.each([stuck, partial(abs, -1)], seconds=2))

    assert outcomes == [Outcome(0, failure=Failure("timeout", "the task took longer than 2 s")), Outcome(1, 1)]


def test_closing_early_cancels_what_runs(engine: Engine, tmp_path: Path) -> None:
    outcomes = engine.each([partial(abs, -1), partial(time.sleep, 1000), partial(abs, -2)])
    first = next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]  # both engines give generators

    assert first == Outcome(0, 1)
    assert list(engine.each([partial(abs, -3)])) == [Outcome(0, 3)]


def test_an_exception_in_the_tasks_themselves_comes_out(engine: Engine) -> None:
    def tasks() -> Iterator[partial[int]]:
        yield partial(abs, -1)
        raise StorageError("the list of shards is gone")

    with pytest.raises(StorageError, match="the list of shards is gone"):
        list(engine.each(tasks()))
    assert list(engine.each([partial(abs, -3)])) == [Outcome(0, 3)]


def test_a_worker_has_one_thread_for_arrow_openmp_and_numba(engine: Engine) -> None:
    import numba  # noqa: PLC0415  # the functions are what is sent
    import pyarrow as pa  # noqa: PLC0415  # the functions are what is sent

    threads = [
        o.value for o in engine.each([pa.cpu_count, partial(os.getenv, "OMP_NUM_THREADS"), numba.get_num_threads])
    ]

    assert sorted(map(str, threads)) == ["1", "1", "1"]


def test_idle_workers_that_were_killed_cost_no_task_a_try(local: LocalEngine) -> None:
    pids = {o.value for o in local.each([os.getpid] * 20)}
    for pid in pids:
        os.kill(pid, signal.SIGKILL)

    assert all(o.failure is None and o.value not in pids for o in local.each([os.getpid] * 20))


def test_the_process_that_starts_workers_is_replaced_too() -> None:
    with LocalEngine(2) as engine:
        [nursery] = {o.value for o in engine.each([os.getppid] * 4)}
        os.kill(nursery, signal.SIGKILL)

        assert list(engine.each([partial(abs, -3)])) == [Outcome(0, 3)]


@pytest.mark.parametrize("preload", [(), PRELOAD])
def test_the_process_that_forks_has_a_single_thread(preload: tuple[str, ...]) -> None:
    with LocalEngine(2, preload) as engine:
        [nursery] = {o.value for o in engine.each([os.getppid] * 4)}

        assert psutil.Process(nursery).num_threads() == 1


def test_workers_begin_with_what_was_imported_for_all_of_them(local: LocalEngine) -> None:
    with LocalEngine(2, ("this",)) as engine:
        assert {o.value for o in engine.each([partial(_has_imported, "this")] * 4)} == {True}
    assert {o.value for o in local.each([partial(_has_imported, "this")] * 4)} == {False}


def _has_imported(name: str) -> bool:
    return name in sys.modules


def test_a_worker_is_replaced_before_a_leak_can_grow(local: LocalEngine) -> None:
    pids = [o.value for o in local.each([os.getpid] * 2100)]

    assert len(set(pids)) >= 4


DRIVER = """
import sys, time
from functools import partial
from pipelines.engine import open_engine
from pipelines.engine_local import LocalEngine
import os
engine = LocalEngine(2)
def tasks():
    yield os.getpid
    yield os.getpid
    for i in range(4):
        yield partial(time.sleep, 1000)
outcomes = engine.each(tasks())
print(next(outcomes).value, next(outcomes).value, flush=True)
next(outcomes)
"""


def test_what_a_task_prints_never_reaches_stdout() -> None:
    code = (
        "from functools import partial\n"
        "from pipelines.engine_local import LocalEngine\n"
        "with LocalEngine(1) as engine:\n"
        "    print([o.value for o in engine.each([partial(print, 'chatter', flush=True)])])\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert (answer.stdout, answer.stderr) == ("[None]\n", "chatter\n")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_workers_end_with_their_driver(number: signal.Signals) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert driver.stdout is not None
    driver.stdout.readline()
    family = psutil.Process(driver.pid).children(recursive=True)
    driver.send_signal(number)
    _, errors = driver.communicate(timeout=90)
    _, alive = psutil.wait_procs(family, timeout=5)

    assert len(family) == 3
    assert alive == []
    assert driver.returncode == -number
    assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)


def test_an_engine_opened_in_a_thread_outlives_the_thread() -> None:
    opened: list[LocalEngine] = []
    thread = threading.Thread(target=lambda: opened.append(LocalEngine(1)))
    thread.start()
    thread.join()

    with opened[0] as engine:
        assert list(engine.each([partial(abs, -3)])) == [Outcome(0, 3)]


def test_small_inputs_stay_on_this_machine_without_ray() -> None:
    code = (
        "import sys\n"
        "from pipelines.engine import open_engine\n"
        "engine = open_engine('auto', 1, None, 49_999_999)\n"
        "print(type(engine).__name__, 'ray' in sys.modules)\n"
        "engine.close()\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert answer.stdout == "LocalEngine False\n"


@pytest.mark.parametrize(
    ("name", "workers", "address", "message"),
    [
        ("dask", None, None, "there is no engine 'dask'"),
        ("local", 0, None, "at least one worker"),
        ("local", 2, "10.0.0.1:6379", "the local engine has no address"),
    ],
)
def test_an_engine_that_cannot_be_is_a_spec_error(
    name: str, workers: int | None, address: str | None, message: str
) -> None:
    with pytest.raises(SpecError, match=message):
        open_engine(name, workers, address)


@pytest.mark.parametrize(
    ("address", "error", "message"),
    [
        ("127.0.0.1:9", StorageError, r"cannot reach the Ray cluster at '127.0.0.1:9' \(.*refused"),
        ("ray://head:10001", SpecError, "write auto or host:port"),
    ],
)
def test_an_address_where_no_cluster_is_says_so_at_once(address: str, error: type[Exception], message: str) -> None:
    code = f"from pipelines.engine import open_engine; open_engine('ray', None, {address!r})"
    failed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert re.search(f"{error.__name__}: .*{message}", failed.stderr)


CLUSTER = """
import sys
from functools import partial
from pipelines.engine import open_engine
engine = open_engine('ray', 3, sys.argv[1])
print(engine.slots, [o.value for o in engine.each([partial(abs, -7)])])
engine.close()
"""


@pytest.mark.ray
def test_an_existing_cluster_is_joined_and_left_running(ray_engine: Engine) -> None:
    import ray  # noqa: PLC0415  # takes a second

    address = ray.get_runtime_context().gcs_address
    joined = subprocess.run(
        [sys.executable, "-c", CLUSTER, address], capture_output=True, text=True, timeout=60, check=False
    )

    assert (joined.stdout, joined.stderr) == ("3 [7]\n", "")
    assert list(ray_engine.each([partial(abs, -3)])) == [Outcome(0, 3)]


@pytest.mark.ray
@pytest.mark.long
def test_what_runs_tasks_in_an_embedded_ray_ends_with_its_driver() -> None:
    code = DRIVER.replace("LocalEngine(2)", "open_engine('ray', 2)")
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as driver:
        assert driver.stdout is not None
        driver.stdout.readline()
        family = [p for p in psutil.Process(driver.pid).children(recursive=True) if not _is_agent(p)]
        driver.kill()
    _, alive = psutil.wait_procs(family, timeout=90)

    assert len(family) >= 4
    assert alive == []


def _is_agent(process: psutil.Process) -> bool:
    """Ray's agents run no task and look for another minute whether their Ray comes back."""
    return process.name().startswith(("ray::DashboardAgent", "ray::RuntimeEnv"))


@pytest.mark.ray
def test_ray_finds_poison_inside_a_task(ray_engine: Engine) -> None:
    from pipelines.isolate import Poison, find_poison  # noqa: PLC0415  # only here

    find = partial(find_poison, _odd_one, 50, memory_bytes=400_000_000, seconds=10)
    [outcome] = ray_engine.each([find])

    assert outcome == Outcome(0, [Poison(7, "crash", "the process was ended by SIGSEGV")])


def _odd_one(rows: list[int]) -> None:
    if 7 in rows:
        ctypes.string_at(0)
