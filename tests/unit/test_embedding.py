import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.base import measure
from stages.embeddings.distillation import TABLE, TOKENIZER, static_folder
from stages.embeddings.encoding import Encoded, column_of, vectors_of
from stages.embeddings.models import find_model, packaged
from stages.embeddings.static import open_static
from stages.errors import SpecError
from stages.text.embedding import Embedding

TEXTS = [
    "The committee approved the new budget for schools on Monday.",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "今天天气很好，我们一起去公园散步。",
    "السماء زرقاء والشمس مشرقة.",
    "e\u0301 a\u0308 👩‍👩‍👧‍👦 🎉 nul \x00 and \u202eoverride\u202c don't U.S. [CLS] [UNK]",
    "word " * 700,
    "\n\n" + " " * 9000 + "late",
    "x" * 5000,
]


def measured(texts: list[str | None], **fields: Any) -> pa.RecordBatch:
    stage = Embedding(**fields)
    return measure(stage, stage.open(), pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))


def vectors(batch: pa.RecordBatch) -> Any:
    return vectors_of(batch["vector"]).astype(np.float64)


@pytest.fixture(scope="module")
def model2vec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The distilled model as model2vec itself keeps one."""
    from model2vec import StaticModel  # noqa: PLC0415 - heavy
    from tokenizers import Tokenizer  # noqa: PLC0415 - heavy

    folder = tmp_path_factory.mktemp("model2vec")
    made = static_folder()
    tokenizer = Tokenizer.from_file(str(made / TOKENIZER))
    config = {"model_type": "model2vec", "hidden_dim": 256, "normalize": True}
    StaticModel(np.load(made / TABLE), tokenizer, config=config, normalize=True).save_pretrained(folder)
    return folder


def test_static_vectors_are_those_of_model2vec(model2vec_folder: Path) -> None:
    from model2vec import StaticModel  # noqa: PLC0415 - heavy

    theirs = StaticModel.from_pretrained(model2vec_folder).encode(TEXTS)
    ours = measured([*TEXTS])

    known = ours["vector"].is_valid().to_numpy(zero_copy_only=False)
    assert known.tolist() == [*(np.abs(theirs).sum(axis=1) > 0).tolist()[:6], True, False]  # it reads no late word
    assert np.abs(vectors(ours) - theirs)[:6].max() < 1e-3  # they average in float16


def test_a_folder_of_model2vec_gives_what_the_distilled_model_gives(model2vec_folder: Path) -> None:
    given = Embedding(model=str(model2vec_folder))

    assert measured([*TEXTS], model=str(model2vec_folder)) == measured([*TEXTS])
    assert given.parameters() == Embedding().parameters()
    assert given.artifacts() != Embedding().artifacts()


@pytest.fixture(scope="module")
def encoder() -> Any:
    return open_static(find_model("static"), 16)


PARTS = [
    "the",
    "running",
    "Unbelievably",
    "xqzv",
    "don't",
    "a-b",
    "[UNK]",
    "[1]",
    "ü",
    "İ",
    "字字",
    "🎉",
    "\x00",
    "\x1f",
    "e\u0301",
]
PARTS += [
    "9" * 101,
    "x" * 100,
    "\u00a0",
    "\u200b",
    "_",
    "$5.00",
    "~",
    " ",
    "  ",
    "\n",
    "\t\r",
    "\x0b",
    "##ing",
    "[PAD]",
    "\ufffd",
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.sampled_from(PARTS) | st.text(max_size=4), max_size=40).map("".join), max_size=4))
def test_chunks_give_the_tokens_of_whole_texts(encoder: Any, texts: list[str]) -> None:
    values = pa.array([t.encode("utf-8", "ignore").decode() for t in texts], pa.string())
    whole = encoder._whole(values)  # noqa: SLF001 - the slow way, by the tokenizer alone
    chunked = encoder(values)

    assert chunked.tokens.tolist() == whole.tokens.tolist()
    assert chunked.truncated.tolist() == whole.truncated.tolist()
    assert chunked.vectors.tobytes() == whole.vectors.tobytes()


def test_a_text_of_chunks_without_tokens_is_read_to_its_end(encoder: Any) -> None:
    values = pa.array(["\x01 " * 100 + "late", "\x01 " * 100 + "late " * 17])

    answer = encoder(values)

    assert (answer.tokens.tolist(), answer.truncated.tolist()) == ([1, 16], [False, True])


def test_columns_say_how_much_was_read() -> None:
    batch = measured([*TEXTS, "", None])

    assert batch["tokens"].to_pylist()[5:] == [512, 1, 0, 0, None]
    assert batch["truncated"].to_pylist() == [False] * 5 + [True, False, False, False, None]
    assert batch["vector"].is_valid().to_pylist() == [True] * 7 + [False] * 3


def test_vectors_have_length_one() -> None:
    known = vectors(measured([*TEXTS]))[:7]

    assert np.linalg.norm(known, axis=1) == pytest.approx(1, abs=1e-3)


def test_only_the_first_tokens_count() -> None:
    long = "alpha beta gamma delta " * 300

    assert measured([long], max_tokens=8)["vector"] == measured(["alpha beta gamma delta " * 2])["vector"]
    assert measured([long + "omega"])["vector"] == measured([long])["vector"]


def test_texts_that_mean_the_same_are_nearer_than_others() -> None:
    same = ["A cat sleeps on the sofa.", "The kitten is sleeping on the couch.", "Share prices fell sharply in Tokyo."]

    for model in ("static", "minilm"):
        a, b, c = vectors(measured([*same], model=model))
        assert a @ b > max(a @ c, b @ c) + 0.2


def test_a_vector_does_not_depend_on_what_is_beside_it_in_a_batch() -> None:
    texts = ["short", TEXTS[0], "word " * 40, TEXTS[1], "the end", " ", TEXTS[2]]

    for model in ("static", "minilm"):
        stage = Embedding(model=model)
        kernel = stage.open()
        batch = pa.RecordBatch.from_pydict({"text": texts})
        whole = measure(stage, kernel, batch)
        backwards = measure(stage, kernel, batch.take(pa.array(range(len(texts))[::-1])))
        alone = pa.concat_batches([measure(stage, kernel, batch.slice(i, 1)) for i in range(len(texts))])
        assert backwards.take(pa.array(range(len(texts))[::-1])) == whole
        assert alone == whole


def test_minilm_vectors_are_those_of_sentence_transformers() -> None:
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy

    texts = [TEXTS[0], TEXTS[2], "word " * 300]
    theirs = SentenceTransformer(str(packaged()), device="cpu").encode(texts, normalize_embeddings=True)
    batch = measured([*texts], model="minilm")

    assert np.abs(vectors(batch) - theirs).max() < 1e-3
    assert batch["tokens"].to_pylist() == [11, 17, 254]
    assert batch["truncated"].to_pylist() == [False, False, True]


def test_a_model_is_known_by_its_content_not_by_its_place(tmp_path: Path) -> None:
    copy = shutil.copytree(packaged(), tmp_path / "elsewhere")
    named = Embedding(model="minilm", device="cpu").identity()

    assert Embedding(model=str(copy), device="cpu").identity() == named
    assert Embedding(model="sentence-transformers/all-MiniLM-L6-v2", device="cpu").identity() == named
    (copy / "vocab.txt").write_text("another\n")
    assert Embedding(model=str(copy), device="cpu").identity() != named


def test_a_model_that_was_downloaded_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "hub" / "models--some--model"
    shutil.copytree(packaged(), folder / "snapshots" / "abc", ignore=shutil.ignore_patterns("*.safetensors"))
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))

    found = find_model("some/model")

    assert (found.encoder, found.dimensions, found.max_tokens) == ("transformer", 384, 256)


def test_a_name_that_needs_the_network_is_refused_at_planning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(SpecError, match="nothing is downloaded; give the path of its folder"):
        Embedding(model="intfloat/e5-base").identity()


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="holds no sentence-transformers model"):
        Embedding(model=str(tmp_path)).schema()


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    with pytest.raises(SpecError, match="this machine has none; give `device: cpu`"):
        Embedding(model="minilm", device="cuda").open()


def test_the_device_is_fixed_at_planning_and_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert Embedding(model="minilm").resolve({}).device == "cpu"
    assert Embedding(model="minilm").parameters()["device"] == "cpu"
    assert Embedding(model="minilm", device="cuda").parameters()["device"] == "cuda"
    assert "device" not in Embedding(device="cuda").parameters()


def test_the_width_of_the_column_is_that_of_the_model() -> None:
    widths = [Embedding(model=m).schema().field("vector").type for m in ("static", "minilm")]

    assert widths == [pa.binary(512), pa.binary(768)]


def test_vectors_survive_parquet_and_slices(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    given = rng.standard_normal((50, 8)).astype(np.float32)
    tokens = np.arange(50)
    values = column_of(Encoded(given, tokens, np.zeros(50, bool)))
    pq.write_table(pa.table({"vector": values}), tmp_path / "v.parquet")
    back = pq.read_table(tmp_path / "v.parquet")["vector"].combine_chunks()

    assert back == values
    assert values.is_valid().to_pylist() == [False] + [True] * 49
    expected = (given / np.linalg.norm(given, axis=1, keepdims=True)).astype(np.float16)
    assert np.abs(vectors_of(values)[1:].astype(float) - expected[1:]).max() < 1e-3
    assert vectors_of(values.slice(7, 5)).tobytes() == vectors_of(values)[7:12].tobytes()


def test_encoding_says_nothing_on_standard_error(capfd: pytest.CaptureFixture[str]) -> None:
    measured(["quiet, please"], model="minilm")
    measured(["quiet, please"])

    assert capfd.readouterr() == ("", "")


@pytest.mark.long
def test_distilling_again_gives_equal_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    again = static_folder()
    monkeypatch.undo()
    first = static_folder()

    assert again.name == first.name
    assert {f.name: f.read_bytes() for f in again.iterdir()} == {f.name: f.read_bytes() for f in first.iterdir()}
