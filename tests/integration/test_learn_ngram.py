"""`tamis learn ngram` and what is done with its models."""

import io
import json
import math
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sentencepiece
from ngram_runs import learn, parsed

from learners.ngram.settings import Settings
from pipelines.api import learn_ngram
from pipelines.learning import ngram as learner
from pipelines.learning.ngram import Learning
from pipelines.run import Options
from pipelines.store import Store
from stages.base import measure
from stages.errors import DataError, SpecError
from stages.ngrams.reading import Reading
from stages.text.perplexity import Perplexity

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "pipelines" / "samples"
SENTENCES = [
    "The sieve lets the fine flour through and keeps the bran.",
    "The sieve keeps the stones.",
    "篩 は 細かい 粉 を 通し ます",
    "المنخل يمرر الدقيق الناعم",
    "Bran 🌾 is what the sieve keeps.",
]
TEXTS = [
    " ".join(SENTENCES[(i * j) % 5] for j in range(1 + i % 4)) + ("\nNext line.\n" if i % 3 else "") for i in range(60)
]


@pytest.fixture
def texts(write_jsonl):
    """Three files of documents; gives their folder."""
    for f in range(3):
        write_jsonl(f"texts/{f}.jsonl", [{"text": text} for text in TEXTS[20 * f : 20 * f + 20]])
    return write_jsonl("texts/4.jsonl", [{"text": "end"}]).parent


def test_workers_shards_and_partitions_change_no_byte_of_a_model(texts, tmp_path, monkeypatch):
    asked, found = Settings(3, (0, 0, 1)), []
    files = sorted(map(str, texts.glob("*.jsonl")))  # a shard each, and one of all where the folder is named
    for name, paths, workers, target in (("one", [str(texts)], 1, 10**9), ("two", files, 2, 50)):
        monkeypatch.setattr(learner, "TARGET", target)
        store = Store.open(tmp_path / name)
        artifact = learn_ngram("m", Learning(paths, asked), store=store, options=Options("local", workers))
        found.append((artifact.key, {role: file["sha256"] for role, file in artifact.files.items()}))

    assert found[0] == found[1]
    assert artifact.path(store, "model.arpa").read_bytes() == learn([*TEXTS, "end"], asked).arpa


def test_nothing_of_the_work_is_left_and_learning_again_is_the_same_artifact(texts, store):
    learning = Learning([str(texts)], Settings(2))

    first = learn_ngram("m", learning, store=store, options=Options("local", 1))
    again = learn_ngram("m", learning, store=store, options=Options("local", 1))

    assert again == first
    assert list(store.list("learn")) == []


def test_what_a_broken_run_committed_is_used_and_what_is_damaged_is_made_again(texts, store, monkeypatch):
    learning = Learning([str(texts)], Settings(2))
    whole = learn_ngram("m", learning, store=store, options=Options("local", 1))

    def broken(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(learner, "written", broken)
        with pytest.raises(KeyboardInterrupt):
            learn_ngram("m", learning, store=store, options=Options("local", 1))
    left = [path for path in store.list("learn") if path.endswith(".arrays")]
    damaged = store.local(next(p for p in left if "/adjusted-0." in p))
    damaged.chmod(0o600)
    damaged.write_bytes(damaged.read_bytes()[:-64])

    assert learn_ngram("m", learning, store=store, options=Options("local", 1)) == whole
    assert list(store.list("learn")) == []


def test_the_card_tells_what_was_learned_and_how_it_fits_documents_that_were_held_out(texts, store, write_jsonl):
    held = write_jsonl("held/a.jsonl", [{"text": f"{SENTENCES[1]} " * 20}, {"text": "篩 unseen words " * 20}])

    card = learn_ngram(
        "m", Learning([str(texts)], Settings(3), held_out=[str(held)]), store=store, options=Options("local", 1)
    ).card

    words = sum(len(text.split()) for text in [*TEXTS, "end"])
    assert card["data"]["text"]["words"] == words
    assert card["data"]["held out"]["documents"] == 2
    assert [m["name"] for m in card["metrics"]] == [
        "nats per token, held out",
        "perplexity, held out",
        "unknown words, held out",
    ]
    nats, perplexity, unknown = card["metrics"]
    assert nats["low"] < nats["value"] < nats["high"]
    assert perplexity["value"] == pytest.approx(math.exp(nats["value"]))
    assert unknown["value"] == pytest.approx(40 / (100 + 60 + 2))
    assert [one["text"][:9] for one in card["likes"] + card["hates"]] == ["The sieve", "篩 unseen "[:9]]


def test_a_share_of_the_documents_is_held_out_by_hash_and_not_learned_from(texts, store):
    learning = Learning([str(texts)], Settings(2), held_out_share=0.3, seed=3)

    card = learn_ngram("m", learning, store=store, options=Options("local", 1)).card

    out = card["data"]["held out"]["documents"]
    assert 5 < out < 35
    other = Learning([str(texts)], Settings(2), held_out_share=0.3, seed=4)
    assert learn_ngram("m", other, store=store, options=Options("local", 1)).card != card


def test_too_little_text_is_learned_with_fallback_discounts_and_the_card_says_so(write_jsonl, store):
    path = write_jsonl("a.jsonl", [{"text": "a <s> b"}])

    card = learn_ngram("m", Learning([str(path)], Settings(2)), store=store, options=Options("local", 1)).card

    assert [w[:40] for w in card["warnings"]] == [
        "There is too little text to estimate the",
        "1 words <s>, </s> or <unk> in the texts "[:40],
        "No text was held out, so the metrics are",
    ]


def test_pieces_of_sentencepiece_are_words_and_the_artifact_keeps_them(texts, store, tmp_path):
    model, lines = io.BytesIO(), [line for text in TEXTS for line in text.split("\n") if line]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, vocab_size=90, hard_vocab_limit=False, minloglevel=2
    )
    pieces = tmp_path / "sp.model"
    pieces.write_bytes(model.getvalue())
    learning = Learning([str(texts)], Settings(4), Reading("ccnet", pieces))

    artifact = learn_ngram("m", learning, store=store, options=Options("local", 1))
    pieces.unlink()
    stage = Perplexity(model="artifact:m").located(store)
    batch = pa.RecordBatch.from_pydict({"text": pa.array(["The sieve\nkeeps", ""], pa.string())})
    found = measure(stage, stage.open_in(store), batch).to_pydict()

    processor = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
    own = processor.encode("the sievekeeps", out_type=str)
    assert found["tokens"] == [len(own) + 1, 0]
    assert found["nats_per_token"][0] > 0
    assert found["nats_per_token"][1] is None
    assert set(stage.artifacts()) == {"model", "normalizer", "tokenizer"}
    assert any(gram[0].startswith("▁") for gram in parsed(artifact.path(store, "model.arpa").read_bytes()))


def test_texts_without_a_word_and_missing_files_are_refused(write_jsonl, store, tmp_path):
    blank = write_jsonl("blank.jsonl", [{"text": " \n "}])
    for learning, kind, sentence in (
        (Learning([str(blank)], Settings(2)), DataError, "there is no word in"),
        (Learning([str(tmp_path / "none*")], Settings(2)), DataError, "matches no file"),
        (
            Learning([str(blank)], Settings(2), Reading("plain", tmp_path / "sp.model")),
            SpecError,
            "no SentencePiece model",
        ),
    ):
        with pytest.raises(kind, match=sentence):
            learn_ngram("m", learning, store=store, options=Options("local", 1))
    with pytest.raises(SpecError, match="give either --held-out PATH or --held-out-share"):
        Learning(["a"], Settings(2), held_out=["b"], held_out_share=0.1)
    with pytest.raises(SpecError, match="a share of 1 cannot be held out"):
        Learning(["a"], Settings(2), held_out_share=1.0)


def test_the_command_takes_several_values_for_an_option_and_prints_the_artifact(tamis, texts, store):
    files = sorted(map(str, texts.glob("*.jsonl")))
    learning = ["--text", *files, "--order", 3, "--prune", 0, 0, 1, "--held-out-share", 0.1, "--out", "m"]

    done = tamis("learn", "ngram", *learning, "--engine", "local", "--json")

    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["artifact"].startswith("m-")
    assert answer["card"]["settings"]["prune"] == [0, 0, 1]
    assert answer["card"]["data"]["text"]["documents"] + answer["card"]["data"]["held out"]["documents"] == 61
    for wrong, sentence in ((["--order", 7], "cannot have the order 7"), (["--prune", 1, 0], "--prune 1 0 decreases")):
        refused = tamis("learn", "ngram", "--text", *files, "--out", "m", *wrong)
        assert refused.returncode == 2
        assert sentence in refused.stderr


def test_the_ccnet_spec_runs_on_the_sample_with_a_model_that_the_command_learns_too(tamis, tmp_path):
    texts, held = (sorted((SAMPLES / "clean").glob(f"*/{name}.jsonl.gz")) for name in ("train", "eval"))
    spec = ROOT / "pipelines" / "specs" / "ccnet.yaml"
    part = ["--set", f"source.path={SAMPLES / 'raw' / 'raw-00003.jsonl.gz'}", "--engine", "local", "--json"]
    asked = ["--text", *texts, "--held-out", *held, "--order", 5, "--normalization", "ccnet", "--lang", "en"]

    done = tamis("run", spec, *part)
    learned = tamis("learn", "ngram", *asked, "--out", "ccnet-en", "--engine", "local", "--json")

    assert done.returncode == 0, done.stderr
    assert learned.returncode == 0, learned.stderr
    artifact = json.loads(learned.stdout)["artifact"]
    store = Store.open(tmp_path / "store")
    assert [v["key"] for v in map(store.get_json, store.list("artifacts/ccnet-en/versions"))] == [artifact[-16:]]
    total = json.loads(done.stdout)["total"]
    assert 0 < total["exported"] < total["documents_in"]
    [sidecars] = [p for p in (tmp_path / "store" / "steps").iterdir() if p.name.startswith("ppl-")]
    rows = pa.concat_tables(pq.read_table(p) for p in sidecars.glob("*.parquet"))
    known = rows["nats_per_token"].drop_null()
    assert 0 < len(known) < len(rows)
