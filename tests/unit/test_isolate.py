import ctypes
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pyarrow as pa
import pytest

from pipelines.engine_local import LocalEngine
from pipelines.isolate import Poison, find_poison
from stages.errors import DataError, StageError

MEMORY = 400_000_000


@dataclass(frozen=True)
class Stage:
    """Breaks on some rows, in the ways in which native libraries break."""

    crash: frozenset[int] = frozenset()
    oom: frozenset[int] = frozenset()
    hang: frozenset[int] = frozenset()
    error: frozenset[int] = frozenset()

    def __call__(self, rows: Sequence[int]) -> None:
        for row in rows:
            if row in self.crash:
                ctypes.string_at(0)
            if row in self.oom:
                pa.allocate_buffer(4_000_000_000)
            if row in self.hang:
                re.match(r"(a+)+$", "a" * 64 + "b")
            if row in self.error:
                raise DataError(f"漢字 and שלום of row {row} are not for me")


@dataclass(frozen=True)
class Heavy:
    """Each row keeps 40 MB, which is fine for one and too much for twenty."""

    def __call__(self, rows: Sequence[int]) -> None:
        kept = [bytearray(40_000_000) for _ in rows]
        assert len(kept) == len(rows)


def broken(rows: Sequence[int]) -> None:
    ctypes.string_at(0)


def test_every_kind_of_poison_is_found_at_its_row() -> None:
    stage = Stage(crash=frozenset({0, 613}), oom=frozenset({250}), hang=frozenset({999}), error=frozenset({251, 500}))

    found = find_poison(stage, 1000, memory_bytes=MEMORY, seconds=0.5)

    assert [(p.row, p.reason) for p in found] == [
        (0, "crash"),
        (250, "oom"),
        (251, "error"),
        (500, "error"),
        (613, "crash"),
        (999, "timeout"),
    ]
    assert found[0] == Poison(0, "crash", "the process was ended by SIGSEGV")
    assert found[1].message.startswith("needed more than 400 MB: ArrowMemoryError")
    assert found[2] == Poison(251, "error", "漢字 and שלום of row 251 are not for me")
    assert found[5] == Poison(999, "timeout", "took longer than 0.5 s")


def test_a_sound_shard_has_no_poison() -> None:
    assert find_poison(Stage(), 100, memory_bytes=MEMORY, seconds=10) == []
    assert find_poison(Stage(), 0, memory_bytes=MEMORY, seconds=10) == []


def test_rows_that_are_only_too_much_together_are_not_poison() -> None:
    assert find_poison(Heavy(), 20, memory_bytes=MEMORY, seconds=10) == []


def test_the_search_ends_once_there_are_too_many() -> None:
    stage = Stage(error=frozenset(range(1000)))

    found = find_poison(stage, 1000, memory_bytes=MEMORY, seconds=10, most=3)

    assert [p.row for p in found] == [0, 1, 2, 3]


def test_a_stage_that_breaks_without_rows_is_not_blamed_on_a_row() -> None:
    with pytest.raises(StageError, match=r"before it has seen one: the process was ended by SIGSEGV"):
        find_poison(broken, 10, memory_bytes=MEMORY, seconds=10)


def test_it_works_inside_a_worker() -> None:
    find = partial(find_poison, Stage(crash=frozenset({7})), 50, memory_bytes=MEMORY, seconds=10)

    with LocalEngine(1) as engine:
        outcomes = list(engine.each([find]))

    assert [(o.value, o.failure) for o in outcomes] == [
        ([Poison(7, "crash", "the process was ended by SIGSEGV")], None)
    ]
