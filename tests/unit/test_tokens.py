"""The stage `tokens`: ids that are decoded to the text, whatever the text is."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers

from learners.tokenizer import Made, fitted
from pipelines.artifacts import keep
from pipelines.shards import sidecar_schema, sidecar_writer
from pipelines.store import Store
from stages import tokenization
from stages.base import measure
from stages.errors import SpecError, StorageError
from stages.text.tokens import Tokens
from stages.tokenization import FILE, KIND, TOGETHER, Encoder, alphabet, bytes_alone, cuts_at_spaces, parsed

PROSE = [
    "The sieve lets the fine flour through and keeps the bran; so it was told, and so it was done.\n\n  And again.",
    "Всё смешалось в доме Облонских. Жена узнала, что муж был в связи.",
    "今天天气很好，我们一起去公园散步。然后在图书馆学习。 1,234.56 don't we'll",
    "السماء زرقاء والشمس مشرقة. نمستे दुनिया 👩\u200d👩\u200d👧 <|endoftext|>",
]
LEARNED = fitted([pa.array(PROSE * 3)], 400)
TOKENIZER = parsed(LEARNED.content, "learned")
#: Texts that are nasty for what cuts them up: spaces of every kind, signs, special tokens, and anything.
PIECES = st.sampled_from(
    [
        " ",
        "  ",
        "\n",
        "\t",
        "\r\n",
        "\u00a0",
        "\u3000",
        "\u2028",
        "\x85",
        "\x1c",
        "\x00",
        "<|endoftext|>",
        "'ll",
        "é",
        "天",
    ]
)
ASCII = st.text(st.characters(max_codepoint=127), max_size=20)
TEXT = st.lists(PIECES | st.text(max_size=8) | ASCII | st.sampled_from(PROSE), max_size=12).map("".join)


def kept(store: Store, folder: Path, made: Made = LEARNED, name: str = "bpe") -> Any:
    (folder / FILE).write_text(made.content)
    return keep(store, name, KIND, {FILE: folder / FILE}, identity=made.identity(), card={})


def measured(stage: Tokens, store: Store, texts: list[str | None]) -> list[dict[str, Any]]:
    batch = pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())})
    return measure(stage, stage.open_in(store), batch).to_pylist()


def split(encode: Encoder, texts: list[str]) -> list[list[int]]:
    lengths, ids = encode(pa.array(texts, pa.string()))
    assert lengths.sum() == len(ids)
    return [one.tolist() for one in np.split(ids, np.cumsum(lengths)[:-1])] if texts else []


@settings(max_examples=300, deadline=None)
@given(texts=st.lists(TEXT, max_size=6))
@example(texts=["<|endoftext|>", "a<|endoftext|>b<|endoftext|>", "<|endoftext"])
def test_ids_are_those_of_the_library_and_are_decoded_to_the_text(texts: list[str]) -> None:
    ids = split(Encoder(TOKENIZER), texts)

    assert ids == [TOKENIZER.encode(text, add_special_tokens=False).ids for text in texts]
    assert [TOKENIZER.decode(one, skip_special_tokens=False) for one in ids] == texts
    assert not any(LEARNED.end_of_text in one for one in ids)


@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_without_merges_there_is_a_token_for_each_byte(text: str) -> None:
    tokenizer = parsed(bytes_alone(), "bytes")

    [ids] = split(Encoder(tokenizer), [text])

    assert len(ids) == len(text.encode())
    assert tokenizer.decode(ids, skip_special_tokens=False) == text


@st.composite
def byte_pairs(draw: st.DrawFn) -> Tokenizer:
    """A byte-level BPE whose merges are in any order, so that a later one may make what an earlier one wants."""
    vocabulary = alphabet()
    merges: list[tuple[str, str]] = []
    for _ in range(draw(st.integers(0, 12))):
        known = sorted(vocabulary.keys() & {"a", "b", "Ġ", "1", "Ċ"} | {a + b for a, b in merges})
        pair = draw(st.tuples(st.sampled_from(known), st.sampled_from(known)))
        vocabulary.setdefault("".join(pair), len(vocabulary))
        merges.append(pair)
    made = Tokenizer(models.BPE(vocabulary, draw(st.permutations(merges)), ignore_merges=draw(st.booleans())))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    return made


@settings(max_examples=300, deadline=None)
@given(tokenizer=byte_pairs(), texts=st.lists(st.text("ab1 \n'sé", max_size=30), max_size=4))
def test_merges_in_any_order_give_what_the_library_gives(tokenizer: Tokenizer, texts: list[str]) -> None:
    assert split(Encoder(tokenizer), texts) == [tokenizer.encode(text).ids for text in texts]


def test_words_longer_than_the_kernel_merges_are_those_of_the_library() -> None:
    texts = [letter * n for letter in ("a", "the", "1", "-", " ", "\n", "é") for n in (1, 127, 128, 129, 1_000)]

    assert split(Encoder(TOKENIZER), texts) == [TOKENIZER.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.parametrize(
    ("change", "fast"),
    [
        ({}, True),
        ({"normalizer": {"type": "NFC"}}, False),
        (
            {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True}},
            False,
        ),
        (
            {
                "pre_tokenizer": {
                    "type": "ByteLevel",
                    "add_prefix_space": False,
                    "trim_offsets": True,
                    "use_regex": False,
                }
            },
            False,
        ),
        ({"pre_tokenizer": None}, False),
    ],
)
def test_tokenizers_that_look_over_spaces_are_asked_for_whole_texts(change: dict[str, Any], fast: bool) -> None:
    tokenizer = parsed(json.dumps(json.loads(LEARNED.content) | change), "changed")
    texts = ["e\u0301 a  b\u00a0 c", *PROSE]

    assert cuts_at_spaces(tokenizer) == fast
    assert split(Encoder(tokenizer), texts) == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def test_an_added_token_that_holds_a_space_is_found_over_it() -> None:
    tokenizer = parsed(LEARNED.content, "learned")
    tokenizer.add_tokens(["keeps the"])

    assert split(Encoder(tokenizer), [PROSE[0]]) == [tokenizer.encode(PROSE[0], add_special_tokens=False).ids]
    assert tokenizer.token_to_id("keeps the") in split(Encoder(tokenizer), [PROSE[0]])[0]


@settings(max_examples=60, deadline=None)
@given(texts=st.lists(TEXT, max_size=6))
def test_what_is_forgotten_and_looked_up_in_rounds_changes_nothing(texts: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"PIECES": 4, "SLOTS": 16, "ROUND": 3}.items():
            patch.setattr(tokenization, name, value)
        encode = Encoder(TOKENIZER)
        found = [split(encode, texts) for _ in range(2)]

    assert found == [[TOKENIZER.encode(text, add_special_tokens=False).ids for text in texts]] * 2


@settings(max_examples=300, deadline=None)
@given(
    texts=st.lists(st.text("as1'.,、。，天あア\u3000\x00 é", max_size=30) | TEXT, max_size=4),
    long=st.integers(0, 8),
)
def test_a_piece_that_is_cut_for_its_length_has_the_ids_that_it_had(texts: list[str], long: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tokenization, "LONG", long)
        found = split(Encoder(TOKENIZER), texts)

    assert found == [TOKENIZER.encode(text, add_special_tokens=False).ids for text in texts]


@pytest.mark.parametrize(
    "text",
    [PROSE[2][:23] * 30_000, (PROSE[2][:23] + "\n") * 30_000, "".join(f"今天{n:x}\n" for n in range(150_000))],
    ids=["no white space", "lines", "all different"],
)
def test_the_library_is_given_little_at_once_however_long_a_text_is(text: str) -> None:
    given: list[int] = []

    class Watched:
        """The tokenizer, with what it is given noted."""

        def encode_batch(self, texts: list[str], **more: bool) -> Any:
            given.append(sum(len(one.encode()) for one in texts))
            return TOKENIZER.encode_batch(texts, **more)

        def to_str(self) -> str:
            return str(TOKENIZER.to_str())

    split(Encoder(Watched()), [text])

    assert len(text.encode()) > 4 * TOGETHER
    assert max(given) <= TOGETHER


SPACES = [chr(n) for n in range(0x110000) if chr(n).isspace() or n in {0x180E, 0x200B, 0xFEFF}]


def test_white_space_of_every_kind_before_a_space_stays_with_it() -> None:
    texts = [f"a{s} \n{t}b{s}\n\n é{s} " for s in SPACES for t in (" ", "\n", "\t", "\r")]
    made = fitted([pa.array(texts * 2)], 1_200)  # with merges over white space of different kinds
    tokenizer = parsed(made.content, "spaced")

    assert split(Encoder(tokenizer), texts) == [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]


def test_neither_neighbours_nor_long_texts_change_ids() -> None:
    encode = Encoder(TOKENIZER)
    long = "The sieve keeps the bran. " * (TOGETHER // 20)
    texts = [*PROSE, "", long, "x" * 10_000, long, *PROSE]

    assert split(encode, texts) == [ids for text in texts for ids in split(Encoder(TOKENIZER), [text])]


def test_the_columns_hold_the_documents_own_ids_and_how_many_they_are(store: Store, tmp_path: Path) -> None:
    artifact = kept(store, tmp_path)
    stage = Tokens(tokenizer="artifact:bpe").located(store)

    rows = measured(stage, store, [PROSE[0], None, "", PROSE[3]])

    ids = [TOKENIZER.encode(text, add_special_tokens=False).ids for text in (PROSE[0], "", PROSE[3])]
    assert rows == [
        {"ids": ids[0], "count": len(ids[0])},
        {"ids": None, "count": None},
        {"ids": [], "count": 0},
        {"ids": ids[2], "count": len(ids[2])},
    ]
    assert (stage.found, stage.content, stage.end_of_text, stage.vocabulary) == (artifact.id, artifact.key, 0, 400)
    assert stage.identity()["artifacts"] == {"tokenizer": artifact.key}


def test_another_tokenizer_under_the_name_is_another_step_and_the_old_one_can_be_named(store, tmp_path):
    first = kept(store, tmp_path)
    stage = Tokens(tokenizer="artifact:bpe")
    before = stage.located(store).identity()
    kept(store, tmp_path, fitted([pa.array(PROSE)], 300))

    assert stage.located(store).identity() != before
    assert Tokens(tokenizer=f"artifact:{first.id}").located(store).identity() == before


def test_what_is_no_tokenizer_is_refused(store: Store, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the store has no artifact 'bpe'; fit one with: tamis learn"):
        Tokens(tokenizer="artifact:bpe").located(store)
    with pytest.raises(StorageError, match="was not located in this store; plan the run with its store"):
        Tokens(tokenizer="artifact:bpe").open_in(store)
    (tmp_path / FILE).write_text("{}")
    keep(store, "broken", KIND, {FILE: tmp_path / FILE}, identity={"end_of_text": 0, "vocabulary": 9}, card={})
    stage = Tokens(tokenizer="artifact:broken").located(store)
    with pytest.raises(StorageError, match=r"the tokenizer 'broken-\w+' cannot be read \(.+\); restore it or make it"):
        stage.open_in(store)
    keep(store, "odd", KIND, {FILE: tmp_path / FILE}, identity={"vocabulary": 9}, card={})
    with pytest.raises(StorageError, match="does not say its `end_of_text` and `vocabulary`"):
        Tokens(tokenizer="artifact:odd").located(store)


def test_padding_truncation_and_added_tokens_of_the_file_do_not_reach_the_ids() -> None:
    fields = json.loads(LEARNED.content)
    fields["truncation"] = {"max_length": 2, "stride": 0, "strategy": "LongestFirst", "direction": "Right"}
    fields["padding"] = {
        "strategy": {"Fixed": 50}, "direction": "Right", "pad_to_multiple_of": None,
        "pad_id": 0, "pad_type_id": 0, "pad_token": "<|endoftext|>",
    }  # fmt: skip

    assert split(Encoder(parsed(json.dumps(fields), "padded")), PROSE) == split(Encoder(TOKENIZER), PROSE)


def test_a_sidecar_of_tokens_is_read_as_it_was_written_in_half_of_the_bytes(tmp_path: Path) -> None:
    schema = sidecar_schema(Tokens.writes)
    chance = np.random.default_rng(1)
    ids = [chance.integers(0, 4096, n).tolist() for n in chance.integers(0, 900, 200)]
    table = pa.table([[f"{i:032x}" for i in range(200)], ["x"] * 200, ids, [len(i) for i in ids]], schema=schema)
    with sidecar_writer(tmp_path / "tokens.parquet", Tokens.writes) as writer:
        writer.write_table(table)

    assert pq.read_table(tmp_path / "tokens.parquet") == table
    column = pq.read_metadata(tmp_path / "tokens.parquet").row_group(0).column(2)
    assert column.total_compressed_size < 2 * sum(map(len, ids))
