"""The dial: one number gives a shape within 3 %, and learning rate, batch and warm-up that follow the ladder."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trainer.dial import dial, dial_training
from trainer.parameters import count_parameters


def test_the_decoder_of_small_machines_is_1_8_million_parameters_within_3_percent():
    found = dial(1_800_000, vocabulary=4096, context=256)

    assert count_parameters(found).total == pytest.approx(1_800_000, rel=0.03)
    assert (found.vocabulary, found.context, found.layers, found.width, found.heads) == (4096, 256, 6, 128, 2)


@settings(max_examples=30, deadline=None)
@given(st.floats(5.5, 9), st.sampled_from([1024, 4096, 8192, 32768]))
def test_every_size_is_met_within_3_percent_by_a_shape_that_divides(log_parameters, vocabulary):
    parameters = int(10**log_parameters)
    if parameters < 24 * vocabulary + 50_000:
        return
    found = dial(parameters, vocabulary=vocabulary, context=512)

    assert count_parameters(found).total == pytest.approx(parameters, rel=0.03)
    assert found.width % found.heads == 0
    assert found.width // found.heads % 2 == 0
    assert found.heads % found.kv_heads == 0
    assert 2 <= found.hidden / found.width <= 4


def test_larger_models_are_wider_and_deeper():
    found = [dial(n, vocabulary=8192, context=512) for n in (2_000_000, 20_000_000, 200_000_000, 2_000_000_000)]

    assert [s.width for s in found] == sorted({s.width for s in found})
    assert [s.layers for s in found] == sorted(s.layers for s in found)


def test_a_count_below_the_embeddings_is_refused():
    with pytest.raises(ValueError, match="embeddings alone take 524288"):
        dial(300_000, vocabulary=32768, context=256)


def test_at_the_size_of_the_ladder_training_is_the_ladders():
    shape = dial(133_000_000, vocabulary=32768, context=2048)
    body = count_parameters(shape).body
    found = dial_training(shape, tokens=20 * body)

    assert body == pytest.approx(108e6, rel=0.03)
    assert found.learning_rate == pytest.approx(0.0047 / 2 * (2**18 / 327_680) ** 0.5, rel=0.03)
    assert (
        found.batch_tokens == found.batch_sequences * 2048 == 2**18
    )  # the power of two nearest to 327,680 in logarithm
    assert found.steps == 20 * body // found.batch_tokens
    assert found.warmup_steps == -(-body // found.batch_tokens)


def test_a_tiny_budget_has_enough_steps_and_a_rate_that_fits_its_batch():
    shape = dial(1_800_000, vocabulary=4096, context=256)
    found = dial_training(shape, tokens=1_000_000)

    assert (found.batch_sequences, found.batch_tokens, found.steps, found.warmup_steps) == (16, 4096, 244, 24)
    ladder = dial_training(shape, tokens=100_000_000)
    assert ladder.learning_rate / found.learning_rate == pytest.approx(2, rel=0.15)


def test_a_budget_below_one_sequence_is_refused():
    with pytest.raises(ValueError, match="less than one sequence of 256"):
        dial_training(dial(1_800_000, vocabulary=4096, context=256), tokens=255)
