import gzip
import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash, MinHashLSH
from pydantic import ValidationError

from stages.banding import candidate_probability
from stages.base import measure
from stages.kernels.minhash import band_keys, set_jaccard, signature_jaccard
from stages.kernels.shingles import shingle_hashes
from stages.text.minhash import Minhash

RAW = Path(__file__).parents[2] / "../shared/data/raw"
MEGABYTES_A_SECOND = 120


def sketched(texts, stage=None):
    stage = stage or Minhash()
    return measure(stage, stage.open(), pa.record_batch({"text": pa.array(texts, pa.string())}))


def matrix(column) -> np.ndarray:
    return np.array([np.frombuffer(value, "<u4") for value in column.to_pylist()])


def test_a_text_without_a_token_has_no_signature_and_is_neither_short_nor_not():
    answer = sketched(["", " \n", "...!?", "🎉🎉", "\u0301"]).to_pylist()

    assert answer == [{"signature": None, "ngrams": 0, "short": None}] * 5


def test_a_text_of_too_few_tokens_is_signed_by_all_of_them():
    answer = sketched(["one two three four", "One, two, three: four!", "one two three", "one two three four five"])
    signatures = answer["signature"].to_pylist()

    assert answer["short"].to_pylist() == [True, True, True, False]
    assert answer["ngrams"].to_pylist() == [0, 0, 0, 1]
    assert signatures[0] == signatures[1]
    assert len(set(signatures)) == 3


def test_equal_tokens_have_equal_signatures_and_switches_tell_others_apart():
    pairs = {
        "lowercase": ("Alpha BETA gamma Ünder STRASSE x", "alpha beta gamma ünder strasse x"),
        "punctuation": ("a b, c. d-e f", "a b c d e f"),
        "digits": ("in 1999 there were 31 of them", "in 2024 there were 7 of them"),
        "accents": ("café naïve Ångström señor über e\u0301", "cafe naive Angstrom senor uber e"),
    }
    equal = {}
    for switch, (one, other) in pairs.items():
        for value in (False, True):
            a, b = sketched([one, other], Minhash(**{switch: value}))["signature"].to_pylist()
            equal[switch, value] = a == b

    assert equal == {(switch, value): value is (switch == "lowercase") for switch in pairs for value in (False, True)}


def test_joiners_and_soft_hyphens_do_not_cut_words():
    plain, marked = sketched(["cooperation می‌خواهم one two three", "co\u00adoperation میخواهم one two\u2060 three"])[
        "signature"
    ].to_pylist()

    assert plain == marked


@pytest.mark.parametrize(
    ("text", "ngrams"),
    [
        ("今天天气很好", 2),
        ("อากาศวันนี้ดี", 5),
        ("ខ្ញុំស្រឡាញ់អ្នក", 5),
        ("いろはにほへと", 3),
        ("我用Python写代码", 2),
        ("한국어는 띄어쓰기가 있는 언어 입니다", 1),
    ],
)
def test_scripts_without_spaces_have_ngrams(text, ngrams):
    assert sketched([text])["ngrams"].to_pylist() == [ngrams]


def test_other_bands_of_as_many_permutations_are_the_same_work():
    assert Minhash(bands=14, rows=8).identity() == Minhash(bands=16, rows=7, text="clean.text").identity()
    assert Minhash(bands=14, rows=8).identity() != Minhash(bands=14, rows=9).identity()
    assert Minhash().parameters() == {
        "permutations": 112, "ngram": 5, "unit": "word", "lowercase": True, "punctuation": False, "digits": True,
        "accents": True, "seed": 1, "hash": "fast",
    }  # fmt: skip


def test_more_permutations_than_can_be_signed_are_refused():
    with pytest.raises(ValidationError, match="200 bands of 100 rows are 20000 permutations; at most 16384"):
        Minhash(bands=200, rows=100)


def test_signatures_can_be_looked_up_in_an_index_of_datasketch():
    texts = [f"{'the same words in every text ' * 3} and a few others {i}" for i in range(3)] + [
        "nothing like it at all"
    ]
    stage = Minhash(hash="sha1")
    signatures = matrix(sketched(texts, stage)["signature"])
    index = MinHashLSH(num_perm=112, params=(14, 8))
    for i, values in enumerate(signatures):
        index.insert(str(i), MinHash(seed=1, hashvalues=values, scheme="affine32"))
    query = MinHash(112, 1)
    words = texts[0].split()
    query.update_batch([" ".join(words[i : i + 5]).encode() for i in range(len(words) - 4)])

    assert query.hashvalues.tolist() == signatures[0].tolist()
    assert sorted(index.query(query)) == ["0", "1", "2"]


def pairs_of_jaccard(common: int, own: int, count: int) -> tuple[list[str], list[str]]:
    """Texts of one-word n-grams that have `common` of them in common and `own` each to itself."""
    draw = np.random.default_rng(5)
    words = draw.integers(0, 2**60, (count, common + 2 * own))
    one = [" ".join(f"{w:x}" for w in row[: common + own]) for row in words]
    other = [" ".join(f"{w:x}" for w in (*row[:common], *row[common + own :])) for row in words]
    return one, other


@pytest.mark.parametrize(("common", "own"), [(20, 90), (100, 50), (120, 30), (160, 20), (180, 10), (190, 5)])
def test_planted_pairs_are_estimated_and_found_as_theory_says(common, own):
    count, stage = 1000, Minhash(ngram=1)
    one, other = (pa.array(texts) for texts in pairs_of_jaccard(common, own, count))
    (a, ao), (b, bo) = shingle_hashes(one, stage), shingle_hashes(other, stage)
    s = common / (common + 2 * own)
    assert np.all(set_jaccard(a, ao, b, bo, np.arange(count), np.arange(count)) == s)

    left, right = matrix(sketched(one, stage)["signature"]), matrix(sketched(other, stage)["signature"])
    estimates = signature_jaccard(left, right)
    assert abs(estimates.mean() - s) < 4 * (s * (1 - s) / (112 * count)) ** 0.5
    assert abs(estimates.var() / (s * (1 - s) / 112) - 1) < 0.25
    for bands, rows in ((14, 8), (28, 4), (8, 14)):
        found = (band_keys(left, bands, rows) == band_keys(right, bands, rows)).any(axis=1).mean()
        p = candidate_probability(s, bands, rows)
        assert abs(found - p) < 4 * (p * (1 - p) / count) ** 0.5 + 2 / count


def test_a_document_of_a_hundred_megabytes_is_signed_in_memory_that_does_not_grow_with_it():
    script = """
import resource
import pyarrow as pa
from stages.text.minhash import Minhash
kernel = Minhash().open()
kernel(pa.record_batch({"text": pa.array(["a b c"])}))
text = " ".join(f"w{i} 今天" for i in range(100_000)) * 70
batch = pa.record_batch({"text": pa.array([text])})
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
kernel(batch)
print(batch.nbytes, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    answer = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True).stdout
    size, grown_kilobytes = map(int, answer.split())

    assert size > 90_000_000
    assert grown_kilobytes < 4_000


def real_texts(size: int) -> pa.Array:
    texts, total = [], 0
    for path in sorted(RAW.glob("*.jsonl.gz")):
        with gzip.open(path) as lines:
            for line in lines:
                texts.append(json.loads(line)["text"])
                total += len(texts[-1].encode())
                if total > size:
                    return pa.array(texts)
    return pa.array(texts)


@pytest.mark.shared
@pytest.mark.skipif(not RAW.exists(), reason="needs the shared data folder")
def test_real_documents_are_signed_as_datasketch_signs_their_fast_hashes():
    texts, stage = real_texts(2_000_000), Minhash()
    values, offsets = shingle_hashes(texts, stage)
    signatures = matrix(sketched(texts, stage)["signature"])
    sketch = MinHash(112, 1, hashfunc=int)
    for d in range(0, len(texts), 7):
        sketch.clear()
        sketch.update_batch((values[offsets[d] : offsets[d + 1]] & np.uint64(0xFFFFFFFF)).tolist())
        assert signatures[d].tolist() == sketch.hashvalues.tolist()


@pytest.mark.long
@pytest.mark.shared
@pytest.mark.skipif(not RAW.exists(), reason="needs the shared data folder")
def test_one_core_signs_a_hundred_and_twenty_megabytes_a_second():
    batch = pa.record_batch({"text": real_texts(60_000_000)})
    kernel = Minhash().open()
    kernel(batch.slice(0, 10))
    seconds = []
    for _ in range(5):
        begin = time.thread_time()
        kernel(batch)
        seconds.append(time.thread_time() - begin)

    assert batch.nbytes / 1e6 / sorted(seconds)[2] >= MEGABYTES_A_SECOND
