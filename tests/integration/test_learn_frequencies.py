"""`tamis learn frequencies`, and runs that read its table."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from pipelines.api import learn_frequencies, plan, run
from pipelines.run import Options
from pipelines.store import Store
from stages.errors import DataError, SpecError

LOCAL = Options("local", 1)
COMMON, RARE = "the cat sat on the mat with the dog", "zymurgy quixotic 猫"


@pytest.fixture
def texts(write_jsonl: Any) -> str:
    write_jsonl("learn/a.jsonl", [{"text": COMMON}] * 20)
    write_jsonl("learn/b.jsonl", [{"text": f"{COMMON} and zymurgy"}])
    return str(write_jsonl("raw/a.jsonl", [{"text": COMMON}, {"text": RARE}, {"text": "..."}]).parent.parent)


def spec(folder: str, table: str = "artifact:words") -> dict[str, Any]:
    return {
        "name": "hard",
        "source": {"kind": "jsonl", "path": f"{folder}/raw/*.jsonl"},
        "measure": {"difficulty": {"kind": "difficulty", "frequencies": table}},
        "keep": [{"column": "difficulty.mean_word_rarity", "le": 3.0, "on_null": "keep", "reason": "rare"}],
    }


def learned(folder: str, store: Store, *names: str, out: str = "words") -> Any:
    return learn_frequencies(out, [f"{folder}/learn/{n}.jsonl" for n in names or "ab"], store=store, options=LOCAL)


def test_rare_words_can_be_rejected_with_a_table_that_was_learned(texts: str, store: Store) -> None:
    table = learned(texts, store)
    done = run(spec(texts), store=store, options=LOCAL)

    (file,) = Path(done["export"]).glob("*.parquet")
    assert pq.read_table(file)["text"].to_pylist() == [COMMON, "..."]
    figures = {m["name"]: m["value"] for m in table.card["metrics"]}
    assert (figures["words"], figures["distinct words"], figures["words in the table"]) == (191, 9, 7)


def test_the_table_is_the_same_however_the_texts_are_divided(texts: str, store: Store) -> None:
    both = learned(texts, store)
    turned = learned(texts, store, "b", "a", out="turned")

    assert both.key == turned.key


def test_a_new_table_under_a_name_makes_another_step_and_an_old_one_can_be_pinned(texts: str, store: Store) -> None:
    first = learned(texts, store)
    key = plan(spec(texts), store=store)["steps"]
    learned(texts, store, "a")

    assert plan(spec(texts), store=store)["steps"] != key
    assert plan(spec(texts, f"artifact:{first.id}"), store=store)["steps"] == key


def test_a_table_that_is_not_there_and_texts_without_words_are_refused(
    texts: str, store: Store, write_jsonl: Any
) -> None:
    with pytest.raises(SpecError, match="the store has no artifact 'words'; fit one with: tamis learn"):
        run(spec(texts), store=store, options=LOCAL)
    write_jsonl("learn/a.jsonl", [{"text": "..."}])
    with pytest.raises(DataError, match="there is no word in"):
        learned(texts, store, "a")


def test_the_command_prints_the_artifact_and_its_card(tamis: Any, texts: str) -> None:
    result = tamis("learn", "frequencies", "--text", f"{texts}/learn/a.jsonl", f"{texts}/learn/b.jsonl", "--out", "w", "--engine", "local", "--json")  # fmt: skip

    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    assert answer["artifact"].startswith("w-")
    rarity = {m["name"]: m["value"] for m in answer["card"]["metrics"]}["mean rarity of their words"]
    assert 0 < rarity < math.log(191 + 9 + 1)
