"""The section `learn:`: artifacts are fitted before what reads them is planned, and not fitted twice."""

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.api import run, view
from pipelines.run import Options
from pipelines.store import Store
from stages.artifacts import find
from stages.errors import SpecError


class Said:
    """What a run says."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """Progress is of no interest."""

    def say(self, sentence: str) -> None:
        """Keep the sentence."""
        self.sentences.append(sentence)

    def of(self, name: str) -> list[str]:
        """What was said of a learner."""
        return [s for s in self.sentences if s.startswith(f"learn {name}")]


SENTENCES = ("the sieve keeps the bran", "the mill grinds the corn", "the flour falls through the sieve")


@pytest.fixture
def spec(tmp_path: Path) -> dict[str, Any]:
    for name, count in (("clean", 40), ("raw", 60)):
        texts = [" ".join(SENTENCES[(i + k) % 3] for k in range(3)) + " zebra" * (i % 11) for i in range(count)]
        lines = [json.dumps({"id": str(i), "text": text}) for i, text in enumerate(texts)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
    return {
        "name": "learned",
        "source": {"kind": "jsonl", "path": str(tmp_path / "raw.jsonl")},
        "learn": {
            "grain": {"kind": "ngram", "text": str(tmp_path / "clean.jsonl"), "order": 2},
            "words": {"kind": "frequencies", "text": [str(tmp_path / "clean.jsonl")]},
        },
        "measure": {
            "ppl": {"kind": "perplexity", "model": "artifact:grain"},
            "hard": {"kind": "difficulty", "frequencies": "artifact:words"},
        },
        "keep": [{"column": "ppl.nats_per_token", "le": "p50", "on_null": "drop", "reason": "unlikely"}],
        "order": {"kind": "curriculum", "by": "hard.mean_word_rarity", "phases": 2, "seed": 1},
    }


def test_what_a_spec_learns_is_there_when_its_steps_are_planned(spec, tmp_path):
    done = run(spec, store=tmp_path / "store", options=Options("local", 1))
    found = view(done["run"], store=tmp_path / "store")

    assert 0 < done["total"]["exported"] < 60
    store = Store.open(tmp_path / "store")
    assert found.plan.step("ppl").stage.artifacts()["model"] == find(store, "artifact:grain", "ngram").key


def test_what_was_learned_from_the_same_texts_in_the_same_way_is_not_learned_again(spec, tmp_path):
    first, again, other = Said(), Said(), Said()
    run(spec, store=tmp_path / "store", options=Options("local", 1), watch=first)
    run(spec, store=tmp_path / "store", options=Options("local", 1), watch=again)
    spec["learn"]["grain"]["order"] = 3
    run(spec, store=tmp_path / "store", options=Options("local", 1), watch=other)

    (fitted,) = first.of("grain")
    assert again.of("grain") == [f"{fitted} is there"]
    assert other.of("grain") not in ([fitted], again.of("grain"))
    assert other.of("words") == again.of("words")


def test_a_request_of_before_is_its_artifact_again(spec, tmp_path):
    store = tmp_path / "store"
    run(spec, store=store, options=Options("local", 1))
    before = find(Store.open(store), "artifact:grain", "ngram")
    changed = {**spec, "learn": {**spec["learn"], "grain": {**spec["learn"]["grain"], "order": 3}}}
    run(changed, store=store, options=Options("local", 1))
    run(spec, store=store, options=Options("local", 1))

    assert find(Store.open(store), "artifact:grain", "ngram") == before


@pytest.mark.parametrize(
    ("learn", "message"),
    [
        (
            {"grain": {"kind": "ngrams", "text": "x"}},
            "learner 'grain' has the unknown kind 'ngrams'; did you mean 'ngram'",
        ),
        ({"grain": {"kind": "ngram"}}, "learner 'grain' lacks the field 'text'; add it"),
        ({"grain": {"kind": "ngram", "text": "x", "ordre": 2}}, "unknown field 'ordre'; did you mean 'order'"),
        ({"../x": {"kind": "ngram", "text": "x"}}, "an artifact cannot be called"),
        (["ngram"], "`learn` is a mapping of artifact names to learners"),
    ],
)
def test_a_wrong_request_is_told_before_anything_runs(spec, tmp_path, learn, message):
    with pytest.raises(SpecError, match=message):
        run({**spec, "learn": learn}, store=tmp_path / "store")
