"""The step that measures perplexity."""

import gzip
import math
import pickle
from pathlib import Path

import kenlm
import pyarrow as pa
import pytest

from pipelines.artifacts import keep
from pipelines.store import Store
from stages.base import measure
from stages.catalog import parse
from stages.errors import DataError, SpecError, StorageError
from stages.ngrams import arpa
from stages.ngrams.normalizations import identity
from stages.text.perplexity import Perplexity

GOLDEN = Path(__file__).with_name("ngram_golden")
TEXTS = ["今天 天气 很 好 。", "a a a\nunknown", "", " \n ", None, "السماء زرقاء اليوم 🎉\n"]


@pytest.fixture
def path(tmp_path):
    found = tmp_path / "model.arpa"
    found.write_bytes(gzip.decompress((GOLDEN / "order-3-prune-0-0-1.arpa.gz").read_bytes()))
    return found


@pytest.fixture
def fitted(store, path, tmp_path):
    """Keep the golden model as an artifact."""

    def fit(name="en", *, normalization="plain", pinned=None, **more):
        table = tmp_path / "model.table"
        arpa.read(path).write(table)
        facts = {"order": 3, "normalization": pinned or identity(normalization), **more}
        return keep(store, name, "ngram", {"model.arpa": path, "model.table": table}, identity=facts, card={})

    return fit


def measured(stage, texts=TEXTS, codes=None, store: Store | None = None):
    columns = {"text": pa.array(texts, pa.string())}
    if codes is not None:
        columns["lang.code"] = pa.array(codes, pa.string())
    kernel = stage.open() if store is None else stage.located(store).open_in(store)
    return measure(stage, kernel, pa.RecordBatch.from_pydict(columns)).to_pydict()


def nats(path, line):
    """Minus the natural logarithm of a line's probability, by kenlm."""
    config = kenlm.Config()
    config.show_progress = False
    return -kenlm.Model(str(path), config).score(line) * math.log(10)


def test_nats_per_token_count_every_word_and_every_end_of_a_line(path):
    found = measured(Perplexity(model=str(path)))

    assert found["tokens"] == [6, 6, 0, 2, None, 5]
    assert found["oov_fraction"] == [0, 0.25, None, None, None, 0]
    assert found["nats_per_token"] == [
        pytest.approx(nats(path, TEXTS[0]) / 6, rel=1e-5),
        pytest.approx((nats(path, "a a a") + nats(path, "unknown")) / 6, rel=1e-5),
        None,
        None,
        None,
        pytest.approx(nats(path, TEXTS[5]) / 5, rel=1e-5),
    ]


def test_an_artifact_and_its_arpa_file_give_the_same(path, fitted, store):
    fitted()

    assert measured(Perplexity(model="artifact:en"), store=store) == measured(Perplexity(model=str(path)))


def test_the_language_chooses_the_model_and_what_none_covers_is_null(path, fitted, store):
    fitted("zh", lang="zh")
    codes = ["zh", "en", "zh", "fr", "zh", None]

    found = measured(Perplexity(models={"zh": "artifact:zh", "en": str(path)}), codes=codes, store=store)

    alone = measured(Perplexity(model=str(path)))
    for name, values in found.items():
        assert values == [*alone[name][:3], None, None, None]


def test_ccnet_reads_a_document_as_one_line_without_case_and_line_breaks(path):
    found = measured(Perplexity(model=str(path), normalization="ccnet"), ["A A\nA a"])

    assert found["nats_per_token"] == [pytest.approx(nats(path, "a aa a") / 4, rel=1e-5)]
    assert found["tokens"] == [4]


def test_what_the_numbers_depend_on_is_in_the_identity_and_places_are_not(path, fitted, store, tmp_path):
    artifact, moved = fitted(normalization="ccnet"), tmp_path / "elsewhere.arpa"
    moved.write_bytes(path.read_bytes())

    one = Perplexity(model="artifact:en").located(store)
    same = Perplexity(model=f"artifact:{artifact.id}", normalization="ccnet").located(store)

    assert one.artifacts() == {"model": artifact.key, "normalizer": "ccnet@1+unicode-14.0.0"}
    assert one.identity() == same.identity()
    assert Perplexity(model=str(path)).identity() == Perplexity(model=str(moved)).identity()
    assert Perplexity(model=str(path)).identity() != Perplexity(model=str(path), normalization="ccnet").identity()


def test_a_located_step_survives_pickling(fitted, store):
    fitted()
    stage = Perplexity(model="artifact:en").located(store)

    assert measured(pickle.loads(pickle.dumps(stage)), store=store) == measured(stage, store=store)


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"model": "a.arpa", "models": {"en": "b.arpa"}}, "name either `model`, or `models`"),
        ({"model": "artifact:en", "pieces": "sp.model"}, "an artifact has its own pieces"),
        ({"model": "a.arpa", "normalization": "ccnett"}, "normalization"),
    ],
)
def test_fields_that_contradict_each_other_are_refused(fields, sentence):
    with pytest.raises(SpecError, match=sentence):
        parse({"kind": "perplexity", **fields}, "step", "step 'ppl'")


@pytest.mark.parametrize("stage", [Perplexity(), Perplexity(models={})])
def test_a_step_without_a_model_is_refused_when_it_is_planned(stage):
    with pytest.raises(SpecError, match="perplexity names no model; write `model: artifact:NAME`"):
        stage.resolve({})


def test_models_that_do_not_fit_are_refused_in_a_sentence(fitted, store):
    fitted("english", lang="en")
    fitted("lower", normalization="ccnet")
    fitted("newer", pinned="ccnet@2")
    fitted("odd", pinned="nfc@1")

    refusals = {
        "is a model of 'en', and `models` names it for 'fr'": Perplexity(models={"fr": "artifact:english"}),
        "did you mean 'english'": Perplexity(model="artifact:englsh"),
        "cannot score 'plain' ones; leave `normalization` out": Perplexity(
            model="artifact:lower", normalization="plain"
        ),
        "normalized by ccnet@2, and this installation": Perplexity(model="artifact:newer"),
        "which this version does not know; update tamis": Perplexity(model="artifact:odd"),
    }
    for sentence, stage in refusals.items():
        with pytest.raises(SpecError, match=sentence):
            stage.located(store)


def test_an_artifact_of_another_kind_is_refused(store, path):
    keep(store, "hq", "quality", {"model.bin": path}, identity={}, card={})

    with pytest.raises(SpecError, match="of kind 'quality' where one of kind 'ngram' is needed"):
        Perplexity(model="artifact:hq").located(store)


def test_an_artifact_whose_content_changed_is_refused(fitted, store):
    artifact = fitted()
    stage = Perplexity(model="artifact:en").located(store)
    file = store.local(artifact.files["model.table"]["path"])
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.chmod(0o600)
    file.write_bytes(data)

    with pytest.raises(StorageError, match="does not have the content that it was committed with"):
        stage.open_in(store)


def test_a_file_that_is_missing_or_cut_off_is_refused(path, tmp_path):
    with pytest.raises(SpecError, match=r"the model '.*none\.arpa' cannot be read"):
        Perplexity(model=str(tmp_path / "none.arpa")).artifacts()
    with pytest.raises(SpecError, match=r"the SentencePiece model '.*none\.model' cannot be read"):
        Perplexity(model=str(path), pieces=str(tmp_path / "none.model")).artifacts()
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(DataError, match="cut off or damaged"):
        Perplexity(model=str(path)).open()


@pytest.mark.parametrize("normalization", ["plain", "document", "ccnet"])
def test_hostile_texts_are_scored_and_where_a_batch_begins_changes_nothing(path, normalization):
    hostile = [
        "a" * 300_000,
        "a " * 100_000,
        "\n" * 100_000,
        "\0" * 100_000,
        "\u0301" * 100_000,
        "字" * 100_000,
        "Σ" * 9,
    ]
    stage = Perplexity(model=str(path), normalization=normalization)
    kernel = stage.open()
    batch = pa.RecordBatch.from_pydict({"text": pa.array([*hostile, *TEXTS] * 2, pa.string())})

    whole = measure(stage, kernel, batch)

    assert whole.slice(3, 12).equals(measure(stage, kernel, batch.slice(3, 12)))
    assert whole.slice(0, 13).equals(whole.slice(13, 13))
