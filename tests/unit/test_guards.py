"""Guards against steps that went wrong."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trainer.guards import Health, judge, smoothing
from trainer.settings import Guards

NAN, INF = math.nan, math.inf


def after(losses, guards=None, norm=1.0):
    """Verdicts on a run of losses, and what is known after them."""
    health, verdicts = Health(), []
    for step, loss in enumerate(losses):
        verdict, health = judge(health, guards or Guards(), step=step, loss=loss, norm=norm)
        verdicts.append(verdict)
        if verdict == "stop":
            break
    return verdicts, health


@pytest.mark.parametrize("loss", [NAN, INF, -INF])
def test_a_loss_that_is_no_number_is_left_out_and_counted(loss):
    verdicts, health = after([4.0, loss, 4.0])
    assert verdicts == ["update", "skip", "update"]
    assert (health.skipped, health.skipped_in_a_row, health.seen, health.smoothed) == (1, 0, 2, pytest.approx(4.0))


def test_a_gradient_that_is_no_number_is_left_out_although_the_loss_is_one():
    assert judge(Health(), Guards(), step=0, loss=4.0, norm=INF)[0] == "skip"


def test_a_run_that_only_skips_is_ended_with_a_sentence():
    verdicts, health = after([4.0, *[NAN] * 4], Guards(most_skipped=3))
    assert verdicts == ["update", "skip", "skip", "skip", "stop"]
    assert health.diverged == (
        "the loss of step 4 is nan and the norm of its gradient 1, after 3 steps in a row that were left out; "
        "try a lower learning rate"
    )


def test_a_run_can_be_ended_by_the_first_loss_that_is_no_number():
    verdicts, health = after([4.0, NAN], Guards(non_finite="stop"))
    assert verdicts == ["update", "stop"]
    assert health.diverged == "the loss of step 1 is nan and the norm of its gradient 1; try a lower learning rate"


NOISE = [4.0 + 0.1 * (-1) ** i for i in range(60)]


@pytest.mark.parametrize(
    ("action", "verdict", "counts"), [("count", "update", (1, 0)), ("skip", "skip", (1, 1)), ("stop", "stop", (1, 1))]
)
def test_a_spike_is_counted_and_left_out_or_ends_the_run_as_asked(action, verdict, counts):
    verdicts, health = after([*NOISE, 5.5], Guards(spike=action))
    assert verdicts == [*["update"] * 60, verdict]
    assert (health.spikes, health.skipped) == counts
    assert (health.diverged is not None) == (action == "stop")


def test_nothing_is_a_spike_before_the_statistics_are_believed():
    assert after([*NOISE[:20], 9.0])[1].spikes == 0


def test_a_smoothed_loss_far_above_its_lowest_ends_the_run():
    verdicts, health = after([*NOISE, *[8.0] * 100], Guards(rise_nats=2.0))
    assert verdicts[-1] == "stop"
    assert health.diverged == (
        f"the smoothed loss at step {len(verdicts) - 1} is {health.smoothed:.4g}, over 2 nats above its lowest, 3.999; "
        "try a lower learning rate"
    )
    assert "stop" not in after([*NOISE, *[8.0] * 100], Guards(rise_nats=None))[0]


@given(st.lists(st.floats(0, 20) | st.just(NAN), max_size=120))
def test_the_smoothed_loss_is_the_weighted_mean_of_the_finite_losses(losses):
    finite = [loss for loss in losses if math.isfinite(loss)]
    weights = [0.98**age for age in reversed(range(len(finite)))]
    slow = sum(w * x for w, x in zip(weights, finite, strict=True)) / sum(weights) if finite else None
    found = after(losses, Guards(rise_nats=None, most_skipped=1000))[1].smoothed
    assert found == (None if slow is None else pytest.approx(slow, abs=1e-9))
    assert list(smoothing(losses))[-1:] == ([found] if losses else [])


def test_what_is_known_survives_json():
    health = after([*NOISE, 5.5, NAN])[1]
    assert Health.model_validate(health.state()) == health
