"""The stage `quality` and what is studied of a classifier: calibrated probabilities, and a sentence for what is wrong."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from learners.quality import Settings, fit
from learners.quality_study import Plan, Study, study
from pipelines.artifacts import keep
from pipelines.store import Store
from stages.base import measure
from stages.classifiers.logistic import LogisticScorer
from stages.errors import DataError, SpecError, StorageError
from stages.text.embedding import Embedding
from stages.text.quality import Quality

GOOD = [
    "The history of the river valley is told in old books.",
    "山间的河流缓缓流过古老的村庄。",
    "הנהר זורם בעמק הישן",
]
BAD = ["BUY NOW cheap pills!!! click here 👉", "立即购买 便宜 药 点击 这里", "קנה עכשיו בזול"]


def table(copies: int = 40, high: str = "good", low: str = "bad") -> pa.Table:
    """Documents of two classes, each with a word of its own."""
    rows = [(f"{text} n{i}", label) for i in range(copies) for own, label in ((GOOD, high), (BAD, low)) for text in own]
    texts, labels = zip(*rows, strict=True)
    where = [str(i) for i in range(len(rows))]
    return pa.table({"text": texts, "label": labels, "source": ["one"] * len(rows), "where": where})


@pytest.fixture(scope="module")
def studied() -> Study:
    return study(table(), Plan(Settings(dim=16, lr=0.5, epoch=20)), seed=1)


def kept(store: Store, folder: Path, done: Study, name: str = "hq") -> Any:
    return keep(store, name, "quality", done.fitted.write(folder), identity=done.identity(), card=done.card)


def scored(store: Store, texts: list[str | None], **fields: Any) -> dict[str, list[Any]]:
    stage = Quality(**{"model": "artifact:hq", **fields}).located(store)
    batch = pa.record_batch({"text": pa.array(texts, pa.string())})
    answer: dict[str, list[Any]] = measure(stage, stage.open_in(store), batch).to_pydict()
    return answer


def test_probabilities_of_an_artifact_are_calibrated_and_rank_as_they_should(store, tmp_path, studied):
    kept(store, tmp_path, studied)
    found = scored(store, [*GOOD, *BAD, None, " \n\u3000\t"])

    assert found["label"] == ["good"] * 3 + ["bad"] * 3 + [None, None]
    assert min(found["p_high"][:3]) > 0.5 > max(found["p_high"][3:6])
    assert found["p_high"][6:] == [None, None] == found["p"][6:]
    raw = studied.fitted.predict(pa.array([*GOOD, *BAD]))[:, 1]
    assert found["p_high"][:6] == studied.calibration.high(raw).tolist()
    assert scored(store, [*GOOD, *BAD], calibrated=False)["p_high"] == raw.tolist()


def test_another_label_can_be_the_high_one(store, tmp_path, studied):
    kept(store, tmp_path, studied)
    found, turned = scored(store, GOOD), scored(store, GOOD, high="bad")

    assert turned["p_high"] == pytest.approx([1 - p for p in found["p_high"]])
    assert turned["label"] == found["label"]
    with pytest.raises(SpecError, match="'artifact:hq' has no label 'fine'; its labels are 'bad', 'good'"):
        Quality(model="artifact:hq", high="fine").located(store)


def test_the_content_of_the_model_is_its_identity_and_its_name_is_not(store, tmp_path, studied):
    first = kept(store, tmp_path, studied)
    kept(store, tmp_path, studied, "same")
    stage, same = Quality(model="artifact:hq").located(store), Quality(model="artifact:same").located(store)

    assert stage.artifacts() == {"model": first.key}
    assert stage.identity() == same.identity()
    assert Quality(model="artifact:hq", max_chars=5).located(store).identity() != stage.identity()
    assert Quality(model=f"artifact:{first.id}").located(store).identity() == stage.identity()


def test_a_newer_version_changes_nothing_that_was_planned(store, tmp_path, studied):
    kept(store, tmp_path, studied)
    planned = Quality(model="artifact:hq").located(store)
    other = study(table(), Plan(Settings(dim=16, lr=0.5, epoch=20)), seed=2)
    kept(store, tmp_path, other)
    batch = pa.record_batch({"text": GOOD})

    assert Quality(model="artifact:hq").located(store).identity() != planned.identity()
    assert measure(planned, planned.open_in(store), batch)["p_high"].to_pylist() == (
        studied.calibration.high(studied.fitted.predict(pa.array(GOOD))[:, 1]).tolist()
    )


def test_a_model_that_was_changed_is_refused(store, tmp_path, studied):
    artifact = kept(store, tmp_path, studied)
    stage = Quality(model="artifact:hq").located(store)
    path = store.local(artifact.files["model"]["path"])
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")

    with pytest.raises(StorageError, match="does not have the content that it was committed with; restore it"):
        stage.open_in(store)


def test_the_path_of_a_fasttext_model_is_enough(tmp_path, store, studied):
    path = studied.fitted.write(tmp_path)["model"]
    found = scored(store, GOOD, model=str(path), high="good")

    assert found["p_high"] == studied.fitted.predict(pa.array(GOOD))[:, 1].tolist()
    assert scored(store, GOOD, model=str(path))["p_high"] == [None] * 3
    with pytest.raises(SpecError, match="neither artifact:NAME nor the path of a fastText classifier"):
        Quality(model=str(tmp_path / "absent.bin")).open()
    with pytest.raises(SpecError, match="the store has no artifact 'hq'; fit one with: tamis learn"):
        Quality(model="artifact:hq").located(store)


def test_only_the_first_characters_count(store, tmp_path, studied):
    kept(store, tmp_path, studied)

    assert scored(store, [GOOD[1] + " " + BAD[0] * 50], max_chars=len(GOOD[1])) == scored(store, [GOOD[1]])


def test_embeddings_with_logistic_regression_do_the_same(store, tmp_path):
    done = study(table(), Plan(Settings(kind="embedding")), seed=1)
    kept(store, tmp_path, done)
    found = scored(store, [GOOD[0], BAD[0], " "])

    assert found["label"] == ["good", "bad", None]
    stage = Quality(model="artifact:hq").located(store)
    assert stage.artifacts() | Embedding().artifacts() != stage.artifacts()
    assert stage.artifacts()["embedding.model"] == Embedding().artifacts()["model"]
    assert stage.identity()["parameters"]["embedding"] == {"encoder": "static", "max_tokens": 512}


def test_vectors_that_are_there_already_give_the_same_classifier(tmp_path):
    rows = table(5)
    fitted = fit(rows, settings=Settings(kind="embedding"), seed=1)
    texts = rows["text"].combine_chunks()
    vectors = fitted.vectors(texts)
    again = fit(rows.append_column("vector", vectors), settings=Settings(kind="embedding"), seed=2)

    assert isinstance(fitted.scorer, LogisticScorer)
    assert np.array_equal(again.predict(vectors), fitted.predict(texts))
    assert fitted.predict(vectors[3:7]).tolist() == fitted.predict(texts)[3:7].tolist()
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    assert fitted.write(one)["model"].read_bytes() == again.write(two)["model"].read_bytes()


def test_an_encoder_of_another_content_is_refused(store, tmp_path):
    done = study(table(), Plan(Settings(kind="embedding")), seed=1)
    identity = done.identity()
    identity["embedding"] = identity["embedding"] | {"artifacts": {"model": "another"}}
    keep(store, "hq", "quality", done.fitted.write(tmp_path), identity=identity, card={})

    with pytest.raises(SpecError, match="was fitted with another encoder 'static' than this machine has"):
        Quality(model="artifact:hq").located(store)


def test_more_than_two_classes_have_a_temperature_and_no_high_one(store, tmp_path):
    rows = pa.concat_tables([table(), table(40, "odd", "ugly").filter(pa.array([i % 6 < 3 for i in range(240)]))])
    odd = rows.set_column(
        0,
        "text",
        pa.array(
            [f"{label} {text}" for text, label in zip(*(rows[c].to_pylist() for c in ("text", "label")), strict=True)]
        ),
    )
    done = study(odd, Plan(Settings(dim=16, lr=0.5, epoch=20)), seed=1)
    kept(store, tmp_path, done)
    found = scored(store, ["odd odd odd"])

    assert (done.calibration.method, done.high) == ("temperature", None)
    assert found["label"] == ["odd"]
    assert found["p_high"] == [None]
    assert scored(store, ["odd odd odd"], high="odd")["p_high"] == found["p"]
    assert [m["name"] for m in done.card["metrics"]] == ["accuracy", "log loss"]


def test_a_study_tells_what_it_measured(studied):
    card = studied.card

    assert sum(n for part in card["parts"].values() for n in part.values()) == 240
    assert [m["name"] for m in card["metrics"]][:2] == ["accuracy", "ROC AUC"]
    assert all(m["low"] <= m["value"] <= m["high"] for m in card["metrics"])
    assert {d["label"] for d in card["likes"]} == {"good"}
    assert {d["label"] for d in card["hates"]} == {"bad"}
    assert card["curves"][0]["series"][0]["points"]
    assert card["settings"]["high"] == studied.high == "good"


def test_a_study_does_not_depend_on_the_order_of_its_documents(studied):
    again = study(table().take(pa.array(np.arange(240)[::-1])), Plan(Settings(dim=16, lr=0.5, epoch=20)), seed=1)

    assert again.identity() == studied.identity()
    assert again.card["metrics"] == studied.card["metrics"]


@pytest.mark.parametrize(
    ("labels", "high", "warned"),
    [
        (("ham", "spam"), "ham", False),
        (("bad", "x"), "x", False),
        (("a", "z"), "z", True),
        (("hq", "low"), "hq", False),
    ],
)
def test_the_good_label_is_guessed_by_its_name_or_said_to_be_unknown(labels, high, warned):
    done = study(table(12, *labels), Plan(Settings(dim=8, epoch=2), calibration="none"), seed=1)

    assert done.high == high
    assert any("say it with --high" in w for w in done.card["warnings"]) is warned


def test_what_cannot_be_studied_is_said_in_a_sentence():
    plan = Plan(Settings(dim=4, epoch=1))
    with pytest.raises(
        SpecError, match="no text has the label 'great', which is to be the high one; the labels are 'bad', 'good'"
    ):
        study(table(), Plan(Settings(), high="great"), seed=1)
    with pytest.raises(DataError, match="all texts have the label 'good'; give texts with another label"):
        study(table(4, "good", "good"), plan, seed=1)
    blank = table(4).set_column(0, "text", pa.array([" " if i % 6 > 2 else f"word {i}" for i in range(24)]))
    with pytest.raises(DataError, match="the label 'bad' has no text with a word"):
        study(blank, plan, seed=1)
    few = table(1).slice(2, 2)
    with pytest.raises(
        DataError, match=r"has too few texts: none is left to fit on, as shares of 0\.5 and 0\.49 are for"
    ):
        study(few, Plan(Settings(dim=4, epoch=1), calibrate=0.49, held_out=0.5), seed=1)
    with pytest.raises(SpecError, match="leave a rest to fit on"):
        study(table(), Plan(Settings(), calibrate=0.5, held_out=0.5), seed=1)


def test_texts_with_two_labels_and_small_parts_are_warned_of():
    both = pa.concat_tables([table(3), table(3, "bad", "good")])
    warnings = study(both, Plan(Settings(dim=4, epoch=1)), seed=1).card["warnings"]

    assert "18 texts have more than one label; clear them up" in warnings
    assert any(w.startswith("probabilities are not calibrated: the calibration part has ") for w in warnings)


def test_classes_of_different_sources_are_warned_of():
    rows = table()
    apart = rows.set_column(
        2, "source", pa.array(["books" if own == "good" else "web" for own in rows["label"].to_pylist()])
    )
    warnings = study(apart, Plan(Settings(dim=16, lr=0.5, epoch=20)), seed=1).card["warnings"]

    assert any(w.startswith("source alone tells 100.0% of the held-out documents apart") for w in warnings)
