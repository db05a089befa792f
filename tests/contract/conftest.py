"""Every registered stage, opened once, with the inputs that all of them must survive.

A stage is tested with its default fields (where it has defaults) and with the fields of each of its examples.
"""

import functools
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from stages.base import CorpusStage, Example, Kernel, RowStage, measure
from stages.catalog import corpus_stages, row_stages
from stages.fingerprint import canonical, digest
from stages.flow import MemoryFlow
from stages.text.embedding import Embedding
from stages.text.minhash import Minhash
from stages.text.text_stats import TextStats

GOLDEN = Path(__file__).with_name("golden.json")

PROSE = (
    "The quick brown fox jumps over the lazy dog. It does so every day, and nobody knows why.\n"
    "In the evening, the dog and the fox have a drink; they talk of old times and of the hunt.\n"
)
TEXTS = (
    PROSE,
    PROSE * 40,
    "",
    " ",
    "\n\n\t \r\n",
    "word",
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "El pingüino Wenceslao hizo kilómetros bajo exhaustiva lluvia y frío.\n" * 30,
    "今天天气很好，我们一起去公园散步。然后在图书馆学习，晚上回家吃饭。" * 20,
    "いろはにほへと ちりぬるを。わかよたれそ つねならむ。",
    "السماء زرقاء والشمس مشرقة. هل تريد أن نذهب إلى البحر؟\n" * 10,
    "הכלב העצלן ישן כל היום בשמש, והשועל קופץ מעליו.",
    "อากาศวันนี้ดีมาก เราไปเดินเล่นในสวนกันเถอะ",
    "नमस्ते दुनिया। यह एक परीक्षण वाक्य है।",
    "👩‍👩‍👧‍👦 👍🏽 🇫🇷 🏴󠁧󠁢󠁥󠁮󠁧󠁿 emoji, joined, toned and flagged 🎉🎉🎉",
    "e\u0301 a\u0308 o\u0302 and lone marks: \u0301\u0308\u20dd at the start of nothing",
    "\u202eright to left override\u202c and \u2066isolates\u2069, \u200bzero\u200bwidth",
    "nul \x00 in the middle\x00, bell \x07, escape \x1b[31mred\x1b[0m, delete \x7f, next line \x85",
    "\ufeffbyte order mark, \ufffd replaced, \ufffe and \uffff not characters, \U0010ffff the last",
    "sÃ³ mojibake â€œquotedâ€\x9d &amp; entities &lt;b&gt; ﬁne ligatures",
    "<html><body><p>Tags &amp; entities</p><script>var x = {a: 1};</script></body></html>",
    "lorem ipsum dolor sit amet, consectetur adipiscing elit { } javascript cookies policy",
    "• one\n• two\n- three\n* four\n‣ five...\nsix…\n",
    "# heading #tag ... … !!! ??? ### 1,234.56 50% $5 a@b.c https://example.org/a?b=c U.S. don't can't",
    "Terms of use. Privacy policy. We use cookies. [1] [citation needed] [edit]\n" * 6,
    "same line\nsame line\nsame line\n\nsame line\n\n\nsame line\n" * 8,
    "buy buy buy buy buy buy buy buy buy buy " * 30,
    "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 40,
    "x" * 1500 + " " + "y" * 1200,
    "\r\ncarriage\rreturns\r\nand\x0bvertical\x0ctabs\u2028and\u2029separators\n",
    "no-break\u00a0space, ideographic\u3000space, thin\u2009space, figure\u2007space   three  ",
    "Ω Å K ﬃ ſ ß İ ı Σς ǅ ½ ² № ℡ 〆 ㎏ Ⅷ ①",
    "\n".join(f"Line {i} has a number {i * 37 % 101} and ends with a full stop." for i in range(120)),
    PROSE,
    "𝒟ℯ𝒸ℴ𝓇𝒶𝓉ℯ𝒹 𝕥𝕖𝕩𝕥 𐍈𐌰𐌽 🜁 \U000e0041",
    "\"Quoted.\" 'Quoted?' “Quoted!” «Quoted» ‹x› 「引用」『引用』 ‚x‘ „x“",
    "İSTANBUL ıssız STRASSE straße ﬀ ΑΣ",
)
HOSTILE = {
    "a million characters without a space": "a" * 1_000_000,
    "a hundred thousand single characters": "a " * 100_000,
    "a hundred thousand lines": "x\n" * 100_000,
    "nothing but newlines": "\n" * 300_000,
    "nothing but spaces": " " * 1_000_000,
    "nothing but NULs": "\0" * 300_000,
    "nothing but combining marks": "\u0301" * 200_000,
    "nothing but joiners": "\u200d" * 200_000,
    "a family of fifty thousand": "👩\u200d" * 50_000,
    "direction overrides": "\u202e\u202dab" * 50_000,
    "three hundred thousand ideographs": "字" * 300_000,
    "an entity within entities": "&" + "amp;" * 20_000,
    "mojibake without end": "Ã\x83Â" * 30_000,
    "a hundred thousand brackets": "[" * 100_000,
    "a hundred thousand dots": "." * 100_000,
    "lines of spaces": (" " * 1_000 + "x\n") * 300,
    "one line repeated": PROSE * 1_500,
}
URLS = (
    "https://www.example.org/a/b?c=d#e",
    "http://user:secret@host.example.co.uk:8080/",
    "docs.python.example/3/library",
    "http://127.0.0.1/x",
    "http://[::1]:80/",
    "https://例え.jp/パス",
    "not an address",
    "",
    "mailto:someone@example.com",
    "javascript:alert(1)",
    "//a.b.c/",
    "http://" + "a." * 5_000 + "com/",
    "x" * 100_000,
    "http://exa\x00mple.com/\u202e",
    "HTTP://WWW.EXAMPLE.COM/UPPER",
    "ftp://münchen.example/ß",
)


@dataclass(frozen=True)
class RowCase:
    """A row stage with some fields."""

    name: str
    stage: RowStage

    @functools.cached_property
    def kernel(self) -> Kernel:
        return self.stage.open()

    def batch(self, texts: tuple[str | None, ...] = TEXTS) -> pa.RecordBatch:
        """A row for every text."""
        columns = {name: _values(self.stage, name, texts) for name in self.stage.reads()}
        return pa.RecordBatch.from_pydict(columns)

    def run(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        return measure(self.stage, self.kernel, batch)

    def digest(self) -> str:
        """SHA-256 of all values over TEXTS, and of the columns' names, types, units.

        The vectors of neural models differ in their last bits from one kind of processor to another, so of these the
        columns alone count.
        """
        answer = self.run(self.batch())
        if self.stage.kind == "embedding":
            answer = answer.drop_columns(["vector"])
        fields = [[f.name, str(f.type), {k.decode(): v.decode() for k, v in f.metadata.items()}] for f in answer.schema]
        return digest((canonical(fields) + repr(answer.to_pylist())).encode())


#: Corpus stages that name other steps: fields to test them with, and those steps.
BESIDE: dict[str, list[tuple[dict[str, Any], dict[str, RowStage]]]] = {
    "diversity": [
        ({"of": "meaning", "seed": 1}, {"meaning": Embedding()}),
        (
            {"of": "meaning", "clusters": 5, "score": "stats.words", "seed": 1},
            {"meaning": Embedding(), "stats": TextStats()},
        ),
    ],
    "near_duplicates": [
        ({"of": "sketch"}, {"sketch": Minhash()}),
        ({"of": "sketch", "verify": True, "threshold": 0.6}, {"sketch": Minhash(bands=9, rows=4)}),
        ({"of": "sketch", "scope": "source"}, {"sketch": Minhash(unit="character")}),
    ],
    "semantic_duplicates": [
        ({"of": "meaning", "seed": 1}, {"meaning": Embedding()}),
        ({"of": "meaning", "clusters": 5, "epsilon": 0.4, "seed": 1}, {"meaning": Embedding()}),
    ],
    "budget": [
        (
            {"by": "stats.mean_word_chars", "count": "stats.words", "amount": 300, "temperature": 0.5, "seed": 1},
            {"stats": TextStats()},
        ),
        (
            {"by": "stats.bytes", "order": "lowest", "count": "stats.bytes", "amount": 2_000, "seed": 1},
            {"stats": TextStats()},
        ),
    ],
    "mixture": [
        (
            {
                "by": "source",
                "count": "stats.words",
                "amount": 1_000,
                "weights": {"source 0": 3, "source 1": 1},
                "max_epochs": 2,
                "score": "stats.mean_word_chars",
                "seed": 1,
            },
            {"stats": TextStats()},
        ),
        (
            {"by": "snapshot", "count": "stats.words", "amount": 500, "temperature": 2, "seed": 1},
            {"stats": TextStats()},
        ),
    ],
    "curriculum": [
        ({"by": "stats.bytes", "pacing": "root", "mix": 0.2, "seed": 1}, {"stats": TextStats()}),
        (
            {
                "by": "stats.bytes",
                "direction": "descending",
                "balance": "source",
                "interleave": 2,
                "warmup": 0.5,
                "phases": 3,
                "seed": 1,
            },
            {"stats": TextStats()},
        ),
    ],
}


@dataclass(frozen=True)
class CorpusCase:
    """A corpus stage with some fields, and the steps that it names."""

    name: str
    stage: CorpusStage
    beside: Mapping[str, RowStage] = field(default_factory=dict)

    def table(self, texts: tuple[str | None, ...] = TEXTS) -> pa.Table:
        """The stage's inputs for a row of every text, measured by its companions and the steps that it names."""
        columns = {
            "doc_id": pa.array([f"{i * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}" for i in range(len(texts))]),
            "text": pa.array(texts, pa.string()),
            "source": pa.array([f"source {i % 2}" for i in range(len(texts))]),
            "snapshot": pa.array([None if i % 3 == 0 else f"snapshot {i % 3}" for i in range(len(texts))]),
        }
        for name, companion in {**self.stage.companions(), **self.beside}.items():
            case = RowCase(name, companion)
            answer = case.run(case.batch(texts))
            columns |= {f"{name}.{field.name}": answer[field.name] for field in answer.schema}
        wanted = dict.fromkeys([*self.stage.reads(), *self.stage.texts()])
        missing = [name for name in wanted if name not in columns]
        assert not missing, f"say in tests/contract/conftest.py how to make {missing} for {self.stage.kind}"
        return pa.table(columns).select(["doc_id", *wanted])

    def run(self, shards: Sequence[pa.Table], partitions: int = 3) -> pa.Table:
        """The stage's columns for the rows of the shards."""
        flow = MemoryFlow(shards, partitions)
        self.stage.program(flow)
        return flow.answer()


def _values(stage: RowStage, name: str, texts: tuple[str | None, ...]) -> pa.Array:
    """A value of the column for every text: texts, addresses, or what the stage's examples give."""
    if name.rpartition(".")[2] == "text":
        return pa.array(texts, pa.string())
    if name.rpartition(".")[2] == "url":
        return pa.array([URLS[i % len(URLS)] for i in range(len(texts))], pa.string())
    known = [e.given[name] for e in stage.examples if not isinstance(e.given, str) and name in e.given]
    assert known, f"give {name!r} in an example of {stage.kind}, so that it can be tested"
    return pa.array([known[i % len(known)] for i in range(len(texts))])


def example_batch(stage: RowStage, example: Example) -> pa.RecordBatch:
    """One row holding what the example gives."""
    given = {"text": example.given} if isinstance(example.given, str) else example.given
    kinds = {name: pa.string() for name, value in given.items() if value is None or isinstance(value, str)}
    return pa.RecordBatch.from_pydict({n: pa.array([given.get(n)], kinds.get(n)) for n in stage.reads()})


def _fields_of(cls: type[Any]) -> list[dict[str, Any]]:
    """The fields to test a class with: the defaults, and those of its examples."""
    required = any(f.is_required() for n, f in cls.model_fields.items() if n != "kind")
    given = [dict(e.fields) for e in getattr(cls, "examples", ()) if e.fields]
    every = ([] if required else [{}]) + given
    assert every, f"{cls.__name__} has required fields and no example that gives them"
    return list({canonical(fields): fields for fields in every}.values())


def _name(kind: str, fields: dict[str, Any]) -> str:
    return f"{kind} {json.dumps(fields)}" if fields else kind


@functools.cache
def row_cases() -> list[RowCase]:
    return [RowCase(_name(k, f), cls.model_validate(f)) for k, cls in row_stages().items() for f in _fields_of(cls)]


@functools.cache
def corpus_cases() -> list[CorpusCase]:
    cases = []
    for kind, cls in corpus_stages().items():
        for fields, beside in BESIDE.get(kind) or [(f, {}) for f in _fields_of(cls)]:
            stage = cls.model_validate(fields).resolve(beside)
            cases.append(CorpusCase(_name(kind, fields), stage, beside))
    return cases


@pytest.fixture(scope="session")
def hostile() -> dict[str, str]:
    return HOSTILE


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "row" in metafunc.fixturenames:
        metafunc.parametrize("row", row_cases(), ids=lambda case: case.name, scope="session")
    if "corpus" in metafunc.fixturenames:
        metafunc.parametrize("corpus", corpus_cases(), ids=lambda case: case.name, scope="session")
    if "example" in metafunc.fixturenames:
        examples = [(cls, e) for cls in row_stages().values() for e in cls.examples]
        ids = [f"{cls.__name__}-{i}" for i, (cls, _) in enumerate(examples)]
        metafunc.parametrize("example", examples, ids=ids)


@pytest.fixture(scope="session")
def contract() -> Any:
    """This file, for what tests and parameters share."""
    return sys.modules[__name__]
