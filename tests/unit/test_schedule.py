"""Learning rates by step."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from trainer.schedule import first_difference, fraction
from trainer.settings import Schedule

KINDS = st.sampled_from(["wsd", "cosine", "constant"])


@st.composite
def schedules(draw, kind=KINDS):
    chosen = draw(kind)
    warmup, stable = draw(st.integers(0, 20)), draw(st.integers(1, 40))
    decay = draw(st.integers(0, 20)) if chosen == "wsd" else 0
    low = draw(st.sampled_from([0.0, 0.1, 1.0]))
    steps = warmup + stable + decay
    return Schedule(kind=chosen, steps=steps, warmup_steps=warmup, decay_steps=decay, final_fraction=low)


def all_of(schedule):
    return [fraction(schedule, step) for step in range(schedule.steps)]


def test_warmup_stable_decay_rises_holds_and_falls():
    found = all_of(Schedule(steps=12, warmup_steps=4, decay_steps=5))
    assert found == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1, 1, 1, 0.8, 0.6, 0.4, 0.2])


def test_a_decay_heads_for_the_final_fraction():
    assert all_of(Schedule(steps=4, decay_steps=4, final_fraction=0.5)) == pytest.approx([1, 0.875, 0.75, 0.625])


def test_a_cosine_falls_along_half_a_period():
    found = all_of(Schedule(kind="cosine", steps=6, warmup_steps=2, final_fraction=0.1))
    tail = [0.1 + 0.45 * (1 + math.cos(math.pi * i / 4)) for i in range(4)]
    assert found == pytest.approx([0.5, 1, *tail])


def test_a_constant_schedule_only_warms_up():
    assert all_of(Schedule(kind="constant", steps=4, warmup_steps=2)) == [0.5, 1, 1, 1]


@given(schedules())
def test_fractions_are_positive_at_most_one_and_never_rise_after_the_warm_up(schedule):
    found = all_of(schedule)
    assert all(0 < f <= 1 for f in found)
    assert found[: schedule.warmup_steps] == sorted(found[: schedule.warmup_steps])
    rest = found[schedule.warmup_steps :]
    assert rest == sorted(rest, reverse=True)


@given(st.integers(0, 10), st.integers(1, 40), st.integers(1, 20))
def test_a_trunk_agrees_with_every_branch_up_to_and_with_the_first_step_of_its_decay(warmup, stable, decay):
    trunk = Schedule(steps=100, warmup_steps=warmup)
    branch = Schedule(steps=warmup + stable + decay, warmup_steps=warmup, decay_steps=decay)
    begin = warmup + stable
    assert first_difference(trunk, branch, begin + 1) is None
    assert first_difference(trunk, branch, 100) == begin + 1


@given(schedules(), schedules(), st.integers(0, 100))
def test_the_first_difference_is_the_first_step_with_another_fraction(one, other, steps):
    lists = [[*all_of(s), *[None] * 100][:steps] for s in (one, other)]
    expected = next((i for i, (a, b) in enumerate(zip(*lists, strict=True)) if a != b or a is None), None)
    assert first_difference(one, other, steps) == expected


@pytest.mark.parametrize("step", [-1, 5])
def test_a_step_that_a_schedule_does_not_have_is_refused(step):
    with pytest.raises(ValueError, match=f"a schedule of 5 steps has no step {step}"):
        fraction(Schedule(steps=5), step)


def test_a_schedule_that_does_not_fit_is_refused():
    with pytest.raises(ValidationError, match="3 steps of warm-up and 3 of decay are more than 5 steps"):
        Schedule(steps=5, warmup_steps=3, decay_steps=3)
    with pytest.raises(ValidationError, match="decay_steps is of the schedule wsd alone; cosine has none"):
        Schedule(kind="cosine", steps=5, decay_steps=3)
