"""fastText's files, lines, probabilities and training, against the library and the slow way of saying the same."""

import re
from collections import Counter
from pathlib import Path
from typing import Any

import fasttext
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from learners.quality import Settings, fit
from learners.quality_fasttext import fit_fasttext
from stages.classifiers.fasttext_file import ARGUMENTS, END, SOFTMAX, SUPERVISED, content, parse
from stages.classifiers.fasttext_lines import lines_of, prefix_bytes, spaces_of
from stages.classifiers.softmax import FasttextScorer
from stages.errors import DataError, SpecError
from stages.kernels.arrow import buffers

WORDS = ["cat", "sat", "naïve", "猫", "שלום", "👩‍👩‍👧", "e\u0301", "x" * 50, "a", "Don't", "ξ"]
PIECES = [*WORDS, " ", "  ", "\n", "\r\n", "\t", "\0", "\x1c", "\x85", "\u2028", "\u3000", "\u00a0", " </s> ", "</s>"]
TEXTS = st.lists(st.sampled_from([*PIECES, " __label__good ", "__label__x", "unseen "]), max_size=30).map("".join)


def model_with(seed: int, **arguments: int) -> bytes:
    """A model's file with random weights and the words of WORDS."""
    given = dict.fromkeys(ARGUMENTS, 0) | {"dim": 12, "word_ngrams": 1, "loss": SOFTMAX, "model": SUPERVISED}
    given |= arguments
    source = np.random.default_rng(seed)
    words = [*(w.encode() for w in WORDS), END]
    input_ = source.normal(size=(len(words) + given["bucket"], given["dim"])).astype(np.float32)
    output = source.normal(size=(3, given["dim"])).astype(np.float32)
    counts = np.arange(len(words), 0, -1)
    return content(given, words, counts, ["good", "bad", "ugly"], np.array([3, 2, 1]), 100, (input_, output))


def by_library(path: Path, text: str) -> dict[str, float]:
    """The library's probabilities of a text as DCLM prepares it, without the 1e-5 that it adds to each."""
    model = fasttext.load_model(str(path))
    line = " ".join(text.strip().splitlines()).replace("\n", " ")
    labels, p = model.predict(line, k=-1)
    return {label.removeprefix("__label__"): float(x) - 1e-5 for label, x in zip(labels, p, strict=True)}


KINDS: dict[str, dict[str, int]] = {
    "words": {},
    "pairs of words": {"word_ngrams": 2, "bucket": 1_000},
    "three words": {"word_ngrams": 3, "bucket": 777},
    "parts of words": {"minn": 2, "maxn": 4, "bucket": 1_000},
    "parts and pairs": {"minn": 1, "maxn": 3, "word_ngrams": 2, "bucket": 4_099},
}


@pytest.mark.parametrize("kind", KINDS)
def test_probabilities_are_those_of_the_library(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(model_with(7, **KINDS[kind]))
    scorer, model = FasttextScorer.at(path), fasttext.load_model(str(path))

    @settings(max_examples=150, deadline=None)
    @given(TEXTS)
    def equal(text: str) -> None:
        ours = scorer.predict(pa.array([text]))[0]
        line = " ".join(text.strip().splitlines()).replace("\n", " ")
        if not line.strip(" \t\v\f\r\0"):
            assert np.isnan(ours).all()
            return
        labels, p = model.predict(line, k=-1)
        theirs = {label.removeprefix("__label__"): x - 1e-5 for label, x in zip(labels, p, strict=True)}
        for label, x in zip(scorer.labels, ours, strict=True):
            assert x == pytest.approx(theirs[label], abs=2e-6)

    equal()


def test_a_quantized_file_is_read_as_the_library_reads_it(tmp_path: Path) -> None:
    from stages.text.language import _model_path  # noqa: PLC0415 - the packaged model is quantized and pruned

    model = parse(np.frombuffer(_model_path().read_bytes(), np.uint8), "lid.176.ftz")
    library = fasttext.load_model(str(_model_path()))
    order = lines_of(model, joined=False).order
    assert order is not None
    rows = model.rows(0, model.row_count)

    assert set(model.labels) == {label.removeprefix("__label__") for label in library.get_labels()}
    assert np.array_equal(np.sort(order), np.arange(model.row_count))
    for row in (0, 1, 7_234, 7_235, 49_999):
        assert np.array_equal(rows[row], library.get_input_vector(row))


def test_labels_are_sorted_and_only_a_softmax_is_read(tmp_path: Path) -> None:
    assert FasttextScorer(np.frombuffer(model_with(1), np.uint8)).labels == ("bad", "good", "ugly")
    with pytest.raises(SpecError, match="softmax over at least two labels"):
        FasttextScorer(np.frombuffer(model_with(1, loss=1), np.uint8))


@pytest.mark.parametrize("size", [0, 5, 60, 100, 400])
def test_a_file_that_ends_too_early_is_no_model(size: int, tmp_path: Path) -> None:
    path = tmp_path / "cut.bin"
    path.write_bytes(model_with(1)[:size])

    with pytest.raises(SpecError, match=r"'cut.bin' is no fastText classifier that tamis can read: "):
        FasttextScorer.at(path)


def test_word_vectors_are_no_classifier() -> None:
    with pytest.raises(SpecError, match="it holds word vectors"):
        parse(np.frombuffer(model_with(1, model=1), np.uint8), "vectors.bin")


def words_of(text: str) -> list[str]:
    """The words of a text, the slow way."""
    words = [w for w in re.split(r"[ \n\r\t\v\f\0]", " ".join(text.strip().splitlines())) if w]
    words = words[: words.index("</s>")] if "</s>" in words else words
    return [w for w in words if not w.startswith("__label__")]


@settings(max_examples=200, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_words_are_counted_as_python_counts_them(texts: list[str]) -> None:
    from stages.kernels.fasttext_training import count_words  # noqa: PLC0415 - numba is slow to import

    data, offsets = buffers(pa.array(texts))
    begins, ends, counts, total = count_words(data, offsets, spaces_of(joined=True), prefix_bytes())

    found = {bytes(data[b:e]).decode(): int(n) for b, e, n in zip(begins, ends, counts, strict=True)}
    expected = Counter(w for text in texts for w in words_of(text))
    assert found == expected
    assert total == expected.total() + len(texts)


def test_many_different_words_are_counted() -> None:
    from stages.kernels.fasttext_training import count_words  # noqa: PLC0415 - numba is slow to import

    data, offsets = buffers(pa.array([" ".join(f"w{i} w{i // 2}" for i in range(20_000))]))
    _, _, counts, total = count_words(data, offsets, spaces_of(joined=True), prefix_bytes())

    assert (len(counts), counts.sum(), total) == (20_000, 40_000, 40_001)


def trained_slowly(
    rows: list[list[int]], targets: list[int], tokens: list[int], input_: Any, output: Any, rate: float, epochs: int
) -> None:
    """fastText's training in double precision, as its source has it."""
    total, read, waiting = sum(tokens), 0, 0
    for _ in range(epochs):
        for own, target, count in zip(rows, targets, tokens, strict=True):
            now = rate * (1 - read / (epochs * total))
            waiting += count
            hidden = input_[own].mean(axis=0)
            p = np.exp(output @ hidden - (output @ hidden).max())
            p /= p.sum()
            steps = now * (np.eye(len(output))[target] - p)
            gradient = steps @ output
            output += np.outer(steps, hidden)
            for row in own:
                input_[row] += gradient / len(own)
            if waiting > 100:
                read, waiting = read + waiting, 0


def test_training_takes_the_steps_of_the_library() -> None:
    from stages.kernels.fasttext_training import descend  # noqa: PLC0415 - numba is slow to import

    source = np.random.default_rng(3)
    lists = [source.integers(0, 40, source.integers(1, 60)).tolist() for _ in range(50)]
    targets, tokens = source.integers(0, 3, 50), np.array([len(own) + 1 for own in lists])
    input_, output = source.normal(size=(40, 7)).astype(np.float32), np.zeros((3, 7), np.float32)
    slow_input, slow_output = input_.astype(np.float64), output.astype(np.float64)

    starts = np.cumsum([0, *map(len, lists)])
    rows = np.array([row for own in lists for row in own], np.int32)
    assert descend(rows, starts, targets, tokens, input_, output, 0.5, 4, 100)
    trained_slowly(lists, targets.tolist(), tokens.tolist(), slow_input, slow_output, 0.5, 4)

    assert np.abs(slow_output).max() > 0.5
    assert np.allclose(input_, slow_input, atol=1e-5)
    assert np.allclose(output, slow_output, atol=1e-5)


def labelled(documents: int) -> pa.Table:
    """Texts of two classes that share most of their words."""
    source = np.random.default_rng(1)
    shared, good, bad = ([f"{k}{i}" for i in range(50)] for k in ("shared", "good", "bad"))
    texts = []
    for i in range(documents):
        own = source.choice(good if i % 2 else bad, 5).tolist()
        texts.append(" ".join([*source.choice(shared, 30).tolist(), *own]))
    return pa.table({"text": texts, "label": ["good" if i % 2 else "bad" for i in range(documents)]})


@pytest.mark.parametrize("settings", [Settings(), Settings(word_ngrams=2, bucket=500, dim=16)])
def test_equal_texts_and_seeds_give_equal_bytes_in_any_order(settings: Settings, tmp_path: Path) -> None:
    table = labelled(60)
    contents = []
    for number, (order, seed) in enumerate([(slice(None), 1), (slice(None, None, -1), 1), (slice(None), 2)]):
        rows = table.take(pa.array(np.arange(60)[order]))
        folder = tmp_path / str(number)
        folder.mkdir()
        contents.append(fit(rows, settings=settings, seed=seed).write(folder)["model"].read_bytes())

    assert contents[0] == contents[1]
    assert contents[0] != contents[2]


def test_what_was_fitted_tells_the_classes_apart_and_other_tools_read_it(tmp_path: Path) -> None:
    fitted, fresh = fit(labelled(200), settings=Settings(), seed=1), labelled(300).slice(200)
    p_NC = fitted.predict(fresh["text"].combine_chunks())

    assert fitted.labels == ("bad", "good")
    assert [fitted.labels[i] for i in p_NC.argmax(axis=1)] == fresh["label"].to_pylist()
    for text, p_C in zip(fresh["text"].to_pylist()[:5], p_NC, strict=False):
        theirs = by_library(fitted.write(tmp_path)["model"], text)
        assert [theirs[label] for label in fitted.labels] == pytest.approx(p_C.tolist(), abs=2e-6)


def test_words_that_mean_something_to_fasttext_change_no_label() -> None:
    table = labelled(40)
    texts = [f"__label__good {text} </s> __label__good" for text in table["text"].to_pylist()]
    odd = table.set_column(0, "text", pa.array(texts))
    scored = pa.array([table["text"][0].as_py()])

    assert np.array_equal(
        fit(odd, settings=Settings(epoch=5), seed=1).predict(scored).argmax(axis=1),
        fit(table, settings=Settings(epoch=5), seed=1).predict(scored).argmax(axis=1),
    )
    assert fit(odd, settings=Settings(), seed=1).labels == ("bad", "good")


def test_a_class_without_words_and_a_label_of_two_words_are_named() -> None:
    blank = pa.table({"text": ["a b", " \n\u3000 ", None], "label": ["x", "y", "y"]})
    with pytest.raises(DataError, match="the label 'y' has no text with a word; give it texts, or leave it out"):
        fit(blank, settings=Settings(), seed=1)
    with pytest.raises(DataError, match="all texts have the label 'x'"):
        fit(blank.slice(0, 1), settings=Settings(), seed=1)
    with pytest.raises(DataError, match="no text has a label"):
        fit(pa.table({"text": ["a"], "label": pa.array([None], pa.string())}), settings=Settings(), seed=1)
    with pytest.raises(DataError, match="single words, and there is one 'very good'"):
        fit_fasttext(pa.table({"text": ["a", "b"], "label": ["x", "very good"]}), ["very good", "x"], Settings(), 1)


def test_a_training_that_diverges_says_so() -> None:
    with pytest.raises(SpecError, match=r"diverges with a learning rate of 1e\+30; give a lower one"):
        fit(labelled(40), settings=Settings(lr=1e30), seed=1)
