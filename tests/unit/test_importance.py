"""DSIR weights: learned counts, the stage's columns, and what is refused."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from slow_ngrams import slow, tokens_of

from learners.importance import count, fit, warnings
from pipelines.artifacts import keep
from pipelines.store import Store
from stages.base import measure
from stages.chance import draw, gumbel
from stages.errors import DataError, SpecError, StorageError
from stages.importance_weights import KIND, ROLE, Features
from stages.text.importance import Importance

WANTED = [
    "The sieve lets the fine flour through and keeps the bran; so it was told, and so it was done.",
    "Всё смешалось в доме Облонских. Жена узнала, что муж был в связи. ΟΔΟΣ İyi",
    "今天天气很好，我们一起去公园散步。然后在图书馆学习。",
]
AT_HAND = [
    "BUY NOW!!! click here -> http://example.org/?a=b&c=d 50% off 👍🏽👍🏽",
    "The sieve is on sale: buy the sieve, the flour, the bran. Click.",
    "السماء زرقاء والشمس مشرقة. هل تريد أن نذهب إلى البحر؟",
    "今天打折！买一送一！ click click click",
]


def dsir(target: list[str], raw: list[str], documents: list[str], features: Features) -> list[float]:
    """Log importance weights as the paper has them, in plain Python."""

    def shares(texts: list[str]) -> dict[int, float]:
        counts = Counter(b for t in texts for b in slow(t, features.ngrams, features.buckets, features.hash))
        return {b: n / counts.total() for b, n in counts.items()}

    p, q = shares(target), shares(raw)
    return [
        math.fsum(
            n * (math.log(p.get(b, 0) + 1e-8) - math.log(q.get(b, 0) + 1e-8))
            for b, n in Counter(slow(d, features.ngrams, features.buckets, features.hash)).items()
        )
        for d in documents
    ]


def fitted(store: Store, folder: Path, features: Features, name: str = "wanted"):
    ratios = fit(*(count([pa.array(texts)], features)[0] for texts in (WANTED, AT_HAND)))
    np.save(folder / ROLE, ratios)
    return keep(store, name, KIND, {ROLE: folder / ROLE}, identity=features.identity(), card={})


def ids_of(texts: list[str]) -> list[str]:
    return [f"{i:032x}" for i in range(len(texts))]


def measured(stage: Importance, store: Store, texts: list[str]) -> list[dict]:
    batch = pa.RecordBatch.from_pydict({"text": texts, "doc_id": ids_of(texts)})
    return measure(stage, stage.open_in(store), batch).to_pylist()


@pytest.mark.parametrize(
    "features", [Features(), Features(hash="sha256"), Features(ngrams=1, buckets=50), Features(3, 200, "sha256")]
)
def test_weights_are_those_of_a_reimplementation_from_the_paper(store, tmp_path, features):
    fitted(store, tmp_path, features)
    stage = Importance(model="artifact:wanted", seed=3, min_tokens=1).located(store)
    texts = [*WANTED, *AT_HAND, "", " ", "new words only", "the " * 5_000]

    rows = measured(stage, store, texts)

    words = [len(tokens_of(t)) for t in texts]
    expected = [w if n else None for w, n in zip(dsir(WANTED, AT_HAND, texts, features), words, strict=True)]
    noise = gumbel(draw(3, "importance", pa.array(ids_of(texts))))
    means = [None if w is None else w / n for w, n in zip(expected, words, strict=True)]
    assert [r["tokens"] for r in rows] == words
    assert [r["log_weight"] for r in rows] == pytest.approx(expected, abs=1e-6)
    assert [r["log_weight_per_token"] for r in rows] == pytest.approx(means, abs=1e-6)
    assert [r["priority"] for r in rows] == pytest.approx(
        [None if w is None else w + g for w, g in zip(expected, noise, strict=True)], abs=1e-6
    )


def test_short_documents_have_tokens_and_nothing_else(store, tmp_path):
    fitted(store, tmp_path, Features())
    stage = Importance(model="artifact:wanted", seed=3, min_tokens=5).located(store)

    short, long = measured(stage, store, ["one two three four", "one two three four five"])

    assert short == {"log_weight": None, "log_weight_per_token": None, "tokens": 4, "priority": None}
    assert None not in long.values()


def test_the_priority_can_be_that_of_the_mean(store, tmp_path):
    fitted(store, tmp_path, Features())
    stage = Importance(model="artifact:wanted", seed=3, min_tokens=1, by="log_weight_per_token").located(store)

    rows = measured(stage, store, WANTED)

    noise = gumbel(draw(3, "importance", pa.array(ids_of(WANTED))))
    assert [r["priority"] for r in rows] == [r["log_weight_per_token"] + g for r, g in zip(rows, noise, strict=True)]


def test_taking_documents_by_priority_draws_them_by_weight(store, tmp_path):
    """Three documents many times over, under other ids: which has the highest priority follows exp(log_weight)."""
    fitted(store, tmp_path, Features(ngrams=1))
    stage = Importance(model="artifact:wanted", seed=7, min_tokens=1).located(store)
    ids = [f"{i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(30_000)]
    texts = ["the", "flour", "sieve sieve"] * 10_000

    answer = stage.open_in(store)(pa.RecordBatch.from_pydict({"text": texts, "doc_id": ids}))

    weights = np.exp(answer["log_weight"].to_numpy()[:3])
    counts = np.bincount(np.argmax(answer["priority"].to_numpy().reshape(-1, 3), axis=1), minlength=3)
    expected = 10_000 * weights / weights.sum()
    assert min(expected) > 50
    assert ((counts - expected) ** 2 / expected).sum() < 13.8, "chi-squared with 2 degrees of freedom at p = 0.001"


def test_what_is_like_the_target_weighs_more(store, tmp_path):
    fitted(store, tmp_path, Features())
    stage = Importance(model="artifact:wanted", seed=1, min_tokens=1).located(store)

    rows = measured(stage, store, ["keeps the fine flour", "click here now"])

    assert rows[0]["log_weight_per_token"] > 0 > rows[1]["log_weight_per_token"]


def test_neighbours_change_no_bit(store, tmp_path):
    fitted(store, tmp_path, Features())
    stage = Importance(model="artifact:wanted", seed=1, min_tokens=1).located(store)
    texts = [*WANTED, "", "the sieve " * 3_000, *AT_HAND]
    kernel, ids = stage.open_in(store), ids_of(texts)

    alone = [
        kernel(pa.RecordBatch.from_pydict({"text": [t], "doc_id": [i]}))["log_weight"]
        for t, i in zip(texts, ids, strict=True)
    ]

    together = kernel(pa.RecordBatch.from_pydict({"text": texts, "doc_id": ids}))["log_weight"]
    assert pa.concat_arrays(alone).equals(together)


def test_the_identity_is_the_weights_and_neither_their_name_nor_the_place(store, tmp_path):
    fitted(store, tmp_path, Features())
    fitted(store, tmp_path, Features(), "twin")
    fitted(store, tmp_path, Features(buckets=99), "other")

    one, twin, other = (
        Importance(model=f"artifact:{name}", seed=1).located(store).identity() for name in ("wanted", "twin", "other")
    )

    assert one == twin
    assert one != other
    assert Importance(model="artifact:wanted", seed=2).located(store).identity() != one


def test_a_located_stage_keeps_its_weights_when_the_name_moves_on(store, tmp_path):
    fitted(store, tmp_path, Features())
    stage = Importance(model="artifact:wanted", seed=1, min_tokens=1).located(store)
    before = measured(stage, store, WANTED)
    fitted(store, tmp_path, Features(buckets=7))

    assert measured(stage, store, WANTED) == before


def test_a_stage_that_was_not_located_does_not_open_in_a_store(store):
    with pytest.raises(StorageError, match="were not located in this store"):
        Importance(model="artifact:wanted", seed=1).open_in(store)


def test_weights_that_were_changed_are_refused(store, tmp_path):
    artifact = fitted(store, tmp_path, Features())
    stage = Importance(model="artifact:wanted", seed=1).located(store)
    path = Path(store.url) / artifact.files[ROLE]["path"]
    path.write_bytes(path.read_bytes()[:-8] + b"changed!")

    with pytest.raises(StorageError, match="does not have the content that it was committed with"):
        stage.open_in(store)


def test_weights_of_another_shape_or_other_features_are_refused(store, tmp_path):
    np.save(tmp_path / ROLE, np.zeros(3))
    keep(store, "wanted", KIND, {ROLE: tmp_path / ROLE}, identity=Features().identity(), card={})
    with pytest.raises(StorageError, match="are float64 of shape"):
        Importance(model="artifact:wanted", seed=1).located(store).open_in(store)

    keep(store, "wanted", KIND, {ROLE: tmp_path / ROLE}, identity={**Features().identity(), "version": 0}, card={})
    with pytest.raises(StorageError, match="learned with other features"):
        Importance(model="artifact:wanted", seed=1).located(store)


def test_an_artifact_of_another_kind_is_refused(store, tmp_path):
    np.save(tmp_path / ROLE, np.zeros(3))
    keep(store, "wanted", "quality", {ROLE: tmp_path / ROLE}, identity={}, card={})

    with pytest.raises(SpecError, match="is an artifact of kind 'quality' where one of kind 'importance' is needed"):
        Importance(model="artifact:wanted", seed=1).located(store)


def test_texts_without_words_and_without_anything_in_common_are_refused():
    features = Features(buckets=1_000)
    one, other, none = (count([pa.array(texts)], features)[0] for texts in (["αλφα"], ["буква"], ["", " \n"]))

    with pytest.raises(DataError, match="the target texts hold no word at all"):
        fit(none, one)
    with pytest.raises(DataError, match="the raw texts hold no word at all"):
        fit(one, none)
    with pytest.raises(DataError, match="no hashed n-gram of the target occurs in the raw texts"):
        fit(one, other)


def test_few_counts_are_warned_of():
    few, many = np.full(100, 3), np.full(100, 300)

    assert warnings(many, many) == []
    assert [w.split(",")[0] for w in warnings(few, many)] == ["the target texts hold 300 n-grams for 100 buckets"]
