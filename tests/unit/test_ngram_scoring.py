"""Scores of texts: kenlm's, from tables made of ARPA files."""

import gzip
from pathlib import Path

import kenlm
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.errors import DataError, SpecError
from stages.kernels.ngram_words import END, Numbering, word_hash
from stages.ngrams import arpa
from stages.ngrams.scoring import KenLM, Table, opened, score

GOLDEN = Path(__file__).with_name("ngram_golden")
NAMES = ("order-2", "order-3-prune-0-0-1", "order-4-prune-0-1-1-2", "order-5")
VOCABULARY = sorted(set((GOLDEN / "text.txt").read_text(encoding="utf-8").split()))
LINES = (GOLDEN / "text.txt").read_bytes().decode().split("\n")
SENTENCES = st.lists(st.sampled_from(VOCABULARY) | st.sampled_from(["篩", "never-seen"]), max_size=12).map(" ".join)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Each golden ARPA file as a table and as kenlm reads it."""
    folder, found = tmp_path_factory.mktemp("arpa"), {}
    config = kenlm.Config()
    config.show_progress = False
    for name in NAMES:
        path = folder / f"{name}.arpa"
        path.write_bytes(gzip.decompress((GOLDEN / f"{name}.arpa.gz").read_bytes()))
        found[name] = (arpa.read(path), kenlm.Model(str(path), config), path)
    return found


def reference(model, text):
    """Nats, tokens, words and unknown words of a text, word by word from kenlm."""
    lines = text.split("\n")
    rows = [list(model.full_scores(line.encode())) for line in (lines[:-1] if not lines[-1] else lines)]
    logs = [log for row in rows for log, _, _ in row]
    unknown = sum(oov for row in rows for _, _, oov in row)
    return -sum(logs) * np.log(10), len(logs), len(logs) - len(rows), unknown


@pytest.mark.parametrize("name", NAMES)
@given(
    texts=st.lists(
        st.lists(SENTENCES | st.sampled_from(LINES).filter(lambda s: "\r" not in s), max_size=6).map("\n".join),
        max_size=6,
    )
)
@settings(max_examples=60, deadline=None)
def test_texts_are_scored_as_kenlm_scores_their_lines(models, name, texts):
    table, theirs, _ = models[name]

    found = score(table, pa.array(texts, pa.string()))

    for i, text in enumerate(texts):
        nats, *counts = reference(theirs, text)
        assert [found.tokens[i], found.words[i], found.unknown[i]] == counts
        assert found.nats[i] == pytest.approx(nats, abs=1e-5 * max(1, counts[0]))


@pytest.mark.parametrize("name", NAMES)
def test_sentences_longer_than_a_block_and_texts_across_blocks_are_scored_alike(models, name):
    table, theirs, _ = models[name]
    whole = " ".join(line for line in LINES if "\r" not in line)
    texts = [f"{whole} " * 4, "", "a", *[whole] * 5]

    found = score(table, pa.array(texts, pa.string()))

    wanted = [reference(theirs, text) for text in texts]
    assert found.nats == pytest.approx([w[0] for w in wanted], rel=1e-6)
    assert found.tokens.tolist() == [w[1] for w in wanted]


def test_an_arpa_file_packed_with_gzip_is_read_like_the_plain_one(models):
    plain, packed = models["order-5"][0], arpa.read(GOLDEN / "order-5.arpa.gz")

    assert packed.counts == plain.counts
    assert np.array_equal(packed.slots, plain.slots)


def test_numbers_in_every_way_of_writing_are_read_and_unk_need_not_be_there(tmp_path):
    path = tmp_path / "odd.arpa"
    path.write_text(
        "\n\\data\\\nngram 1=4\nngram 2=1\n\n\\1-grams:\n-99\t<s>\t-0.5\n-1.5e0\ta\t+2.5E-1\n-.25 b 0\n-1\t</s>\n\n"
        "\\2-grams:\n-0.125\ta b\n\n\\end\\\n"
    )
    logs = [-0.5 - 1.5, -0.125, 0 - 1, -1 - 0.5, -100 - 0.5, -1]

    found = score(arpa.read(path), pa.array(["a b", "", "\n", "z"], pa.string()))

    assert found.nats / np.log(10) == pytest.approx([-sum(logs[:3]), 0, -logs[3], -sum(logs[4:])])
    assert found.unknown.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("cut", [0, 5, 40, 300, 3_000, -60, -30, -7])
def test_an_arpa_file_that_is_cut_off_is_refused_in_a_sentence(models, tmp_path, cut):
    data = models["order-2"][2].read_bytes()
    path = tmp_path / "cut.arpa"
    path.write_bytes(data[:cut])

    with pytest.raises(DataError, match=r"cut\.arpa' is (cut off or damaged: .*; copy it again|no ARPA file)"):
        opened(path)


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        (b"ngram 1=", b"ngram 7=", "orders from 1 to at most 6 without a gap"),
        (b"\n\\2-grams:", b"\n\\3-grams:", "is not where it should be"),
        (b"\\1-grams:\n", b"\\1-grams:\nxyz\tzyx\t0\n", "is cut off or damaged"),
    ],
)
def test_an_arpa_file_that_is_damaged_is_refused_in_a_sentence(models, tmp_path, before, after, sentence):
    path = tmp_path / "damaged.arpa"
    path.write_bytes(models["order-2"][2].read_bytes().replace(before, after))

    with pytest.raises(DataError, match=sentence):
        opened(path)


def test_an_arpa_file_with_gaps_is_scored_as_kenlm_fills_them(models, tmp_path):
    _, _, whole = models["order-3-prune-0-0-1"]
    grams = [line.split(b"\t")[1].split(b" ") for line in whole.read_bytes().split(b"\n") if b"\t" in line]
    contexts = {b" ".join(g[:2]) for g in grams if len(g) == 3}
    gap = next(b" ".join(g[1:]) for g in grams if len(g) == 3 and g[2] != b"</s>" and b" ".join(g[1:]) not in contexts)
    lines = [line for line in whole.read_bytes().split(b"\n") if line.split(b"\t")[1:2] != [gap]]
    path = tmp_path / "gaps.arpa"
    count = sum(len(g) == 2 for g in grams)
    path.write_bytes(b"\n".join(lines).replace(b"ngram 2=%d" % count, b"ngram 2=%d" % (count - 1)))
    texts = ["\n".join(line for line in LINES if "\r" not in line), gap.decode()]

    loaded = opened(path)

    assert isinstance(loaded, KenLM)
    config = kenlm.Config()
    config.show_progress = False
    wanted = [reference(kenlm.Model(str(path), config), text) for text in texts]
    found = score(loaded, pa.array(texts, pa.string()))
    assert found.nats == pytest.approx([w[0] for w in wanted], rel=1e-6)
    assert [found.tokens.tolist(), found.unknown.tolist()] == [[w[1] for w in wanted], [w[3] for w in wanted]]


def test_a_table_is_the_same_after_writing_and_half_a_file_is_none(models, tmp_path):
    path, half = tmp_path / "model.table", tmp_path / "half.table"
    table = models["order-5"][0]
    table.write(path)
    half.write_bytes(path.read_bytes()[:-16])

    found = opened(path)

    assert isinstance(found, Table)
    assert (found.order, found.counts) == (table.order, table.counts)
    assert np.array_equal(found.slots, table.slots)
    with pytest.raises(DataError, match=r"no whole table of n-grams"):
        opened(half)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.arpa' cannot be read"):
        opened(tmp_path / "nowhere.arpa")


def test_an_n_gram_that_is_there_twice_is_refused():
    rows = (np.array([5, 5], np.uint64), np.zeros(2, np.float32), np.zeros(2, np.float32))

    with pytest.raises(DataError, match="two n-grams of the model are the same"):
        Table.of([rows], [2])


@given(
    st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters=" \t\r\n\0"), min_size=1), min_size=1)
)
@settings(deadline=None)
def test_the_hash_of_a_word_is_what_plain_python_computes(words):
    numbering = Numbering()

    numbers = numbering.number(pa.array(words, pa.string()))

    found = numbering.words()
    assert found["word"].to_pylist() == [w.encode() for w in dict.fromkeys(words)]
    assert found["hash"].to_pylist() == [word_hash(w.encode()) for w in dict.fromkeys(words)]
    assert [found["word"][n].as_py().decode() for n in numbers[::2].tolist()] == words
    assert set(numbers[1::2].tolist()) == {END}


def test_reserved_words_of_a_text_are_white_space(models):
    table = models["order-5"][0]

    found = score(table, pa.array(["<s> a <unk> b </s>", "a b"], pa.string()))

    assert found.nats[0] == found.nats[1]
    assert found.words.tolist() == [2, 2]


def test_pieces_without_sentencepiece_model_are_refused(tmp_path):
    from stages.ngrams.pieces import segmenter  # noqa: PLC0415  # its library is an extra

    with pytest.raises(SpecError, match="there is no SentencePiece model"):
        segmenter(tmp_path / "none.model")
    bad = tmp_path / "bad.model"
    bad.write_bytes(b"not a model")
    with pytest.raises(DataError, match=r"bad\.model' is no SentencePiece model"):
        segmenter(bad)
