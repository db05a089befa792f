"""Tokens through whole runs: learned, measured, budgeted, counted and packed for training."""

import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console
from tokenizers import Tokenizer

from pipelines import terminal
from pipelines.api import as_spec, run, view, what_if
from pipelines.engine import Engine, open_engine
from pipelines.execute import Execution
from pipelines.plan import plan
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


def spec_of(folder: Path) -> dict[str, Any]:
    """Sixty documents in three files, of which spaces are taken out before they become tokens."""
    records = [
        {"id": str(i), "text": f"  {SENTENCES[i % 4]} " * (1 + i % 5) + str(i), "lang": "en" if i % 2 else None}
        for i in range(60)
    ]
    for f in range(3):
        lines = [json.dumps(record) for record in records[f * 20 : f * 20 + 20]]
        (folder / f"{f}.jsonl").write_text("\n".join(lines))
    return {
        "name": "tokens",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 2_000},
        "learn": {"bpe": {"kind": "tokenizer", "text": str(folder / "0.jsonl"), "vocab": 300}},
        "measure": {
            "clean": {"kind": "normalize", "ftfy": False},
            "bytes": {"kind": "text_bytes"},
            "tokens": {"kind": "tokens", "tokenizer": "artifact:bpe"},
        },
        "keep": [{"column": "bytes.bytes", "ge": 60, "on_null": "drop", "reason": "short"}],
    }


@dataclass(frozen=True)
class Ran:
    """A spec, where it ran, and what it came to."""

    spec: dict[str, Any]
    store: Path
    done: dict[str, Any]

    @property
    def view(self) -> RunView:
        return view(self.done["run"], store=self.store)

    def again(self, **sections: Any) -> "Ran":
        """The spec with other sections, in the same store."""
        changed = self.spec | sections
        return Ran(changed, self.store, run(changed, store=self.store, options=LOCAL))

    def packs(self, step: str = "tokens") -> tuple[PackFile, ...]:
        """The packs of a step."""
        with open_engine("local", 1) as engine:
            return token_packs(self.execution(lambda: engine), self.view.plan, step)

    def execution(self, engine: Callable[[], Engine]) -> Execution:
        """The execution of the finished run, all of whose results are there."""
        found = self.view
        made = Execution(found.store, found.shards, found.spec.limits, engine, NullWatch())
        for phase in found.plan.phases:
            made.phase(phase)
        return made


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    folder = tmp_path_factory.mktemp("tokens")
    spec = spec_of(folder)
    return Ran(spec, folder / "store", run(spec, store=folder / "store", options=LOCAL))


def no_engine() -> Engine:
    pytest.fail("there is nothing to be done")


def exported(ran: Ran) -> pa.Table:
    return pa.concat_tables([pq.read_table(f) for f in sorted(Path(ran.done["export"]).glob("*.parquet"))])


def library(store: Path) -> Tokenizer:
    found = Tokenizer.from_file(str(find(Store.open(store), "artifact:bpe").path(Store.open(store), FILE)))
    found.encode_special_tokens = True
    return found


def counts_of(ran: Ran) -> list[int]:
    """Tokens of every exported text, as the library gives them."""
    tokenizer = library(ran.store)
    return [len(tokenizer.encode(text).ids) for text in exported(ran)["text"].to_pylist()]


def test_a_run_says_how_many_tokens_it_exports(ran: Ran) -> None:
    count = sum(counts_of(ran))

    assert ran.done["total"]["tokens_exported"] == count > 0
    assert 0 < ran.done["total"]["exported"] < 60
    html, numbers = (ran.view.store.get(f"runs/{ran.done['run']}/report.{kind}").decode() for kind in ("html", "json"))
    assert html.count(f"{count:,} tokens") == 2
    assert f"{count:,} tokens." in json.loads(numbers)["headline"][0]
    page = Console(file=io.StringIO(), width=120)
    terminal.show_run(page, ran.view)
    assert f"{count:,} tokens" in page.file.getvalue()
    before = what_if(ran.done["run"], [], store=ran.store)["before"]
    assert (before["documents"], before["tokens"]) == (ran.done["total"]["exported"], count)


def test_a_budget_of_tokens_is_spent_to_the_last_document_that_fits(ran: Ran) -> None:
    chosen = ran.again(select=BUDGET)

    total = chosen.done["total"]["tokens_exported"]
    assert total == sum(counts_of(chosen))
    assert total == chosen.view.ledger["steps"]["select"]["counts"]["selected_amount"]
    tokenizer = library(ran.store)
    sizes = sorted(
        (row["leaving.bytes"], row["doc_id"], len(tokenizer.encode(row["clean.text"]).ids))
        for shard in chosen.view.shards
        for row in chosen.view.read(shard, ["leaving.bytes", "clean.text"]).to_pylist()
        if row["leaving.bytes"] >= 60
    )
    spent = np.cumsum([n for _, _, n in sizes])
    taken = int(np.searchsorted(spent, BUDGET["amount"], "right"))
    assert sorted(exported(chosen)["doc_id"].to_pylist()) == sorted(doc for _, doc, _ in sizes[:taken])
    assert 0 < total == spent[taken - 1] < ran.done["total"]["tokens_exported"] == spent[-1]


def test_a_document_that_is_read_several_times_counts_once(ran: Ran) -> None:
    mixture = {
        "kind": "mixture", "by": "lang", "count": "tokens.count", "amount": 6_000, "max_epochs": 4,
        "weights": {"en": 1}, "seed": 1,
    }  # fmt: skip
    chosen = ran.again(select=mixture)

    assert max(exported(chosen)["epochs"].to_pylist()) > 1
    assert chosen.done["total"]["tokens_exported"] == sum(counts_of(chosen))


@pytest.mark.parametrize(
    ("measure", "column"),
    [
        ({"tokens": None}, None),
        ({"tokens": {"kind": "tokens", "tokenizer": "artifact:bpe", "text": "text"}}, None),
        ({"more": {"kind": "tokens", "tokenizer": "artifact:bpe"}}, None),
        ({"more": {"kind": "tokens", "tokenizer": "artifact:bpe", "text": "text"}}, "tokens.count"),
    ],
)
def test_tokens_are_counted_where_one_step_alone_reads_the_text_that_leaves(ran, measure, column) -> None:
    spec = ran.spec | {"measure": {n: s for n, s in {**ran.spec["measure"], **measure}.items() if s is not None}}

    assert plan(as_spec(spec), files=Store.open(ran.store)).tokens == column


def test_tokens_that_nothing_counts_are_unknown(ran: Ran) -> None:
    chosen = ran.again(measure={"clean": {"kind": "normalize", "ftfy": False}}, keep=[])

    assert chosen.done["total"]["tokens_exported"] is None


def test_packs_hold_every_document_in_the_order_of_the_shards(ran: Ran) -> None:
    found, packs = ran.view, ran.packs()

    tokenizer = library(ran.store)
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
    assert token_packs(ran.execution(no_engine), found.plan, "tokens") == packs, "made once"


def test_packs_of_a_text_that_does_not_leave_know_its_bytes_too(ran: Ran) -> None:
    raw = ran.again(
        measure={
            "clean": {"kind": "normalize", "ftfy": False},
            "raw": {"kind": "tokens", "tokenizer": "artifact:bpe", "text": "text"},
        },
        keep=[],
    )

    pack = TokenPack.open(local_paths(raw.view.store, raw.packs("raw")))

    texts = [text for s in raw.view.shards for text in raw.view.read(s, ["text"])["text"].to_pylist()]
    assert pack.bytes.tolist() == [len(text.encode()) for text in texts]


def test_packs_of_a_step_that_makes_no_tokens_are_refused(ran: Ran) -> None:
    with pytest.raises(SpecError, match="the spec has no step 'token' of kind tokens; did you mean 'tokens'"):
        token_packs(ran.execution(no_engine), ran.view.plan, "token")
