"""Modified Kneser-Ney models: equal to lmplz's, and to their slow definition."""

import gzip
import math
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ngram_runs import learn, parsed, slowly

from learners.ngram.estimating import discounts_of
from learners.ngram.settings import Settings
from stages.errors import SpecError

GOLDEN = Path(__file__).with_name("ngram_golden")
WORDS = ("a", "b", "c", "的", "سماء", "🎉", "é")
LINES = st.lists(st.lists(st.sampled_from(WORDS), max_size=7).map(" ".join), min_size=1, max_size=25).filter(any)
ORDERS = st.integers(1, 6)
PRUNES = st.lists(st.integers(0, 2), min_size=1, max_size=6).map(sorted)


def far(ours, theirs):
    """The largest difference of any logarithm of two models with the same n-grams."""
    assert ours.keys() == theirs.keys()
    return max(abs(a - b) for g in ours for a, b in zip(ours[g], theirs[g], strict=True))


@pytest.mark.parametrize(
    ("name", "order", "prune"),
    [
        ("order-2", 2, (0,)),
        ("order-3-prune-0-0-1", 3, (0, 0, 1)),
        ("order-4-prune-0-1-1-2", 4, (0, 1, 1, 2)),
        ("order-5", 5, (0,)),
        ("order-5-prune-0-0-1", 5, (0, 0, 1)),
    ],
)
def test_a_model_is_that_of_lmplz_with_its_n_grams_in_the_same_order(name, order, prune):
    text = (GOLDEN / "text.txt").read_bytes().decode()
    theirs = parsed(gzip.decompress((GOLDEN / f"{name}.arpa.gz").read_bytes()))

    ours = parsed(learn([text], Settings(order, prune)).arpa)

    assert list(ours) == list(theirs)
    assert far(ours, theirs) < 1e-6


@given(LINES, ORDERS, PRUNES)
@settings(max_examples=60, deadline=None)
def test_a_model_is_what_the_slow_definition_gives(lines, order, prune):
    text = "\n".join(lines) + "\n"
    prune = prune[:order]

    assert far(parsed(learn([text], Settings(order, tuple(prune))).arpa), slowly(text, order, prune)) < 2e-6


@given(LINES, ORDERS, PRUNES, st.integers(1, 30), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_shards_and_partitions_change_no_byte_of_a_model(lines, order, prune, target, shards):
    asked = Settings(order, tuple(prune[:order]))
    texts = [line + "\n" for line in lines]

    assert learn(texts, asked, target=target, shards=shards).arpa == learn(["".join(texts)], asked).arpa


@given(LINES, ORDERS, PRUNES)
@settings(max_examples=40, deadline=None)
def test_after_every_context_the_probabilities_of_all_words_sum_to_one(lines, order, prune):
    grams = parsed(learn(["\n".join(lines)], Settings(order, tuple(prune[:order]))).arpa)
    words = [g for g in grams if len(g) == 1 and g != ("<s>",)]

    def log(context, word):
        if (*context, word) in grams:
            return grams[(*context, word)][0]
        return grams.get(context, (0.0, 0.0))[1] + log(context[1:], word)

    for context in [(), *(g for g in grams if len(g) < order and g[-1] not in {"</s>", "<unk>"})]:
        assert math.isclose(sum(10 ** log(context, w) for (w,) in words), 1, rel_tol=2e-5)


def test_words_are_parted_as_lmplz_parts_them_and_its_own_words_are_white_space():
    spaced = "a\tb\r\n\0c  <s>\u00a0d\x0b </s><unk> <unk>\n"

    grams = {g[0] for g in parsed(learn([spaced], Settings(1)).arpa)}

    assert grams == {"<unk>", "<s>", "</s>", "a", "b", "c", "<s>\u00a0d\x0b", "</s><unk>"}


def test_discounts_are_those_of_chen_and_goodman_where_the_counts_allow_them():
    y = 100 / (100 + 2 * 40)
    assert discounts_of([100, 40, 20, 10]) == pytest.approx(
        (0, 1 - 2 * y * 40 / 100, 2 - 3 * y * 20 / 40, 3 - 4 * y * 10 / 20)
    )
    assert discounts_of([100, 40, 0, 10]) is None
    assert discounts_of([10, 1, 100, 1]) is None


@pytest.mark.parametrize(
    ("order", "prune", "sentence"),
    [
        (0, None, "an n-gram model cannot have the order 0; choose 1 to 6"),
        (7, None, "an n-gram model cannot have the order 7; choose 1 to 6"),
        (3, [0, 2, 1], "--prune 0 2 1 decreases or is negative"),
        (3, [-1], "--prune -1 decreases or is negative"),
        (2, [0, 0, 1], "--prune 0 0 1 names 3 orders, and the model has 2"),
    ],
)
def test_settings_that_no_model_can_have_are_refused(order, prune, sentence):
    with pytest.raises(SpecError, match=sentence):
        Settings.of(order, prune)


def test_the_last_pruning_threshold_holds_for_all_higher_orders():
    assert Settings.of(5, [0, 0, 1]).prune == (0, 0, 1, 1, 1)
    assert Settings.of(2, None).prune == (0, 0)
