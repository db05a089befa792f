import hashlib
import itertools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.kernels import minhash, sketch_folds
from stages.kernels.shingles import CHUNK, multipliers, shingle_hashes
from stages.text.minhash import Minhash

MASK = 0xFFFFFFFFFFFFFFFF
PLACES = multipliers(256).tolist()
UNSPACED = (
    "CJK UNIFIED",
    "CJK COMPATIBILITY IDEOGRAPH",
    "IDEOGRAPHIC",
    "VERTICAL IDEOGRAPHIC",
    "OLD CHINESE",
    "HANGZHOU",
    "HIRAGANA",
    "KATAKANA",
    "HALFWIDTH KATAKANA",
    "HENTAIGANA",
    "VERTICAL KANA",
    "MASU",
    "BOPOMOFO",
    "THAI",
    "LAO",
    "KHMER",
    "MYANMAR",
    "TAI ",
    "NEW TAI",
    "AHOM",
    "YI ",
    "TANGUT",
    "NUSHU",
    "KHITAN",
)
TRICKY = (
    *"aAzZ09_'-. \t\n\0éÉßİıſΣςΩÅ½²Ⅷ№字々〇ひーカｶไทยกำ่ກម្ကမြกᦀߊ한가हिन्दीسلامשָׁ…“”—👩🏽🎉",
    *"\u0301\u0308\u0344\u200b\u200c\u200d\u00ad\ufe0f\u20e3\u00a0\u3000\u2028\ufeff\u0e31\u3099٣९๓\U0001d7d9\U000e0041\U0001e922\ufffd\uffff\U0010ffff\ue000",
    *"abcdefgh abcdefgh1 ABCDEFGHabcdefgh naïve ",
)
PIECES = st.one_of(
    st.sampled_from(TRICKY),
    st.characters(exclude_categories=["Cs"]),
    st.text("abcXYZ019", min_size=1, max_size=18),
    st.sampled_from([" ", ", ", ".\n", "  ", "the", "Straße", "今天天气", "อากาศ", "2024"]),
)
TEXTS = st.lists(PIECES, max_size=40).map("".join)
STAGES = st.builds(
    Minhash,
    ngram=st.integers(1, 4),
    unit=st.sampled_from(["word", "character"]),
    lowercase=st.booleans(),
    punctuation=st.booleans(),
    digits=st.booleans(),
    accents=st.booleans(),
)


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Compilation takes longer than hypothesis gives an example."""
    texts, stage = pa.array(["a b c"]), Minhash(ngram=2)
    values, offsets = shingle_hashes(texts, stage)
    signatures, _, _ = minhash.sign(texts, stage)
    minhash.band_keys(signatures, 14, 8)
    minhash.signature_jaccard(signatures, signatures)
    minhash.set_jaccard(values, offsets, values, offsets, offsets[:1], offsets[:1])


def class_and_form(char: str, stage: Minhash) -> tuple[str, str]:
    """`s`eparator, `w`ord, `a`lone, `m`ark, `z`ero or nothing, and what the character is read as."""
    category, code = unicodedata.category(char), ord(char)
    if (category == "Cf" and code != 0x200B) or code in range(0xFE00, 0xFE10) or code in range(0xE0100, 0xE01F0):
        return "", ""
    if category[0] in "PS":
        return ("a", char) if stage.punctuation else ("s", " ")
    if category[0] not in "LNM":
        return "s", " "
    form = {"İ": "i"}.get(char, char.lower()) if stage.lowercase else char
    if not stage.accents:
        parts = [c for c in unicodedata.normalize("NFD", form) if unicodedata.category(c) != "Mn"]
        if not parts:
            return "", ""
        form = parts[0] if len(parts) == 1 else form
    if category == "Nd" and not stage.digits:
        return "z", "0"
    alone = category not in ("Nd", "No") and unicodedata.name(char, "TANGUT").startswith(UNSPACED)  # some have no name
    return "m" if category[0] == "M" else "a" if alone else "w", form


def tokens_of(text: str, stage: Minhash) -> list[str]:
    pairs = [pair for char in text if (pair := class_and_form(char, stage))[0]]
    classes, forms = "".join(c for c, _ in pairs), "".join(f for _, f in pairs)
    assert len(classes) == len(forms)
    if stage.unit == "word":
        spans = [m.span() for m in re.finditer(r"am*|[wz][wzm]*", classes)]
        return ["".join(units(classes[a:b], forms[a:b])) for a, b in spans]
    runs = [m.span() for m in re.finditer(r"[wza][wzam]*", classes)]
    tokens: list[str] = []
    for a, b in runs:
        tokens += [" "] * bool(tokens) + units(classes[a:b], forms[a:b])
    return tokens


def units(classes: str, forms: str) -> list[str]:
    """The characters, a run of zeros as one."""
    return [forms[m.start()] for m in re.finditer(r"z+|.", classes)]


def hash_of_token(token: str) -> int:
    raw, h = token.encode(), 0x9E3779B97F4A7C15
    for i in range(0, len(raw), 8):
        h = ((h ^ int.from_bytes(raw[i : i + 8], "little")) * 0xD6E8FEB86659FD93) & MASK
        h ^= h >> 32
    h = (h * 0xFF51AFD7ED558CCD) & MASK
    return h ^ h >> 29


def hash_of_gram(tokens: list[str]) -> int:
    h = sum(hash_of_token(t) * PLACES[i] for i, t in enumerate(tokens)) & MASK
    h = ((h ^ h >> 33) * 0xFF51AFD7ED558CCD) & MASK
    h = ((h ^ h >> 33) * 0xC4CEB9FE1A85EC53) & MASK
    return h ^ h >> 33


def grams_of(tokens: list[str], size: int) -> list[list[str]]:
    if len(tokens) < size:
        return [tokens] if tokens else []
    return [tokens[i : i + size] for i in range(len(tokens) - size + 1)]


def sets_of(texts: list[str], stage: Minhash) -> list[list[int]]:
    values, offsets = shingle_hashes(pa.array(texts, pa.string()), stage)
    return [values[a:b].tolist() for a, b in itertools.pairwise(offsets)]


def expected_sets(texts: list[str], stage: Minhash) -> list[list[int]]:
    return [sorted({hash_of_gram(g) for g in grams_of(tokens_of(t, stage), stage.ngram)}) for t in texts]


@given(st.lists(TEXTS, max_size=4), STAGES)
@settings(max_examples=400, deadline=None)
def test_ngrams_are_those_of_the_slow_reading(texts, stage):
    assert sets_of(texts, stage) == expected_sets(texts, stage)


@given(st.lists(TEXTS, max_size=4), STAGES)
@settings(max_examples=200, deadline=None)
def test_tokens_and_ngrams_are_counted_as_by_the_slow_reading(texts, stage):
    _, ngrams, tokens = minhash.sign(pa.array(texts, pa.string()), stage)
    counts = [len(tokens_of(t, stage)) for t in texts]

    assert tokens.tolist() == counts
    assert ngrams.tolist() == [max(c - stage.ngram + 1, 0) for c in counts]


def test_every_code_point_alone_and_within_a_word_is_read_as_by_the_slow_reading():
    chars = [chr(c) for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF and (c < 0x20000 or c % 97 == 0)]
    stage = Minhash(ngram=1)
    texts = [f"{''.join(chars[i : i + 64])} {' '.join(chars[i : i + 64])}" for i in range(0, len(chars), 64)]

    assert sets_of(texts, stage) == expected_sets(texts, stage)


@pytest.mark.parametrize("switches", [{"lowercase": False}, {"accents": False}, {"punctuation": True, "digits": False}])
def test_every_switch_reads_every_code_point_of_the_first_plane_as_the_slow_reading_does(switches):
    chars = [chr(c) for c in range(0x10000) if not 0xD800 <= c <= 0xDFFF and not 0x4E10 <= c <= 0xD7A0]
    stage = Minhash(ngram=1, **switches)
    texts = [" ".join(chars[i : i + 64]) for i in range(0, len(chars), 64)]

    assert sets_of(texts, stage) == expected_sets(texts, stage)


@pytest.mark.parametrize("ngram", [1, 5, 70])
@pytest.mark.parametrize("unit", ["word", "character"])
def test_texts_longer_than_a_chunk_have_the_ngrams_of_the_slow_reading(ngram, unit):
    words = ["alpha", "Beta", "naïve", "今", "x", "extraordinarily-long", "३", "don't"]
    draw = np.random.default_rng(7)
    texts = [" ".join(draw.choice(words, n)) for n in (CHUNK - 33, CHUNK - 1, CHUNK, CHUNK + 1, CHUNK + ngram)]
    stage = Minhash(ngram=ngram, unit=unit)

    assert sets_of(texts, stage) == expected_sets(texts, stage)


@pytest.mark.parametrize("size", [*range(1, 35), 63, 64, 65, 127, 128, 129, 5000])
def test_a_token_of_any_length_is_read_alike_wherever_it_stands(size):
    word = ("Abcdefghij0123456789klmnopqrstuvwxyz" * 200)[:size]
    texts = [word, f" {word}", f"{word} ", f"x {word}, y", f"{word}é", f"é{word} {word}\u0301", f"{'-' * size}{word}"]
    stage = Minhash(ngram=1)

    for text in texts:
        assert sets_of([text], stage) == expected_sets([text], stage)
    assert sets_of(texts, stage) == expected_sets(texts, stage)


@given(
    st.lists(st.text("aB3 .,-\u00e9\u4eca", max_size=150), min_size=1, max_size=3),
    st.builds(Minhash, ngram=st.just(1), digits=st.booleans(), punctuation=st.booleans(), lowercase=st.booleans()),
    st.sampled_from(["", " ", "x" * 100]),
)
@settings(max_examples=400, deadline=None)
def test_words_at_the_edges_of_sixty_four_bytes_are_those_of_the_slow_reading(texts, stage, tail):
    assert sets_of([*texts, tail], stage) == expected_sets([*texts, tail], stage)


def test_a_text_reads_the_same_in_any_slice_of_an_array():
    texts = pa.array(["one two three", "vier fünf", "", "六七八", "nine ten eleven twelve"])
    stage = Minhash(ngram=2)
    whole = minhash.sign(texts, stage)[0]

    for start in range(len(texts)):
        for stop in range(start, len(texts) + 1):
            assert np.array_equal(minhash.sign(texts.slice(start, stop - start), stage)[0], whole[start:stop])


def sketch_of(hashes: list[int], permutations: int, seed: int) -> list[int]:
    sketch = MinHash(permutations, seed, hashfunc=int, scheme="affine32")
    for value in hashes:
        sketch.update(value)
    return sketch.hashvalues.tolist()


@given(st.lists(TEXTS, max_size=4), STAGES, st.sampled_from([(1, 1), (3, 5), (14, 8), (1, 128)]), st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_signatures_of_fast_hashes_are_those_of_datasketch(texts, fields, shape, seed):
    stage = fields.model_copy(update={"bands": shape[0], "rows": shape[1], "seed": seed})
    signatures, _, _ = minhash.sign(pa.array(texts, pa.string()), stage)
    low = [[h & 0xFFFFFFFF for h in hashes] for hashes in expected_sets(texts, stage)]

    assert signatures.tolist() == [sketch_of(hashes, stage.permutations, seed) for hashes in low]


@given(st.lists(TEXTS, max_size=4), STAGES)
@settings(max_examples=150, deadline=None)
def test_signatures_of_sha1_are_those_of_datasketch_with_its_own_hash(texts, fields):
    stage = fields.model_copy(update={"hash": "sha1"})
    signatures, ngrams, counts = minhash.sign(pa.array(texts, pa.string()), stage)
    joint = " " if stage.unit == "word" else ""
    for text, signature, count, tokens in zip(texts, signatures, ngrams, counts, strict=True):
        expected = tokens_of(text, stage)
        sketch = MinHash(stage.permutations, stage.seed)
        for gram in grams_of(expected, stage.ngram):
            sketch.update(joint.join(gram).encode())
        assert signature.tolist() == sketch.hashvalues.tolist()
        assert (count, tokens) == (max(len(expected) - stage.ngram + 1, 0), len(expected))


def test_shingle_hashes_of_sha1_are_its_first_eight_bytes():
    stage = Minhash(hash="sha1", ngram=2)
    digests = [hashlib.sha1(gram).digest()[:8] for gram in (b"a b", b"b c")]

    assert sets_of(["a b, c a b"], stage)[0] == sorted(
        {int.from_bytes(d, "little") for d in (*digests, hashlib.sha1(b"c a").digest()[:8])}
    )


def test_a_signature_of_many_ngrams_is_that_of_datasketch():
    text = " ".join(f"w{i * 7919 % 100_003}" for i in range(10_000))
    stage = Minhash()
    low = [h & 0xFFFFFFFF for h in sets_of([text], stage)[0]]
    sketch = MinHash(112, 1, hashfunc=int)
    sketch.update_batch(low)

    assert minhash.sign(pa.array([text]), stage)[0][0].tolist() == sketch.hashvalues.tolist()


def test_the_known_signature_of_datasketch_two():
    stage = Minhash(hash="sha1", bands=1, rows=4)

    signatures, _, _ = minhash.sign(pa.array(["a b c d e f"]), stage)

    assert signatures.tolist() == [[972345546, 1280849458, 707944242, 2027048308]]


def test_fast_hashes_of_a_million_ngrams_collide_no_more_than_random_numbers():
    numbers = [str(i) for i in range(1000)]
    text = " ".join(f"{a} {b}" for a in numbers for b in numbers)
    values = np.array(sets_of([text], Minhash(ngram=2))[0], np.uint64)
    tokens = text.split()
    pairs = set(itertools.pairwise(tokens))

    n = len(values)
    assert n == len(pairs)
    low = n - len(np.unique(values.astype(np.uint32)))
    by_chance = n * (n - 1) / 2**33
    assert low < by_chance + 5 * by_chance**0.5


def test_the_order_of_tokens_counts():
    stage = Minhash(ngram=3)
    orders = ["a b c", "a c b", "b a c", "b c a", "c a b", "c b a", "a a b", "a b a", "b a a", "ab c d", "a bc d"]

    assert len({tuple(s) for s in sets_of(orders, stage)}) == len(orders)


def test_one_other_character_turns_half_of_the_bits_of_a_hash():
    stage = Minhash(ngram=5, lowercase=False)
    base = "some five words of text"
    places = [i for i, c in enumerate(base) if c != " "]
    changed = [base[:i] + c + base[i + 1 :] for i in places for c in "abcdefghXYZ019" if base[i] != c]
    hashes = sets_of([base, *changed], stage)
    flips = np.array([hashes[0][0] ^ h[0] for h in hashes[1:]], np.uint64)
    turned = (flips[:, None] >> np.arange(64, dtype=np.uint64) & np.uint64(1)).mean(axis=0)

    assert abs(turned.mean() - 0.5) < 0.02
    assert np.abs(turned - 0.5).max() < 5 * 0.5 / len(changed) ** 0.5


@given(st.lists(st.lists(st.integers(0, 3), min_size=6, max_size=6), min_size=1, max_size=30))
def test_band_keys_are_equal_where_the_values_of_a_band_are(rows):
    signatures = np.array(rows, np.uint32)
    keys = minhash.band_keys(signatures, 3, 2)
    bands = {
        (b, tuple(r[2 * b : 2 * b + 2])): int(k) for r, ks in zip(rows, keys, strict=True) for b, k in enumerate(ks)
    }

    assert all(
        bands[b, tuple(r[2 * b : 2 * b + 2])] == k for r, ks in zip(rows, keys, strict=True) for b, k in enumerate(ks)
    )
    assert len(set(bands.values())) == len(bands)


def test_band_keys_fill_partitions_evenly():
    keys = minhash.band_keys(np.arange(80_000, dtype=np.uint32).reshape(-1, 8), 4, 2)
    filled = np.bincount((keys.reshape(-1) >> np.uint64(56)).astype(np.int64), minlength=256)
    expected = keys.size / 256

    assert ((filled - expected) ** 2 / expected).sum() < 255 + 5 * 510**0.5


def test_band_keys_do_not_depend_on_other_bands_or_texts():
    signatures = np.random.default_rng(3).integers(0, 2**32, (50, 12), np.uint32)
    keys = minhash.band_keys(signatures, 4, 3)

    assert np.array_equal(minhash.band_keys(signatures[::2], 4, 3), keys[::2])
    assert np.array_equal(minhash.band_keys(signatures[:, :6], 2, 3), keys[:, :2])


def test_more_bands_than_a_signature_holds_are_refused():
    with pytest.raises(ValueError, match="3 bands of 4 rows need more than the 8 values"):
        minhash.band_keys(np.zeros((1, 8), np.uint32), 3, 4)


def test_signature_jaccard_is_the_share_of_equal_positions():
    a = np.array([[1, 2, 3, 4], [1, 2, 3, 4], [5, 5, 5, 5]], np.uint32)
    b = np.array([[1, 2, 3, 4], [4, 3, 2, 4], [1, 2, 3, 4]], np.uint32)

    assert minhash.signature_jaccard(a, b).tolist() == [1.0, 0.25, 0.0]
    assert minhash.signature_jaccard(a[:0], b[:0]).tolist() == []


@given(st.lists(st.frozensets(st.integers(0, 12)), min_size=1, max_size=6), st.data())
def test_set_jaccard_is_that_of_python_sets(sets, data):
    values = np.array([v for s in sets for v in sorted(s)], np.uint64)
    offsets = np.cumsum([0, *map(len, sets)])
    places = st.lists(st.integers(0, len(sets) - 1), min_size=8, max_size=8)
    ia, ib = np.array(data.draw(places)), np.array(data.draw(places))
    expected = [
        len(sets[i] & sets[j]) / len(sets[i] | sets[j]) if sets[i] | sets[j] else 0.0
        for i, j in zip(ia, ib, strict=True)
    ]

    assert minhash.set_jaccard(values, offsets, values, offsets, ia, ib).tolist() == expected


def test_a_text_of_few_ngrams_often_repeated_has_few_distinct_ones():
    texts = ["buy now " * 15_000, " ".join(f"w{i % 97}" for i in range(30_000)), "same " * 9_000]

    assert sets_of(texts, Minhash(ngram=3)) == expected_sets(texts, Minhash(ngram=3))


def test_tables_are_the_same_when_they_are_made_anew():
    stage = Minhash(accents=False)

    assert np.array_equal(sketch_folds.table(stage), sketch_folds.build(True, False, True, False))
