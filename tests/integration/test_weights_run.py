"""Weights learned from files and used in a run; evaluation sets kept out of it; what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from learners.ngram.settings import Settings
from pipelines.api import documents, learn_importance, learn_ngram, plan, run
from pipelines.learning.importance import Learning
from pipelines.learning.ngram import Learning as Counted
from pipelines.run import Options
from pipelines.store import Store
from stages.errors import DataError, SpecError
from stages.importance_weights import Features

LOCAL = Options("local", 2)
WORDS = ["sieve", "flour", "bran", "miller", "wheel", "water", "grain", "dust", "sack", "bread", "oven", "stone"]
QUESTION = "Which of these keeps the bran and lets all of the fine flour through at once?"


def text_of(i: int) -> str:
    words = " ".join(WORDS[(i * 7 + k * k) % 12] for k in range(60 + i % 9))
    return [f"The {words}.", f"篩は細かい粉を通し、{words} ふすまを残す。", f"المنخل يمرر {words} 🌾 & click here!"][
        i % 3
    ]


@pytest.fixture
def mill(write_jsonl: Callable[..., Path]) -> Path:
    """A folder with raw documents in two files, two of them with the question, and wanted ones."""
    records = [{"id": str(i), "text": text_of(i) + (f" {QUESTION.upper()}" if i in {5, 21} else "")} for i in range(60)]
    write_jsonl("raw/a.jsonl", records[:25])
    write_jsonl("raw/b.jsonl", records[25:])
    write_jsonl("raw-whole/all.jsonl", records)
    write_jsonl("eval/quiz.jsonl", [{"question": QUESTION, "answer": "The sieve"}])
    return write_jsonl("wanted/w.jsonl", [{"text": text_of(3 * i)} for i in range(40)]).parent.parent


def learning(mill: Path, raw: str = "raw", **features: Any) -> Learning:
    return Learning([str(mill / "wanted")], [str(mill / raw)], Features(**features))


def spec(mill: Path, shard_bytes: int = 2_000) -> dict[str, Any]:
    return {
        "name": "weights",
        "source": {"kind": "jsonl", "path": str(mill / "raw" / "*.jsonl"), "shard_bytes": shard_bytes},
        "measure": {
            "weights": {"kind": "importance", "model": "artifact:like-wanted", "seed": 3, "min_tokens": 5},
            "twin": {"kind": "importance", "model": "artifact:like-wanted", "seed": 3, "min_tokens": 66},
            "excess": {
                "kind": "learnability",
                "proxy": "twin.log_weight_per_token",
                "reference": "weights.log_weight_per_token",
            },
            "quiz": {
                "kind": "decontaminate",
                "sets": {"quiz": {"path": str(mill / "eval" / "quiz.jsonl"), "fields": ["question", "answer"]}},
            },
            "meaning": {"kind": "embedding"},
            "spread": {"kind": "diversity", "of": "meaning", "clusters": 4, "score": "weights.priority", "seed": 3},
        },
        "keep": [{"column": "quiz.hits", "eq": 0, "on_null": "keep", "reason": "contaminated"}],
    }


COLUMNS = [
    *(f"weights.{c}" for c in ("log_weight", "log_weight_per_token", "tokens", "priority")),
    *(f"quiz.{c}" for c in ("hits", "overlap_fraction", "set", "ngram", "offset_bytes")),
    *(f"spread.{c}" for c in ("cluster", "cluster_size", "round", "distance")),
    "excess.excess_nats_per_token",
]


def columns_of(done: dict[str, Any], store: Path) -> dict[str, dict[str, Any]]:
    table = pa.Table.from_batches(documents(done["run"], ["id", *COLUMNS], store=store))
    return {row.pop("id"): row for row in table.drop_columns(["doc_id"]).to_pylist()}


def test_learning_counts_alike_however_the_texts_are_cut_and_new_shards_only(mill, tmp_path):
    store = Store.open(tmp_path / "store")

    parts = learn_importance("parts", learning(mill), store=store, options=LOCAL)
    counted = list(store.list("steps"))
    again = learn_importance("parts", learning(mill), store=store, options=LOCAL)
    assert list(store.list("steps")) == counted, "every shard was counted before"
    whole = learn_importance("whole", learning(mill, "raw-whole"), store=store, options=LOCAL)

    assert parts == again
    assert parts.key == whole.key
    assert parts.card["data"]["raw"]["documents"] == 60
    [drawn] = parts.card["curves"]
    target, raw = (dict(map(reversed, s["points"])) for s in drawn["series"])
    assert all(target[share] >= raw[share] for share in raw), "what is wanted weighs more at every quantile"
    assert [one["score"] for one in parts.card["likes"]] == sorted(
        (o["score"] for o in parts.card["likes"]), reverse=True
    )


def test_a_run_keeps_evaluation_sets_out_and_depends_on_no_cutting(mill, tmp_path):
    found = []
    for name, shard_bytes in (("small", 2_000), ("large", 1_000_000)):
        store = tmp_path / name
        learn_importance("like-wanted", learning(mill), store=store, options=LOCAL)
        done = run(spec(mill, shard_bytes), store=store, options=LOCAL)
        found.append(columns_of(done, store))
        assert done["total"]["rejected"] == 2

    assert found[0] == found[1]
    rows = found[0]
    contaminated = {i: r for i, r in rows.items() if r["quiz.hits"]}
    assert set(contaminated) == {"5", "21"}
    assert {(r["quiz.hits"], r["quiz.set"], r["quiz.ngram"]) for r in contaminated.values()} == {
        (4, "quiz", "which of these keeps the bran and lets all of the fine flour")
    }
    assert contaminated["5"]["quiz.offset_bytes"] == len(text_of(5).encode()) + 1
    assert {r["excess.excess_nats_per_token"] for r in rows.values()} == {0.0, None}
    wanted, unwanted = (
        [r["weights.log_weight_per_token"] for i, r in rows.items() if (int(i) % 3 == 0) == like]
        for like in (True, False)
    )
    assert min(wanted) > max(unwanted)
    assert sorted(r["spread.round"] for r in rows.values() if r["spread.cluster"] == 0) == list(
        range(1, next(r["spread.cluster_size"] for r in rows.values() if r["spread.cluster"] == 0) + 1)
    )


def test_a_budget_by_priority_is_importance_resampling(mill, tmp_path):
    store = tmp_path / "store"
    learn_importance("like-wanted", learning(mill), store=store, options=LOCAL)
    weights, quiz = (spec(mill)["measure"][name] for name in ("weights", "quiz"))
    budget = {"kind": "budget", "by": "weights.priority", "count": "weights.tokens", "amount": 900, "seed": 1}
    chosen = {**spec(mill), "measure": {"weights": weights, "quiz": quiz}, "select": budget}

    done = run(chosen, store=store, options=LOCAL)

    table = pa.Table.from_batches(documents(done["run"], ["id", "weights.priority", "weights.tokens"], store=store))
    rows = sorted(table.to_pylist(), key=lambda row: -row["weights.priority"])
    sound = [row for row in rows if row["id"] not in {"5", "21"}]
    total, expected = 0, set()
    for row in sound:
        total += row["weights.tokens"]
        if total > 900:
            break
        expected.add(row["id"])
    files = [pq.read_table(file, columns=["id"]) for file in Path(done["export"]).glob("*.parquet")]
    assert set(pa.concat_tables(files)["id"].to_pylist()) == expected
    assert 5 < len(expected) < 20


def test_a_changed_set_and_new_weights_change_their_steps_alone(mill, tmp_path):
    store = tmp_path / "store"
    learn_importance("like-wanted", learning(mill), store=store, options=LOCAL)
    run(spec(mill), store=store, options=LOCAL)

    def keys() -> dict[str, str]:
        return {s["step"]: s["key"] for s in plan(spec(mill), store=store)["steps"]}

    before = keys()
    (mill / "eval/quiz.jsonl").write_text(json.dumps({"question": QUESTION + " Or not?", "answer": "x"}) + "\n")
    moved = keys()
    assert {n for n in before if before[n] != moved[n]} == {"quiz", "verdict"}
    learn_importance("like-wanted", learning(mill, buckets=500), store=store, options=LOCAL)
    again = keys()
    assert {n for n in moved if moved[n] != again[n]} == {"weights", "twin", "excess", "spread"}


def test_two_n_gram_models_tell_what_is_learnable(mill, tmp_path):
    """Under a model of the raw texts and one of the wanted: what is like the wanted has the larger excess loss."""
    store = tmp_path / "store"
    for name, folder in (("raw-bigrams", "raw"), ("wanted-bigrams", "wanted")):
        learn_ngram(name, Counted([str(mill / folder)], Settings(2)), store=store, options=LOCAL)
    losses = {short: {"kind": "perplexity", "model": f"artifact:{short}-bigrams"} for short in ("raw", "wanted")}
    excess = {"kind": "learnability", "proxy": "raw.nats_per_token", "reference": "wanted.nats_per_token"}

    done = run({**spec(mill), "measure": {**losses, "excess": excess}, "keep": []}, store=store, options=LOCAL)

    names = ["raw.nats_per_token", "wanted.nats_per_token", "excess.excess_nats_per_token"]
    rows = pa.Table.from_batches(documents(done["run"], ["id", *names], store=store)).to_pylist()
    assert [r[names[2]] for r in rows] == [r[names[0]] - r[names[1]] for r in rows]
    like, unlike = ([r[names[2]] for r in rows if (int(r["id"]) % 3 == 0) == wanted] for wanted in (True, False))
    assert min(like) > max(unlike)


def test_what_cannot_be_learned_or_run_is_refused_in_a_sentence(mill, tmp_path, write_jsonl):
    store = tmp_path / "store"
    learn_importance("like-wanted", learning(mill), store=store, options=LOCAL)
    empty = write_jsonl("empty/e.jsonl", [{"text": " "}, {"text": "\n"}])

    with pytest.raises(DataError, match="the target texts hold no word at all"):
        learn_importance("x", Learning([str(empty)], [str(mill / "raw")]), store=store, options=LOCAL)
    with pytest.raises(SpecError, match="an artifact cannot be called 'a/b'"):
        learn_importance("a/b", learning(mill), store=store, options=LOCAL)
    misspelt = spec(mill)
    misspelt["measure"]["weights"]["model"] = "artifact:like-wanter"
    with pytest.raises(SpecError, match="has no artifact 'like-wanter'; did you mean 'like-wanted'"):
        run(misspelt, store=store, options=LOCAL)
    done = run(spec(mill), store=store, options=LOCAL)
    (mill / "eval/quiz.jsonl").unlink()
    assert columns_of(done, store), "a finished run is read without the sets"
    with pytest.raises(SpecError, match=r"the evaluation set 'quiz' cannot be read from .*quiz.jsonl"):
        run(spec(mill), store=store, options=LOCAL)


def test_the_command_prints_the_id_and_says_what_is_wrong(mill, tamis):
    command = ("learn", "importance", "--raw", mill / "raw", "--engine", "local", "--out", "like-wanted")

    done = tamis(*command, "--target", mill / "wanted", "--hash", "sha256", "--buckets", "100")
    again = tamis(*command, "--target", mill / "wanted", "--hash", "sha256", "--buckets", "100", "--json")
    refused = tamis(*command, "--target", mill / "nowhere")

    assert done.returncode == 0, done.stderr
    answer = json.loads(again.stdout)
    assert done.stdout.split("\n")[0] == answer["artifact"]
    assert answer["card"]["settings"]["hash"] == "sha256"
    assert refused.returncode == 3
    assert "nowhere" in refused.stderr
