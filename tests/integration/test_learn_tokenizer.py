"""`tamis learn tokenizer`: from texts or a file, measured, kept, and shown on a page."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from learners.tokenizer import fitted
from pipelines.api import artifacts, learn_tokenizer, report
from pipelines.learning.section import learn_requests, run_learners
from pipelines.learning.tokenizer import Learning
from pipelines.learning.tokenizer_card import short
from pipelines.progress import NullWatch
from pipelines.run import Options
from pipelines.store import Store
from stages.errors import DataError, SpecError
from stages.tokenization import FILE, Encoder, Facts, opened

LOCAL = Options("local", 1)
WORDS = ["sieve", "flour", "bran", "miller", "corn", "bread", "tamis", "farine", "son", "篩", "粉"]


@pytest.fixture
def texts(write_jsonl: Any) -> str:
    """Two hundred texts in two languages from two domains, in two files; gives their folder."""
    chance = random.Random(1)
    records = [
        {
            "text": " ".join(chance.choices(WORDS, k=40)),
            "lang": ("en", "fr")[i % 2],
            "domain": ("mill", "web")[i % 3 > 0],
        }
        for i in range(200)
    ]
    write_jsonl("learn/a.jsonl", records[:100])
    return str(write_jsonl("learn/b.jsonl", records[100:]).parent)


def learned(store: Store, name: str, *text: str, **more: Any) -> Any:
    return learn_tokenizer(name, Learning(text, 300, **more), store=store, options=LOCAL)


def figures(card: dict[str, Any]) -> dict[str, float]:
    return {m["name"]: m["value"] for m in card["metrics"]}


def of_bytes(*special: str) -> Tokenizer:
    """A tokenizer of another maker: a token for each byte, and special ones."""
    made = Tokenizer(models.BPE({c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.add_special_tokens(list(special))
    return made


def test_a_learned_tokenizer_is_that_of_its_texts_and_says_what_it_makes_of_them(texts: str, store: Store) -> None:
    found = learned(store, "bpe", f"{texts}/a.jsonl", f"{texts}/b.jsonl")

    records = [json.loads(line) for f in ("a", "b") for line in (Path(texts) / f"{f}.jsonl").read_text().splitlines()]
    made = fitted([pa.array([r["text"] for r in records])], 300)
    assert found.path(store, FILE).read_text() == made.content
    assert Facts.of(found) == Facts(end_of_text=0, vocabulary=300)
    encode = Encoder(opened(store, found))
    lengths, ids = encode(pa.array([r["text"] for r in records]))

    def bytes_per_token(chosen: list[int]) -> float:
        return sum(len(records[i]["text"].encode()) for i in chosen) / int(lengths[chosen].sum())

    shown = figures(dict(found.card))
    every = range(200)
    assert shown == pytest.approx(
        {
            "vocabulary": 300,
            "entries that the texts use": len(set(ids.tolist())),
            "bytes per token": bytes_per_token(list(every)),
            "bytes per token, path a.jsonl": bytes_per_token(list(range(100))),
            "bytes per token, path b.jsonl": bytes_per_token(list(range(100, 200))),
            "bytes per token, lang en": bytes_per_token([i for i in every if records[i]["lang"] == "en"]),
            "bytes per token, lang fr": bytes_per_token([i for i in every if records[i]["lang"] == "fr"]),
            "bytes per token, domain mill": bytes_per_token([i for i in every if records[i]["domain"] == "mill"]),
            "bytes per token, domain web": bytes_per_token([i for i in every if records[i]["domain"] == "web"]),
        }
    )
    whole = next(m for m in found.card["metrics"] if m["name"] == "bytes per token")
    assert whole["low"] < whole["value"] < whole["high"]
    assert found.card["warnings"] == []
    assert found.card["data"]["measured on"] == {
        "documents": 200,
        "bytes": sum(len(r["text"].encode()) for r in records),
        "tokens": int(lengths.sum()),
    }


def test_neither_files_nor_workers_change_a_tokenizer(texts: str, store: Store, tmp_path: Path) -> None:
    one = learned(store, "one", f"{texts}/b.jsonl", f"{texts}/a.jsonl")

    other = learn_tokenizer("two", Learning([texts], 300), store=tmp_path / "other", options=Options("local", 2))

    assert one.key == other.key


def test_more_text_than_is_wanted_is_sampled_by_hash(texts: str, store: Store) -> None:
    sampled = [learned(store, f"part-{seed}", texts, sample_bytes=4_000, seed=seed).key for seed in (0, 0, 1)]

    assert sampled[0] == sampled[1] != sampled[2]
    assert learned(store, "all", texts).key not in sampled


def test_a_tokenizer_of_a_file_is_kept_with_what_it_does_to_texts(texts: str, store: Store, tmp_path: Path) -> None:
    theirs = of_bytes("<stop>")
    theirs.normalizer = normalizers.Lowercase()
    theirs.save(str(tmp_path / "theirs.json"))

    learning = Learning([texts], file=tmp_path / "theirs.json", end_of_text="<stop>")
    found = learn_tokenizer("theirs", learning, store=store, options=LOCAL)

    assert Facts.of(found) == Facts(end_of_text=256, vocabulary=257)
    assert figures(dict(found.card))["bytes per token, domain mill"] == 1.0
    (warning,) = found.card["warnings"]
    assert warning.startswith("200 of 200 texts are not decoded to themselves")
    bare = learn_tokenizer("bare", Learning(file=tmp_path / "theirs.json", end_of_text="256"), store=store)
    assert bare.key == found.key
    assert bare.card["warnings"] == ["it was measured on no text; name some with --text"]


def test_a_tokenizer_that_makes_nothing_of_the_texts_is_kept_with_a_warning(
    write_jsonl: Any, store: Store, tmp_path: Path
) -> None:
    theirs = Tokenizer(models.BPE({"a": 0, "</s>": 1}, []))
    theirs.add_special_tokens(["</s>"])
    theirs.save(str(tmp_path / "theirs.json"))
    texts = str(write_jsonl("other.jsonl", [{"text": "粉"}]))

    found = learn_tokenizer("theirs", Learning([texts], file=tmp_path / "theirs.json"), store=store, options=LOCAL)

    assert figures(dict(found.card)) == {"vocabulary": 2, "entries that the texts use": 0}
    assert found.card["warnings"][0].startswith("1 of 1 texts are not decoded to themselves")


def test_few_texts_give_a_warning(write_jsonl: Any, store: Store) -> None:
    found = learned(store, "few", str(write_jsonl("few.jsonl", [{"text": "aa aa"}])))

    assert found.card["warnings"] == ["the texts gave 259 entries where 300 were asked for; learn from more text"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/data/books/", "/data/web/a"], ["books", "web/a"]),
        (["s3://b/x/one", "s3://b/x/two"], ["one", "two"]),
        (["a/b", "a"], ["a/b", "a"]),
        (["one/x"], ["x"]),
        ([], []),
    ],
)
def test_paths_are_named_by_what_tells_them_apart(paths: list[str], names: list[str]) -> None:
    assert short(paths) == dict(zip(paths, names, strict=True))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b'{"text": "\xff\xfe bad"}\n', "there is no document in"),
        (b'{"text": ""}\n{"text": ""}\n', "there is no text in"),
        (b"\n\n", "there is no document in"),
    ],
)
def test_texts_that_give_nothing_are_refused_in_one_sentence(content, sentence, tmp_path, store) -> None:
    (tmp_path / "bad.jsonl").write_bytes(content)

    with pytest.raises(DataError, match=f"^{sentence} '.*bad.jsonl'; name files with text$"):
        learned(store, "bpe", str(tmp_path / "bad.jsonl"))


def test_a_record_that_is_no_utf_8_is_counted_and_left_out(tmp_path: Path, store: Store) -> None:
    (tmp_path / "some.jsonl").write_bytes(b'{"text": "\xff\xfe"}\n{"text": "the sieve"}\n')

    assert learned(store, "bpe", str(tmp_path / "some.jsonl")).card["data"]["text"]["malformed"] == 1


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({}, "say --vocab N or --file tokenizer.json, and not both"),
        ({"text": ["x"], "vocabulary": 300, "file": Path("x")}, "and not both"),
        ({"vocabulary": 300}, "a tokenizer is learned from texts; name them with --text PATH..."),
        ({"text": ["x"], "vocabulary": 12}, "a vocabulary of 12 entries cannot be learned"),
        ({"text": ["x"], "vocabulary": 300, "end_of_text": "</s>"}, "leave --end-of-text out"),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused(fields: dict[str, Any], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        Learning(**fields)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path, store: Store) -> None:
    with pytest.raises(SpecError, match=r"the tokenizer '.*none\.json' cannot be read \(.*\); name a tokenizer\.json"):
        learn_tokenizer("none", Learning(file=tmp_path / "none.json"), store=store, options=LOCAL)


def test_a_spec_learns_a_tokenizer_once_and_again_when_its_file_changes(tmp_path: Path, store: Store) -> None:
    def learn(*special: str) -> str:
        theirs = of_bytes(*special)
        theirs.save(str(tmp_path / "theirs.json"))
        requests = learn_requests({"theirs": {"kind": "tokenizer", "file": "theirs.json"}}, tmp_path)
        run_learners(requests, store, LOCAL, NullWatch())
        (listed,) = artifacts(store=store).to_pylist()
        return str(listed["id"])

    assert learn("</s>") == learn("</s>") != learn("<s>", "</s>")


def test_its_page_shows_how_to_use_it(texts: str, store: Store) -> None:
    found = learned(store, "bpe", texts)

    page, numbers = report("artifact:bpe", store=store)

    use = {"measure": {"tokens": {"kind": "tokens", "tokenizer": f"artifact:{found.id}"}}}
    assert json.loads(numbers)["use"] == use
    assert "bytes per token, lang fr" in page
    assert "tokens that texts are made of" in page


def test_the_command_prints_the_artifact_and_its_card(tamis: Any, texts: str) -> None:
    result = tamis("learn", "tokenizer", "--text", f"{texts}/a.jsonl", f"{texts}/b.jsonl", "--vocab", 280, "--out", "w", "--engine", "local", "--json")  # fmt: skip

    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["artifact"].startswith("w-")
    assert figures(answer["card"])["vocabulary"] == 280
