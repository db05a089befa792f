"""A curriculum against placing documents one by one, and what its options promise."""

import math
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from selection_flows import run, table_of

from stages.chance import draw, mixed
from stages.corpus.curriculum import Curriculum
from stages.errors import DataError, SpecError
from stages.flow import keys_of
from stages.selection.pacing import Schedule, competence, competences

PACINGS = ["linear", "root", "quadratic", "step", "geometric"]
GOLDEN, MASK = 0x9E3779B97F4A7C15, 2**64 - 1
HARD = st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, math.nan]), st.floats(-5, 5))


def curriculum(**fields: Any) -> Curriculum:
    return Curriculum.model_validate({"by": "hard", "seed": 1, **fields})


def table(hard: list[float | None], domains: list[str | None] | None = None) -> pa.Table:
    names = domains if domains is not None else ["a"] * len(hard)
    return table_of(hard=pa.array(hard, pa.float64()), domain=pa.array(names, pa.string()))


def known(value: float | None) -> bool:
    return value is not None and not math.isnan(value)


def oracle(stage: Curriculum, made: pa.Table) -> dict[str, tuple[int, int]]:
    """Position and phase of each document: ranks by sorting, phases by walking through the schedule."""
    schedule, parts = stage.schedule(), stage.interleave
    turns = dict(zip(made["doc_id"].to_pylist(), draw(1, "curriculum order", made["doc_id"]).tolist(), strict=True))
    groups = [int(k) & ~1 for k in keys_of(made["domain"])] if stage.balance else [0] * made.num_rows
    members: dict[int, list[tuple[float, str]]] = defaultdict(list)
    for row, group in zip(made.to_pylist(), groups, strict=True):
        if known(row["hard"]):
            members[group].append((row["hard"] * (-1 if stage.direction == "descending" else 1), row["doc_id"]))
    phases: dict[str, int] = {}
    for group, documents in members.items():
        first = int(word(mixed, "spread", group, 0))
        cut: dict[int, list[str]] = defaultdict(list)
        for rank, (_, doc_id) in enumerate(sorted(documents)):
            cut[(rank + first) % parts].append(doc_id)
        for part, ids in cut.items():
            offset = int(word(mixed, "part", first, part))
            for rank, doc_id in enumerate(ids):
                x = (rank + (float(word(mixed, "rank", first, part)) + 0.5) / 2**64) / len(ids)
                cohort = next(e for e, c in enumerate(schedule.available_E) if x <= c + 1e-12)
                u = ((rank * GOLDEN + offset) & MASK) / 2**64
                phase = next(
                    (p for p, upto in enumerate(schedule.upto_EP[cohort]) if u < upto), len(schedule.size_P) - 1
                )
                phases[doc_id] = parts * stage.phases if phase == stage.phases else part * stage.phases + phase
    last = parts * stage.phases - (stage.warmup == 1)
    rest = [i for i in made["doc_id"].to_pylist() if i not in phases]
    in_turn = [*sorted(phases, key=lambda i: (phases[i], turns[i])), *sorted(rest, key=lambda i: turns[i])]
    return {i: (n, phases.get(i, last)) for n, i in enumerate(in_turn)}


def word(mix: Any, what: str, high: int, low: int) -> Any:
    return mix(1, f"curriculum {what}", np.array([high], np.uint64), np.array([low], np.uint64))[0]


@settings(max_examples=80, deadline=None)
@given(
    documents=st.lists(st.tuples(HARD, st.sampled_from(["a", "網", "🌾", None])), max_size=60),
    pacing=st.sampled_from(PACINGS),
    phases=st.integers(1, 6),
    mix=st.sampled_from([0, 0.3, 1]),
    warmup=st.sampled_from([1, 0.4]),
    interleave=st.integers(1, 3),
    balance=st.sampled_from([None, "domain"]),
    direction=st.sampled_from(["ascending", "descending"]),
    cuts=st.lists(st.integers(0, 60), max_size=5),
    partitions=st.integers(1, 5),
)
def test_the_order_is_that_of_placing_documents_one_by_one(
    documents: Any, cuts: Any, partitions: int, **given: Any
) -> None:
    made = table([d for d, _ in documents], [n for _, n in documents])
    stage = curriculum(**given)
    assume(not documents or any(known(d) for d, _ in documents))

    found, counts = run(stage, made, [min(c, made.num_rows) for c in cuts], partitions)

    assert {i: (row["position"], row["phase"]) for i, row in found.items()} == oracle(stage, made)
    assert sorted(row["position"] for row in found.values()) == list(range(made.num_rows))
    assert counts == {"documents_without_difficulty": sum(not known(d) for d, _ in documents)}


def ordered(stage: Curriculum, made: pa.Table, cuts: tuple[int, ...] = ()) -> tuple[list[int], list[int]]:
    """Row numbers in reading order, and the phase of each place."""
    found, _ = run(stage, made, cuts)
    rows = list(found.values())
    order = sorted(range(len(rows)), key=lambda i: rows[i]["position"])
    return order, [rows[i]["phase"] for i in order]


RANKS = [float(i * 7919 % 3000) for i in range(3000)]


@pytest.mark.parametrize("pacing", PACINGS)
@pytest.mark.parametrize("direction", ["ascending", "descending"])
def test_phases_come_in_order_and_none_holds_a_document_before_its_time(pacing: Any, direction: str) -> None:
    order, phases = ordered(curriculum(pacing=pacing, phases=5, direction=direction), table(RANKS), (70, 2000))
    start = {"geometric": 0.01, "step": 0.5}.get(pacing, 0.0)

    assert all(a <= b for a, b in pairwise(phases))
    for row, phase in zip(order, phases, strict=True):
        rank = RANKS[row] if direction == "ascending" else 2999 - RANKS[row]
        assert rank / 3000 <= competence(pacing, (phase + 1) / 5, start) + 1e-9


@pytest.mark.parametrize(
    ("pacing", "sizes"),
    [
        ("linear", [750, 750, 750, 750]),
        ("root", [750, 750, 750, 750]),
        ("quadratic", [187.5, 562.5, 750, 1500]),
        ("step", [750, 750, 750, 750]),
        ("geometric", [94.9, 205.1, 648.7, 2051.3]),
    ],
)
def test_phases_are_equally_long_where_enough_is_available(pacing: str, sizes: list[float]) -> None:
    _, phases = ordered(curriculum(pacing=pacing, phases=4), table(RANKS))

    assert [Counter(phases)[p] for p in range(4)] == pytest.approx(sizes, abs=4)


def test_linear_pacing_cuts_the_ranking_into_equal_phases() -> None:
    order, phases = ordered(curriculum(phases=10), table(RANKS))

    assert phases == [int(RANKS[row] // 300) for row in order]


def test_within_a_phase_the_order_is_random() -> None:
    order, _ = ordered(curriculum(phases=1), table(RANKS))
    other, _ = ordered(curriculum(phases=1, seed=2), table(RANKS))
    middle = np.array([RANKS[row] for row in order])

    assert order != other
    assert abs(np.corrcoef(np.arange(3000), middle)[0, 1]) < 0.06  # 3.3 standard errors of a random order


def test_a_phase_is_drawn_alike_from_all_that_is_available() -> None:
    """Root pacing, second of four phases: what the first left of its cohort, and the new cohort, in proportion."""
    order, phases = ordered(curriculum(pacing="root", phases=4), table(RANKS))
    second = [RANKS[row] for row, p in zip(order, phases, strict=True) if p == 1]
    old = sum(r < 1500 for r in second) / len(second)

    assert old == pytest.approx(0.25 / (math.sqrt(0.5) - 0.25), abs=0.01)


def test_a_share_of_every_phase_is_drawn_from_all_documents() -> None:
    """With linear pacing the hard half is in the first half of the order by the mix alone."""
    order, phases = ordered(curriculum(phases=2, mix=0.2), table(RANKS))
    early = [RANKS[row] >= 1500 for row, p in zip(order, phases, strict=True) if p == 0]

    assert len(early) == pytest.approx(1500, abs=4)
    assert sum(early) == pytest.approx(150, abs=4)


def test_after_the_warm_up_comes_what_it_left_at_random() -> None:
    order, phases = ordered(curriculum(phases=4, warmup=0.4), table(RANKS))
    rest = np.array([RANKS[row] for row, p in zip(order, phases, strict=True) if p == 4])

    assert [Counter(phases)[p] for p in range(5)] == pytest.approx([300, 300, 300, 300, 1800], abs=4)
    assert all(RANKS[row] < 750 for row in order[:295])
    assert abs(np.corrcoef(np.arange(len(rest)), rest)[0, 1]) < 0.08


def test_interleaving_goes_through_the_whole_range_again_and_again() -> None:
    order, phases = ordered(curriculum(phases=5, interleave=3), table(RANKS))

    for part in range(3):
        ranks = [RANKS[row] for row, p in zip(order, phases, strict=True) if p // 5 == part]
        assert len(ranks) == 1000
        assert sorted(r // 3 for r in ranks) == list(range(1000))
        assert [p % 5 for p in phases if p // 5 == part] == [int(r // 600) for r in ranks]


def test_balanced_phases_have_the_proportions_of_domains_though_one_is_harder() -> None:
    names = ["a" if i % 3 else "b" for i in range(3000)]
    hard = [r + (10_000 if n == "a" else 0) for r, n in zip(RANKS, names, strict=True)]
    fields = {"pacing": "root", "phases": 5, "mix": 0.1}
    plain, plain_phases = ordered(curriculum(**fields), table(hard, names))
    order, phases = ordered(curriculum(**fields, balance="domain"), table(hard, names))

    def shares(order: list[int], phases: list[int]) -> list[float]:
        size = Counter(phases)
        own = Counter(p for row, p in zip(order, phases, strict=True) if names[row] == "b")
        return [own[p] / size[p] for p in range(5)]

    assert shares(plain, plain_phases)[0] > 0.6
    assert shares(order, phases) == pytest.approx([1 / 3] * 5, abs=0.005)


def test_small_domains_do_not_all_come_first() -> None:
    """A thousand domains of three documents each, in three parts of two phases."""
    names = [str(i % 1000) for i in range(3000)]
    _, phases = ordered(curriculum(phases=2, interleave=3, mix=0.5, balance="domain"), table(RANKS, names))

    assert [Counter(phases)[p] for p in range(6)] == pytest.approx([500] * 6, abs=70)


def test_documents_without_difficulty_come_last() -> None:
    hard = [None if i % 4 == 0 else float(i) for i in range(200)]
    order, phases = ordered(curriculum(phases=3), table(hard), (60,))

    assert {hard[row] for row in order[150:]} == {None}
    assert phases[150:] == [2] * 50
    assert order[150:] != sorted(order[150:])


def test_equal_difficulties_are_split_by_doc_id() -> None:
    made = table([1.0] * 100)
    found, _ = run(curriculum(phases=2), made, [30])
    first = [i for i, row in found.items() if row["phase"] == 0]

    assert sorted(first) == sorted(made["doc_id"].to_pylist())[:50]


def test_documents_that_are_not_kept_are_not_seen() -> None:
    kept = pa.array([i % 4 != 1 for i in range(300)])
    made = table(RANKS[:300], ["a" if i % 3 else "b" for i in range(300)])
    stage = curriculum(pacing="root", mix=0.1, balance="domain")

    found, counts = run(stage, made.append_column("kept", kept), [20, 21])
    expected, only = run(stage, made.filter(kept))

    assert {i: row for i, row in found.items() if row["position"] is not None} == expected
    assert counts == only


def test_pacing_functions_are_those_of_the_papers() -> None:
    assert [competence("linear", t, 0.01) for t in (0, 0.5, 1)] == [0.01, 0.505, 1]
    assert [competence("root", t, 0.1) for t in (0, 0.5, 1)] == pytest.approx([0.1, math.sqrt(0.505), 1])
    assert [competence("quadratic", t, 0.2) for t in (0, 0.5, 1)] == pytest.approx([0.2, 0.4, 1])
    assert [competence("step", t, 0.3) for t in (0, 0.5, 0.51, 1)] == [0.3, 0.3, 1, 1]
    assert [competence("geometric", t, 0.01) for t in (0, 0.5, 1)] == pytest.approx([0.01, 0.1, 1])


@settings(deadline=None)
@given(
    pacing=st.sampled_from(PACINGS),
    phases=st.integers(1, 30),
    start=st.floats(0.001, 0.999),
    mix=st.floats(0, 1),
    warmup=st.floats(0.01, 1),
)
def test_a_schedule_gives_every_document_one_phase(
    pacing: Any, phases: int, start: float, mix: float, warmup: float
) -> None:
    schedule = Schedule.of(competences(pacing, phases, start), mix, warmup)
    new_E = np.diff(schedule.available_E, prepend=0.0)
    share_EP = np.diff(schedule.upto_EP, prepend=0.0, axis=1)

    assert schedule.available_E[-1] == 1
    assert schedule.size_P.sum() == pytest.approx(1)
    assert (share_EP >= 0).all()
    assert new_E @ share_EP == pytest.approx(schedule.size_P, abs=1e-9)
    assert (schedule.size_P[:-1] <= warmup / phases + 1e-9).all()


def test_what_is_ordered_by_must_be_a_number() -> None:
    with pytest.raises(SpecError, match="curriculum orders documents by 'domain', which holds string; name a column"):
        run(curriculum(by="domain"), table([1.0]))


def test_difficulties_that_are_all_unknown_are_refused() -> None:
    with pytest.raises(DataError, match="curriculum can use none of the documents that it is given: 2 have no 'hard'"):
        run(curriculum(), table([None, math.nan]))


def test_geometric_pacing_cannot_start_with_nothing() -> None:
    with pytest.raises(ValidationError, match="geometric pacing multiplies what it starts with"):
        curriculum(pacing="geometric", start=0)
