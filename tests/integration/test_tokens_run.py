"""Tokens through whole runs: learned, measured, budgeted, counted and packed for training."""

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tokenizers import Tokenizer

from pipelines.api import run, view, what_if
from pipelines.engine import open_engine
from pipelines.execute import Execution
from pipelines.progress import NullWatch
from pipelines.run import Options
from pipelines.store import Store
from pipelines.token_packs import PackFile, local_paths, token_packs
from pipelines.view import RunView
from stages.artifacts import find
from stages.errors import SpecError
from stages.text.tokens import Tokens
from stages.tokenization import FILE
from trainer.token_pack import TokenPack

LOCAL = Options("local", 2)
SENTENCES = [
    "The sieve lets the fine flour through and keeps the bran.",
    "Le tamis laisse passer la farine fine et retient le son.",
    "篩は細かい粉を通し、ふすまを残す。",
    "Сито пропускает мелкую муку и задерживает отруби. 🌾 <|endoftext|>",
]
BUDGET = {"kind": "budget", "by": "bytes.bytes", "order": "lowest", "count": "tokens.count", "amount": 900, "seed": 1}


@pytest.fixture
def spec(write_jsonl: Any) -> dict[str, Any]:
    """Sixty documents in three files, of which spaces are taken out before they become tokens."""
    records = [
        {"id": str(i), "text": f"  {SENTENCES[i % 4]} " * (1 + i % 5) + str(i), "lang": "en" if i % 2 else None}
        for i in range(60)
    ]
    for f in range(3):
        folder = write_jsonl(f"in/{f}.jsonl", records[f * 20 : f * 20 + 20]).parent
    return {
        "name": "tokens",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 2_000},
        "learn": {"bpe": {"kind": "tokenizer", "text": str(folder / "0.jsonl"), "vocab": 300}},
        "measure": {
            "clean": {"kind": "normalize"},
            "bytes": {"kind": "text_bytes"},
            "tokens": {"kind": "tokens", "tokenizer": "artifact:bpe"},
        },
        "keep": [{"column": "bytes.bytes", "ge": 60, "on_null": "drop", "reason": "short"}],
    }


def exported(done: dict[str, Any]) -> pa.Table:
    return pa.concat_tables([pq.read_table(f) for f in sorted(Path(done["export"]).glob("*.parquet"))])


def library(store: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(find(Store.open(store), "artifact:bpe").path(Store.open(store), FILE)))
    found.encode_special_tokens = True
    return found


def counts_of(done: dict[str, Any], store: Path) -> list[int]:
    """Tokens of every exported text, as the library gives them."""
    tokenizer = library(store)
    return [len(tokenizer.encode(text).ids) for text in exported(done)["text"].to_pylist()]


def execution_of(found: RunView) -> Execution:
    """The execution of a finished run, all of whose results are there."""
    made = Execution(
        found.store, found.shards, found.spec.limits, lambda: pytest.fail("nothing is to be done"), NullWatch()
    )
    for phase in found.plan.phases:
        made.phase(phase)
    return made


def test_a_run_says_how_many_tokens_it_exports(spec: dict[str, Any], tmp_path: Path) -> None:
    done = run(spec, store=tmp_path / "store", options=LOCAL)
    found = view(done["run"], store=tmp_path / "store")
    count = sum(counts_of(done, tmp_path / "store"))

    assert done["total"]["tokens_exported"] == count > 0
    assert 0 < done["total"]["exported"] < 60
    assert found.plan.tokens == "tokens.count"
    page = found.store.get(f"runs/{done['run']}/report.html").decode()
    assert f"{count:,} tokens" in page
    before = what_if(done["run"], [], store=tmp_path / "store")["before"]
    assert (before["documents"], before["tokens"]) == (done["total"]["exported"], count)


def test_a_budget_of_tokens_is_spent_to_the_last_document_that_fits(spec: dict[str, Any], tmp_path: Path) -> None:
    done = run(spec | {"select": BUDGET}, store=tmp_path / "store", options=LOCAL)
    found = view(done["run"], store=tmp_path / "store")
    every = run(spec, store=tmp_path / "store", options=LOCAL)

    counts = counts_of(done, tmp_path / "store")
    assert done["total"]["tokens_exported"] == sum(counts)
    assert done["total"]["tokens_exported"] == found.ledger["steps"]["select"]["counts"]["selected_amount"]
    tokenizer = library(tmp_path / "store")
    sizes = sorted(
        (row["leaving.bytes"], row["doc_id"], len(tokenizer.encode(row["clean.text"]).ids))
        for shard in found.shards
        for row in found.read(shard, ["leaving.bytes", "clean.text"]).to_pylist()
        if row["leaving.bytes"] >= 60
    )
    spent = np.cumsum([n for _, _, n in sizes])
    taken = int(np.searchsorted(spent, 900, "right"))
    assert sorted(exported(done)["doc_id"].to_pylist()) == sorted(doc for _, doc, _ in sizes[:taken])
    assert 0 < done["total"]["tokens_exported"] <= 900 < every["total"]["tokens_exported"] == spent[-1]


def test_a_document_that_is_read_several_times_counts_once(spec: dict[str, Any], tmp_path: Path) -> None:
    mixture = {
        "kind": "mixture", "by": "lang", "count": "tokens.count", "amount": 6_000, "max_epochs": 4,
        "weights": {"en": 1}, "seed": 1,
    }  # fmt: skip
    done = run(spec | {"select": mixture}, store=tmp_path / "store", options=LOCAL)

    table = exported(done)
    assert max(table["epochs"].to_pylist()) > 1
    assert done["total"]["tokens_exported"] == sum(counts_of(done, tmp_path / "store"))


@pytest.mark.parametrize(
    ("measure", "column"),
    [
        ({"tokens": None}, None),
        ({"tokens": {"kind": "tokens", "tokenizer": "artifact:bpe", "text": "text"}}, None),
        ({"more": {"kind": "tokens", "tokenizer": "artifact:bpe"}}, None),
        ({"more": {"kind": "tokens", "tokenizer": "artifact:bpe", "text": "text"}}, "tokens.count"),
    ],
)
def test_tokens_are_unknown_where_no_one_step_reads_the_text_that_leaves(spec, tmp_path, measure, column) -> None:
    steps = {name: step for name, step in {**spec["measure"], **measure}.items() if step is not None}
    done = run(spec | {"measure": steps}, store=tmp_path / "store", options=LOCAL)

    found = view(done["run"], store=tmp_path / "store")
    assert found.plan.tokens == column
    assert (done["total"]["tokens_exported"] is None) == (column is None)


def test_packs_hold_every_document_in_the_order_of_the_shards(spec: dict[str, Any], tmp_path: Path) -> None:
    done = run(spec, store=tmp_path / "store", options=LOCAL)
    found = view(done["run"], store=tmp_path / "store")
    execution = execution_of(found)
    with open_engine("local", 1) as engine:
        execution._engine = lambda: engine
        packs = token_packs(execution, found.plan, "tokens")

    tokenizer = library(tmp_path / "store")
    rows = [row for s in found.shards for row in found.read(s, ["clean.text", "tokens.count"]).to_pylist()]
    pack = TokenPack.open(local_paths(found.store, packs))
    stage = found.plan.step("tokens").stage
    assert isinstance(stage, Tokens)
    assert (pack.documents, pack.vocabulary, pack.end_of_text, pack.tokenizer) == (60, 300, 0, stage.found)
    assert [pack.doc_id(i) for i in range(60)] == [row["doc_id"] for row in rows]
    assert [pack.ids(i).tolist() for i in range(60)] == [tokenizer.encode(row["clean.text"]).ids for row in rows]
    assert pack.bytes.tolist() == [len(row["clean.text"].encode()) for row in rows]
    assert [p.shard for p in packs] == [s.digest for s in found.shards]
    assert sum(p.tokens for p in packs) == pack.tokens == sum(row["tokens.count"] for row in rows)
    assert token_packs(execution_of(found), found.plan, "tokens") == packs, "made once"


def test_packs_of_a_text_that_does_not_leave_know_its_bytes_too(spec: dict[str, Any], tmp_path: Path) -> None:
    spec["measure"]["tokens"]["text"] = "text"
    spec["measure"]["tokens"]["tokenizer"] = "artifact:bpe"
    done = run(spec, store=tmp_path / "store", options=LOCAL)
    found = view(done["run"], store=tmp_path / "store")

    pack = TokenPack.open(local_paths(found.store, packed(found, "tokens")))

    texts = [text for s in found.shards for text in found.read(s, ["text"])["text"].to_pylist()]
    assert pack.bytes.tolist() == [len(text.encode()) for text in texts]


def test_packs_of_a_step_that_makes_no_tokens_are_refused(spec: dict[str, Any], tmp_path: Path) -> None:
    done = run(spec, store=tmp_path / "store", options=LOCAL)
    found = view(done["run"], store=tmp_path / "store")

    with pytest.raises(SpecError, match="the spec has no step 'token' of kind tokens; did you mean 'tokens'"):
        token_packs(execution_of(found), found.plan, "token")


def packed(found: RunView, step: str) -> tuple[PackFile, ...]:
    execution = execution_of(found)
    with open_engine("local", 1) as engine:
        execution._engine = lambda: engine
        return token_packs(execution, found.plan, step)
