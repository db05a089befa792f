"""Selection and order through whole runs: measured over all documents, or decided among those that the rules keep."""

import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.api import run, view
from pipelines.run import Options

LOCAL = Options("local", 2)
WORDS = ["sieve", "flour", "bran", "bread", "篩", "粉", "المنخل", "мука", "é", "🌾"]
KEEP = [{"column": "stats.words", "ge": 20, "on_null": "drop", "reason": "short"}]


@pytest.fixture
def folder(write_jsonl: Any) -> Path:
    """Ninety documents of 1 to 90 words from two sources, in three files."""
    chance = random.Random(3)
    texts = [" ".join(chance.choice(WORDS) for _ in range(n + 1)) for n in range(90)]
    chance.shuffle(texts)
    records = [{"id": str(i), "text": t, "domain": "books" if i % 3 else "web"} for i, t in enumerate(texts)]
    for f in range(3):
        write_jsonl(f"in/{f}.jsonl", records[f * 30 : f * 30 + 30])
    return write_jsonl("in/0.jsonl", records[:30]).parent


def spec_of(folder: Path, **sections: Any) -> dict[str, Any]:
    source = {"kind": "jsonl", "path": str(folder / "*.jsonl"), "shard_bytes": 5000}
    measure = {"stats": {"kind": "text_stats", "words": "whitespace"}} | sections.pop("measure", {})
    return {"name": "chosen", "source": source, "measure": measure, **sections}


def rows_of(done: dict[str, Any], store: Path, *columns: str) -> list[dict[str, Any]]:
    seen = view(done["run"], store=store)
    names = ["id", "stats.words", "verdict.keep", *columns]
    rows: list[dict[str, Any]] = pa.concat_tables([seen.read(s, names) for s in seen.shards]).to_pylist()
    return rows


def exported(done: dict[str, Any]) -> list[str]:
    files = sorted(Path(done["export"]).glob("*.parquet"))
    ids: list[str] = pa.concat_tables([pq.read_table(f, columns=["id"]) for f in files])["id"].to_pylist()
    return ids


BUDGET = {"kind": "budget", "by": "stats.words", "order": "lowest", "count": "stats.words", "amount": 500, "seed": 17}


def test_a_budget_is_spent_on_what_the_rules_keep_and_the_order_is_that_of_the_curriculum(folder, tmp_path):
    order = {"kind": "curriculum", "by": "stats.words", "phases": 4, "seed": 17}
    spec = spec_of(folder, keep=KEEP, select=BUDGET, order=order)
    done = run(spec, store=tmp_path / "store", options=LOCAL)
    rows = rows_of(done, tmp_path / "store", "select.selected", "order.position", "order.phase")

    # Documents of 20, 21, ... words while they add up to at most 500: 20 to 36 make 476.
    chosen = {row["id"]: row["stats.words"] for row in rows if row["select.selected"]}
    assert sorted(chosen.values()) == list(range(20, 37))
    assert {row["id"] for row in rows if row["verdict.keep"]} == set(chosen)
    assert {row["stats.words"] for row in rows if row["select.selected"] is None} == set(range(1, 20))
    position = {row["id"]: row["order.position"] for row in rows if row["order.position"] is not None}
    assert sorted(position, key=lambda i: position[i]) == exported(done)
    assert sorted(position.values()) == list(range(17))
    phases = {row["stats.words"]: row["order.phase"] for row in rows if row["verdict.keep"]}
    assert [phases[n] for n in range(20, 37)] == sorted(phases.values())


def test_neither_shards_nor_workers_change_selection_and_order(folder, tmp_path):
    order = {"kind": "curriculum", "by": "stats.words", "pacing": "root", "mix": 0.3, "balance": "domain", "seed": 17}
    select = BUDGET | {"amount": 2000, "temperature": 20.0}
    one = spec_of(folder, keep=KEEP, select=select, order=order)
    other = spec_of(folder, keep=KEEP, select=select, order=order)
    other["source"] = other["source"] | {"shard_bytes": 1000}

    first = exported(run(one, store=tmp_path / "one", options=LOCAL))
    second = exported(run(other, store=tmp_path / "other", options=Options("local", 1)))

    assert first == second
    assert 20 < len(first) < 71


def test_the_same_stages_measure_all_documents(folder, tmp_path):
    mixture = {"kind": "mixture", "by": "domain", "count": "stats.words", "amount": 900, "seed": 1}
    measure = {
        "mix": mixture | {"weights": {"web": 1, "books": 2}},
        "easy": {"kind": "curriculum", "by": "stats.words", "phases": 3, "seed": 1},
    }
    keep = [{"column": "mix.selected", "eq": True, "on_null": "drop", "reason": "left-out"}]
    done = run(spec_of(folder, measure=measure, keep=keep), store=tmp_path / "store", options=LOCAL)
    rows = rows_of(done, tmp_path / "store", "domain", "mix.epochs", "easy.position", "easy.phase")

    for domain, share in (("web", 300), ("books", 600)):
        assert share - 90 < sum(r["stats.words"] for r in rows if r["domain"] == domain and r["mix.epochs"]) <= share
    assert {r["id"] for r in rows if r["mix.epochs"]} == set(exported(done))
    assert sorted(r["easy.position"] for r in rows) == list(range(90))
    assert {r["stats.words"]: r["easy.phase"] for r in rows} == {n + 1: n // 30 for n in range(90)}


def test_columns_of_a_corpus_step_are_told_apart_by_the_fields_that_name_them(folder, tmp_path):
    """`by` and `count` changed round are another step, not the same one served from the store."""
    swapped = BUDGET | {"by": "stats.chars"}
    one = run(spec_of(folder, measure={"pick": swapped}), store=tmp_path / "store", options=LOCAL)
    two = run(
        spec_of(folder, measure={"pick": swapped | {"by": "stats.words", "count": "stats.chars"}}),
        store=tmp_path / "store",
        options=LOCAL,
    )
    first, second = (
        sum(bool(r["pick.selected"]) for r in rows_of(d, tmp_path / "store", "pick.selected")) for d in (one, two)
    )

    assert first > second
