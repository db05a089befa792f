"""`tamis learn quality` as people use it, and specs that keep what it likes."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipelines.api import documents, run
from pipelines.cli import app
from pipelines.run import Options
from stages.errors import DataError, SpecError, TamisError

SAMPLES = Path(__file__).parents[2] / "pipelines" / "samples"
MAIL = SAMPLES / "labels" / "mail-quality.jsonl.gz"


def invoke(store: Path, *command: object) -> Any:
    return CliRunner().invoke(
        app, ["learn", "quality", *map(str, command), "--store", str(store), "--engine", "local", "--workers", "1"]
    )


def learned(store: Path, *command: object) -> Any:
    done = invoke(store, *command, "--json")
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def refused(store: Path, *command: object) -> TamisError:
    error = invoke(store, *command).exception
    assert isinstance(error, TamisError), error
    return error


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("quality")


@pytest.fixture(scope="module")
def mail(folder: Path) -> Any:
    return learned(folder / "store", "--labels", MAIL, "--out", "mail", "--seed", 3)


def test_mail_is_learned_from_a_file_of_labels(mail):
    card = mail["card"]
    values = {m["name"]: m for m in card["metrics"]}

    assert mail["artifact"].startswith("mail-")
    assert card["settings"]["high"] == "ham"
    assert card["data"]["labels"]["documents"] == 500
    assert values["accuracy"]["value"] > 0.85
    assert values["ROC AUC"]["low"] > 0.85
    assert values["expected calibration error"]["value"] < 0.15
    assert card["likes"][0]["score"] > 0.9
    assert card["hates"][0]["score"] < 0.1
    assert len(card["likes"][0]["text"]) <= 500
    assert card["cost"]["peak_memory_bytes"] > 0


def test_the_same_labels_and_seed_are_the_same_artifact(folder, mail):
    assert learned(folder / "store", "--labels", MAIL, "--out", "mail", "--seed", 3)["artifact"] == mail["artifact"]


def test_embeddings_learn_the_same(folder):
    found = learned(folder / "store", "--labels", MAIL, "--out", "meant", "--kind", "embedding", "--seed", 3)

    assert found["card"]["metrics"][0]["value"] > 0.85
    assert found["card"]["settings"]["model"] == "static"


def test_clean_text_is_learned_from_raw_and_the_best_tenth_is_kept(folder):
    clean = [SAMPLES / "clean" / name / "train.jsonl.gz" for name in ("books", "encyclopedic", "manuals")]
    raw = SAMPLES / "raw"
    found = learned(folder / "store", "--positive", *clean, "--negative", raw, "--out", "clean", "--dim", 32)
    assert any(w.startswith("source alone tells 100.0%") for w in found["card"]["warnings"])
    assert found["card"]["settings"]["high"] == "high"
    spec = {
        "name": "best-tenth",
        "source": {"kind": "jsonl", "path": str(raw / "*.jsonl.gz")},
        "measure": {"quality": {"kind": "quality", "model": "artifact:clean"}},
        "keep": [{"column": "quality.p_high", "ge": "p90", "on_null": "drop", "reason": "quality"}],
    }

    done = run(spec, store=folder / "store", options=Options("local", 1))

    batches = list(documents(done["run"], ["quality.p_high"], store=folder / "store"))
    scores = sorted(p for b in batches for p in b["quality.p_high"].to_pylist() if p is not None)
    assert done["total"]["exported"] == sum(p >= scores[-(-len(scores) * 9 // 10) - 1] for p in scores)
    assert done["total"]["exported"] == pytest.approx(len(scores) / 10, abs=len(scores) / 100)


def test_people_see_figures_and_the_artifact_s_id(folder, mail):
    shown = invoke(folder / "store", "--labels", MAIL, "--out", "mail", "--seed", 3)

    assert shown.stdout.splitlines()[0] == mail["artifact"]
    assert "ROC AUC: " in shown.stdout


def test_what_is_wrong_with_labels_is_said_in_a_sentence(tmp_path, write_jsonl):
    store = tmp_path / "store"
    bare = write_jsonl("bare.jsonl", [{"text": "one"}, {"text": "two"}])
    same = write_jsonl("same.jsonl", [{"text": f"text {i}", "label": "good"} for i in range(9)])
    nested = write_jsonl("nested.jsonl", [{"text": "one", "label": ["good"], "id": "n1"}])
    blank = write_jsonl("blank.jsonl", [{"text": "words", "label": "a"}, {"text": "\n\u3000", "label": "b"}])

    error = refused(store, "--labels", bare, "--out", "x")
    assert isinstance(error, DataError)
    assert str(error) == (
        f"none of the 2 records of {str(bare)!r} has a field 'label'; write one JSON object a line, with 'text' and 'label'"
    )
    assert "all texts have the label 'good'" in str(refused(store, "--labels", same, "--out", "x"))
    assert "the label of the record n1 is ['good']" in str(refused(store, "--labels", nested, "--out", "x"))
    assert "the label 'b' has no text with a word" in str(refused(store, "--labels", blank, "--out", "x"))
    assert "matches no file" in str(refused(store, "--labels", tmp_path / "absent.jsonl", "--out", "x"))


def test_grades_are_high_from_a_threshold_on(tmp_path, write_jsonl):
    texts = [
        ("a lesson on plants and light", 4),
        ("limited offer, act now", 1),
        ("how rivers shape valleys", 3),
        ("lol", 0),
    ]
    graded = write_jsonl("graded.jsonl", [{"text": f"{t} {i}", "label": g} for i in range(30) for t, g in texts])
    found = learned(tmp_path / "store", "--labels", graded, "--at-least", 3, "--out", "edu", "--dim", 8)
    parts = found["card"]["parts"].values()
    named = write_jsonl("named.jsonl", [{"text": "one", "label": "good", "id": "n1"}])

    assert found["card"]["settings"]["high"] == "high"
    assert [sum(p[label] for p in parts) for label in ("high", "low")] == [60, 60]
    error = refused(tmp_path / "store", "--labels", named, "--at-least", 3, "--out", "x")
    assert str(error) == "the label of the record n1 is 'good', and --at-least compares numbers; leave it out"


def test_what_is_wrong_with_the_command_is_said_in_a_sentence(tmp_path, write_jsonl):
    store, some = tmp_path / "store", write_jsonl("some.jsonl", [{"text": "one"}])

    for command, sentence in (
        (("--out", "x"), "give either --labels FILE or both --positive PATH and --negative PATH"),
        (("--out", "x", "--labels", some, "--positive", some), "give either --labels FILE or both"),
        (("--out", "x", "--positive", some, "--negative", some, "--at-least", 3), "--at-least is for --labels"),
        (("--out", "x", "--positive", some), "give --negative PATH as well"),
        (("--out", "a/b", "--labels", some), "an artifact cannot be called 'a/b'"),
    ):
        error = refused(store, *command)
        assert isinstance(error, SpecError)
        assert sentence in str(error)


def test_scores_that_are_all_null_are_dropped_by_a_percentile_that_has_nothing_to_rank(
    folder, mail, write_jsonl, tmp_path
):
    path = write_jsonl("blank.jsonl", [{"text": " \n"}, {"text": "\u3000"}])
    spec = {
        "name": "nothing-to-score",
        "source": {"kind": "jsonl", "path": str(path)},
        "measure": {"quality": {"kind": "quality", "model": "artifact:mail"}},
        "keep": [{"column": "quality.p_high", "ge": "p90", "on_null": "drop", "reason": "quality"}],
    }

    done = run(spec, store=folder / "store", options=Options("local", 1))

    assert done["total"]["exported"] == 0
