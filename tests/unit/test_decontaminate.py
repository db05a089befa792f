"""Passages of evaluation sets in documents, against a slow search over lists of words."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.store import Store
from stages.base import measure
from stages.errors import DataError, SpecError
from stages.evaluation_sets import EvaluationSet
from stages.kernels.passages import CHUNK, CHUNK_BYTES, find, passages
from stages.kernels.sketch_sha1 import words
from stages.text.decontaminate import Decontaminate
from stages.text.minhash import Minhash

WORDS = ["a", "b", "c", "D", "ÀÉ", "天", "很好", "ไทย", "שָׁלוֹם", "e\u0301", "x1", "ﬁn", "a\u200db", "İ"]
BETWEEN = [" ", ", ", ".\n", " 👍🏽 ", "\u3000", "\0", " \u0301", "—"]
TEXTS = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(BETWEEN)), max_size=14).map(
    lambda parts: "".join(word + gap for word, gap in parts)
)
QUESTION = "Which of these sieves, in your opinion, keeps the bran and lets the fine flour through at once?"


def words_of(text: str) -> list[str]:
    return list(words(text, Minhash()))


def slow(sets: dict[str, list[str]], ngram: int, min_words: int, text: str) -> dict[str, Any]:
    """The stage's columns but the offset, from lists of words."""
    known: dict[tuple[str, ...], str] = {}
    for name, items in sets.items():
        for item in map(words_of, items):
            if len(item) >= ngram:
                for i in range(len(item) - ngram + 1):
                    known.setdefault(tuple(item[i : i + ngram]), name)
            elif len(item) >= min_words:
                known.setdefault(tuple(item), name)
    mine = words_of(text)
    hits = [
        tuple(mine[i : i + n])
        for i in range(len(mine))
        for n in range(ngram, 0, -1)
        if i + n <= len(mine) and tuple(mine[i : i + n]) in known
    ]
    places = len(mine) - ngram + 1
    return {
        "hits": len(hits),
        "overlap_fraction": sum(len(h) == ngram for h in hits) / places if places > 0 else None,
        "set": known[hits[0]] if hits else None,
        "ngram": " ".join(hits[0]) if hits else None,
    }


def measured(stage: Decontaminate, *texts: str | None) -> list[dict[str, Any]]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    return measure(stage, stage.open(), batch).to_pylist()


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.lists(TEXTS, min_size=1, max_size=3), min_size=1, max_size=3),
    st.lists(TEXTS, min_size=1, max_size=4),
    st.integers(1, 5),
    st.integers(1, 5),
)
def test_hits_are_those_of_a_slow_search(items, texts, ngram, min_words):
    least = min(ngram, min_words)
    sets = {f"set {i}": [*texts, "w " * least] for i, texts in enumerate(items)}
    stage = Decontaminate(sets={n: {"texts": t} for n, t in sets.items()}, ngram=ngram, min_words=min_words)
    whole = [*texts, items[0][0] + " and more", "before " + items[-1][-1]]

    rows = measured(stage, *whole)

    assert [{k: v for k, v in r.items() if k != "offset_bytes"} for r in rows] == [
        slow(sets, ngram, min_words, text) for text in whole
    ]


@settings(max_examples=100, deadline=None)
@given(TEXTS, TEXTS)
def test_the_offset_is_where_the_first_hit_begins(before, after):
    stage = Decontaminate(sets={"one": {"texts": ["needle in a stack"]}}, ngram=4, min_words=4)

    [row] = measured(stage, f"{before} Needle in—a STACK {after}")

    assert row["hits"] == 1
    assert row["offset_bytes"] == len(before.encode()) + 1
    assert row["ngram"] == "needle in a stack"


@pytest.mark.parametrize("place", [0, CHUNK - 13, CHUNK - 1, CHUNK, CHUNK + 12, 2 * CHUNK + 5])
@pytest.mark.parametrize("length", [1, 40])
def test_a_hit_across_the_kernels_buffers_is_found_once(place, length):
    stage = Decontaminate(sets={"eval": {"texts": [QUESTION]}}, ngram=13)
    before = "".join(f"{i:0{length}d} " for i in range(place))

    [row] = measured(stage, before + QUESTION + " 1" * 3 * CHUNK)

    assert row["hits"] == len(words_of(QUESTION)) - 12
    assert row["offset_bytes"] == len(before)


def test_words_longer_than_the_buffers_are_compared_whole():
    long = "x" * 3 * CHUNK_BYTES
    stage = Decontaminate(sets={"eval": {"texts": [f"{long}a {long}b {long}c"]}}, ngram=3, min_words=1)

    same, other = measured(stage, f"And {long}A {long}B {long}C.", f"And {long}a {long}b {long}d.")

    assert (same["hits"], same["offset_bytes"], same["ngram"]) == (1, 4, f"{long}a {long}b {long}c")
    assert other["hits"] == 0


def test_of_two_sets_with_one_passage_the_first_by_name_is_named():
    sets = {"b": {"texts": [QUESTION]}, "a": {"texts": [QUESTION]}}

    for given_ in (sets, dict(reversed(sets.items()))):
        stage = Decontaminate(sets=given_)
        assert measured(stage, QUESTION)[0]["set"] == "a"
        assert stage.identity() == Decontaminate(sets=sets).identity()


def test_bytes_decide_where_hashes_agree():
    words_ = Minhash()
    sought = passages([["one two three"]], 3, 3, words_)
    sought.content[0] = ord("x")  # another stretch with the same hash

    assert find(pa.array(["one two three"]), sought, words_).hits.tolist() == [0]


def test_short_items_are_found_whole_and_do_not_count_in_the_fraction():
    stage = Decontaminate(sets={"short": {"texts": ["the fine flour", "too short"]}}, ngram=5, min_words=3)

    rows = measured(
        stage, "the fine flour", "It was The Fine Flour! And the fine flour.", "fine flour", "too short", None
    )

    assert [(r["hits"], r["overlap_fraction"], r["offset_bytes"]) for r in rows] == [
        (1, None, 0),
        (2, 0.0, 7),
        (0, None, None),
        (0, None, None),
        (None, None, None),
    ]


def test_a_record_is_the_text_of_its_fields(tmp_path):
    records = [
        {"question": "What keeps the bran", "choices": ["the sieve", "the flour"], "answer": 0},
        {"question": None, "choices": {"text": ["zwölf", "dreizehn"], "label": ["A", "B"]}},
    ]
    (tmp_path / "a.jsonl").write_text("\n\n".join(json.dumps(r) for r in records))
    (tmp_path / "a.json").write_text(json.dumps(records))
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    (tmp_path / "a.jsonl.zst").write_bytes(zstandard.compress((tmp_path / "a.jsonl").read_bytes()))

    for name in ("a.jsonl", "a.json", "a.jsonl.gz", "a.jsonl.zst"):
        one = EvaluationSet(path=str(tmp_path / name), fields=("question", "choices"))
        assert one.items("a") == ["What keeps the bran\nthe sieve\nthe flour", "zwölf\ndreizehn\nA\nB"]


def test_parquet_and_plain_text_are_read(tmp_path):
    pq.write_table(pa.table({"text": ["eins", "", None, "二つ"], "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    (tmp_path / "a.txt").write_text("\n one\ntwo \n\n \n\nthree\r\n", encoding="utf-8")

    assert EvaluationSet(path=str(tmp_path / "a.parquet")).items("a") == ["eins", "二つ"]
    assert EvaluationSet(path=str(tmp_path / "a.txt")).items("a") == [" one\ntwo ", "three"]


def from_file(store: Store, path: Path, **fields: Any) -> Decontaminate:
    return Decontaminate.model_validate({"sets": {"eval": str(path)}, **fields}).located(store)


def test_the_content_is_in_the_identity_and_the_path_is_not(store, tmp_path):
    for name, text in (("a.txt", QUESTION), ("b.txt", QUESTION), ("c.txt", QUESTION + " More.")):
        (tmp_path / name).write_text(text)

    a, b, c = (from_file(store, tmp_path / f"{name}.txt").identity() for name in "abc")

    assert a == b
    assert a != c
    assert from_file(store, tmp_path / "a.txt", ngram=8).identity() != a


def test_a_file_that_changes_under_a_planned_run_is_refused(store, tmp_path):
    path = tmp_path / "a.txt"
    path.write_text(QUESTION)
    stage = from_file(store, path)
    path.write_text(QUESTION + " More.")

    with pytest.raises(SpecError, match="has changed since the run was planned"):
        stage.open()


@pytest.mark.parametrize(
    ("name", "content", "fields", "error", "message"),
    [
        (
            "gone.jsonl",
            None,
            {},
            SpecError,
            "'eval' cannot be read from .*gone.jsonl' .No such file or directory.; correct",
        ),
        ("a.jsonl", b"", {}, SpecError, "has no field 'text'"),
        ("a.jsonl", b'{"txt": "x"}', {}, SpecError, "has no field 'text'; did you mean 'txt'"),
        ("a.jsonl", b'{"text": " "}\n{"text": null}', {}, SpecError, "holds no text, so nothing could be found"),
        ("a.jsonl", b'{"text": "x"}\n{"text"', {}, DataError, "cannot be read: line 2 is not JSON"),
        ("a.jsonl", b"[1, 2]", {}, DataError, "a record is int and not an object"),
        ("a.txt", b"\xff\xfe", {}, DataError, "cannot be read: 'utf-8' codec can't decode"),
        ("a.jsonl.gz", gzip.compress(b'{"text": "x"}', mtime=0)[:-4], {}, DataError, "cannot be read: "),
        ("a.parquet", b"PAR1", {}, DataError, "cannot be read: "),
        ("a.txt", b"one two three", {"min_words": 4}, SpecError, "no item of the evaluation set 'eval' has 4 words"),
    ],
)
def test_a_set_that_cannot_find_anything_is_refused_in_a_sentence(
    store, tmp_path, name, content, fields, error, message
):
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(error, match=message):
        from_file(store, tmp_path / name, **fields)


def test_a_set_is_a_file_or_its_items():
    with pytest.raises(ValueError, match=r"a file .`path`. or its items .`texts`., one of the two"):
        Decontaminate.model_validate({"sets": {"eval": {}}})
