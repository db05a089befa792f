"""Ordered arms on budgets below their supply: the whole order, in small."""

from hashlib import blake2b

import numpy as np
import pytest

from pipelines.ablation.ordered import part
from trainer.token_pack import PackWriter, TokenPack
from trainer.view import View

DOCUMENTS, LENGTH = 2000, 9
SUPPLY = DOCUMENTS * (LENGTH + 1)
EASIEST_FIRST = View(np.arange(DOCUMENTS)[::-1], ordered=True, name="curriculum")


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> TokenPack:
    path = tmp_path_factory.mktemp("ordered") / "some.tokens"
    ids = np.frombuffer(b"".join(blake2b(b"%d" % n, digest_size=16).digest() for n in range(DOCUMENTS)), np.uint8)
    with PackWriter(path, vocabulary=50, end_of_text=0, tokenizer="t") as writer:
        lengths = np.full(DOCUMENTS, LENGTH)
        writer.append(ids.reshape(-1, 16), lengths, np.ones(DOCUMENTS * LENGTH, np.uint16), lengths)
        writer.close()
    return TokenPack.open([path])


def test_a_small_budget_reads_its_order_from_the_easiest_to_the_hardest(pack):
    own = part(EASIEST_FIRST, pack, SUPPLY // 10, seed=1)

    assert own.ordered
    assert (np.diff(own.rows) < 0).all()
    assert np.histogram(own.rows, bins=4, range=(0, DOCUMENTS))[0].min() > DOCUMENTS // 10 // 4 * 0.6


def test_a_part_is_as_large_as_its_budget_within_a_document(pack):
    for tokens in (1, 10, 777, SUPPLY // 2):
        held = len(part(EASIEST_FIRST, pack, tokens, seed=1).rows) * (LENGTH + 1)

        assert tokens < held <= tokens + LENGTH + 2


def test_an_order_that_its_budget_reads_to_the_end_stays_whole(pack):
    assert part(EASIEST_FIRST, pack, SUPPLY, seed=1) is EASIEST_FIRST
    assert part(EASIEST_FIRST, pack, 3 * SUPPLY, seed=1) is EASIEST_FIRST


def test_a_bag_of_documents_stays_whole(pack):
    bag = View(np.arange(DOCUMENTS), ordered=False, name="bag")

    assert part(bag, pack, 100, seed=1) is bag


def test_another_seed_reads_other_documents_and_a_larger_budget_more(pack):
    one, other, more = (part(EASIEST_FIRST, pack, t, seed=s) for t, s in ((2000, 1), (2000, 2), (4000, 1)))

    assert set(one.rows) != set(other.rows)
    assert set(one.rows) < set(more.rows)
