"""`tamis label` as people use it: a run's documents, an oracle, rounds, and an artifact that a spec can score with."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from chat_server import says, serving
from label_runs import LABELS, judge, mail_run, mails, profile
from typer.testing import CliRunner

from pipelines.api import documents, run
from pipelines.cli import app
from pipelines.run import Options
from pipelines.store import Store
from stages.artifacts import find
from stages.errors import DataError, SpecError


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("label")
    mail_run(made)
    return made


def invoke(folder: Path, learner: str, oracle: str, *more: object, keys: str | None = None) -> Any:
    command = ["label", "mails", "--learner", learner, "--oracle", oracle, "--engine", "local", "--workers", "1"]
    return CliRunner().invoke(app, [*command, *map(str, more), "--store", str(folder / "store")], input=keys)


def ask(folder: Path, learner: str, oracle: str, *more: object, keys: str | None = None) -> dict[str, Any]:
    done = invoke(folder, learner, oracle, "--json", *more, keys=keys)
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def files(store: Path) -> set[str]:
    return {str(p.relative_to(store)) for p in store.rglob("*.json") if ".scratch" not in p.parts}


def test_the_whole_way_with_a_labelled_file(folder):
    store = Store.open(folder / "store")
    done = ask(folder, "mail", f"file:{LABELS}", "--pool", "all", "--budget", 100, "--rounds", 4, "--patience", 0)

    assert (sum(done["labels"].values()), done["rounds"], done["why"], done["skipped"]) == (100, 4, "budget", {})
    artifact = find(store, "artifact:mail", "quality")
    assert (artifact.id, artifact.identity["labels"], artifact.identity["high"]) == (
        done["artifact"], ["ham", "spam"], "ham",
    )  # fmt: skip
    card = artifact.card
    assert [c["title"] for c in card["curves"]] == [
        "Accuracy on 150 test documents, mean of 10 seeds",
        "Accuracy on held-out documents by round",
    ]
    assert [s["name"] for s in card["curves"][0]["series"]] == ["entropy", "random"]
    assert [p[0] for p in card["curves"][1]["series"][0]["points"]] == [20, 40, 60, 80]
    assert card["data"]["learned_from"] == 80
    assert card["data"]["held_out"] == 20
    assert len(card["likes"]) == len(card["hates"]) == 5
    assert card["likes"][0]["score"] > 0.5 > card["hates"][0]["score"]
    assert "1 documents without a word that the model knows cannot be scored and were left out." in card["warnings"]

    for number in range(4):
        this = store.get_json(f"{done['folder']}/rounds/{number:04d}.json")
        assert sorted(this["labels"]) == sorted(this["picks"])
        assert this["labelled"] == 20 * (number + 1)
        assert find(store, f"artifact:mail.rounds-{this['scorer']}", "quality").identity == artifact.identity
    truth = {r["id"]: r["label"] for r in mails()}
    ids = {d: i for b in documents("mails", ["id"], store=store) for d, i in zip(*b.to_pydict().values(), strict=True)}
    rounds = [store.get_json(f"{done['folder']}/rounds/{n}.json") for n in ("held-out", "0000", "0001", "0002", "0003")]
    given = {d: label for this in rounds for d, label in this["labels"].items()}
    assert len(given) == 100
    assert given == {d: truth[ids[d]] for d in given}


def test_the_same_command_again_asks_and_writes_nothing(folder):
    command = ("again", f"file:{LABELS}", "--budget", 60, "--rounds", 3, "--seed", 5)
    first = ask(folder, *command)
    before = files(folder / "store")

    assert ask(folder, *command) == first
    assert files(folder / "store") == before


def test_the_artifact_scores_documents_in_a_spec(folder):
    ask(folder, "scored", f"file:{LABELS}", "--budget", 100, "--rounds", 4)
    spec = {
        "name": "scored",
        "source": {"kind": "jsonl", "path": str(folder / "mails.jsonl")},
        "measure": {
            "clean": {"kind": "normalize", "ftfy": False},
            "quality": {"kind": "quality", "model": "artifact:scored"},
        },
        "keep": [{"column": "quality.p_high", "ge": "p30", "on_null": "drop", "reason": "low"}],
    }
    done = run(spec, store=folder / "store", options=Options("local", 1))
    assert done["total"]["exported"] == 351, "the upper 70 % of 500 scored documents, from the 150th value on"
    truth = {r["id"]: r["label"] for r in mails()}
    rows = [r for b in documents("scored", ["id", "quality.label"], store=folder / "store") for r in b.to_pylist()]
    right = [r["quality.label"] == truth[r["id"]] for r in rows if r["id"] != "blank"]
    assert sum(right) / len(right) > 0.85


def test_a_language_model_labels_and_a_larger_budget_asks_only_what_is_new(folder, tmp_path):
    with serving(judge()) as chat:
        oracle = f"llm:{profile(tmp_path, chat.url, input_price=1e-6, output_price=1e-6, max_spend=1)}"
        small = ask(folder, "model", oracle, "--budget", 60, "--rounds", 3, "--patience", 0)
        asked = len(chat.asked)
        assert asked == 60 == sum(small["labels"].values())
        assert small["oracle"] == {"oracle": "llm", "model": "judge", "asked": 60, "known": 0, "spent": 0.00066}
        assert "Not compared with random picks" in " ".join(small["warnings"])
        again = ask(folder, "model", oracle, "--budget", 60, "--rounds", 3, "--patience", 0, "--seed", 0)
        assert (again, len(chat.asked)) == (small, asked)
        other = ask(folder, "other", oracle, "--budget", 60, "--rounds", 3, "--patience", 0)
        assert (other["labels"], len(chat.asked)) == (small["labels"], asked), "an answer serves every learner"
        ask(folder, "model", oracle, "--budget", 90, "--rounds", 3, "--patience", 0)
        assert asked < len(chat.asked) <= asked + 90
        assert len(set(chat.texts)) == len(chat.texts), "no text was asked about twice"


def test_a_control_of_random_picks_is_paid_for_when_it_is_wanted(folder, tmp_path):
    with serving(judge()) as chat:
        done = ask(folder, "with-control", f"llm:{profile(tmp_path, chat.url, model='control')}", "--budget", 60,
                   "--rounds", 3, "--patience", 0, "--control", "--seed", 3)  # fmt: skip
        asked = len(chat.asked)

    assert 60 < asked <= 60 + 32, "the control shares the held-out documents and the first batch"
    series = done["curves"][0]["series"]
    assert [s["name"] for s in series] == ["entropy", "random"]
    assert series[0]["points"][0] == series[1]["points"][0]


def test_what_the_model_will_not_label_is_skipped_counted_and_never_labelled(folder, tmp_path):
    truthful = judge()

    def moody(text: str, number: int) -> Any:
        if number % 5 == 1:
            return says("I'm sorry, I cannot judge that.")
        return says("maybe") if number % 5 == 2 else truthful(text, number)

    with serving(moody) as chat:
        done = ask(
            folder,
            "moody",
            f"llm:{profile(tmp_path, chat.url, model='moody')}",
            "--budget",
            50,
            "--rounds",
            2,
            "--seed",
            9,
        )

    assert done["skipped"] == {"refused": 10, "nonsense": 10}
    assert sum(done["labels"].values()) == 30
    assert any("20 documents got no label and were skipped" in w for w in done["warnings"])


def test_a_cap_ends_the_rounds_with_a_scorer_and_a_higher_one_goes_on(folder, tmp_path):
    prices = {"input_price": 1e-6, "output_price": 1e-6, "retries": 0, "model": "capped"}
    with serving(judge()) as chat:
        path = profile(tmp_path, chat.url, **prices, max_spend=0.0019)
        command = ("capped", f"llm:{path}", "--budget", 100, "--rounds", 4, "--seed", 2, "--patience", 0)
        first = ask(folder, *command)
        assert first["why"] == "spending cap"
        assert 0 < sum(first["labels"].values()) == len(chat.asked) < 100
        assert first["oracle"]["spent"] <= 0.0019
        profile(tmp_path, chat.url, **prices, max_spend=1)
        second = ask(folder, *command)

    assert (second["why"], sum(second["labels"].values()), len(chat.asked)) == ("budget", 100, 100)


def test_a_person_labels_by_keyboard_with_undo_skip_and_quit(folder):
    options = ("--labels", "good,bad", "--budget", 10, "--rounds", 2, "--held-out", 0, "--seed", 4)
    stopped = invoke(folder, "person", "human", *options, keys="1\n2\nu\ns\nx\nq\n")
    assert stopped.exit_code == 130
    assert "every label is kept" in stopped.stderr
    assert stopped.stderr.count("1 good   2 bad   s skip   u undo   q quit") == 5

    done = ask(folder, "person", "human", *options, keys="1\n2\n" * 10)
    assert sum(done["labels"].values()) == 9
    assert done["skipped"] == {"skipped": 1}
    assert done["oracle"] == {"oracle": "human", "asked": 8}, "the label of before was kept"
    assert [p for p in files(folder / "store") if p.startswith("labels/people/person-")]


@pytest.mark.parametrize(
    ("oracle", "more", "error", "said"),
    [
        ("file:{labels}", ("--budget", 600), SpecError, r"the pool has 458; lower --budget to at most 458"),
        ("file:{few}", ("--budget", 30), SpecError, r"of which the oracle knows 19; lower --budget to at most 19"),
        ("file:{one}", ("--budget", 30, "--rounds", 2), DataError, r"all 24 labels are 'ham', .* raise the budget"),
        ("file:{none}", (), DataError, "cannot be read"),
        ("file:{twice}", (), DataError, r"line 2 of .* calls 'a' 'low', and an earlier line calls it 'high'"),
        ("file:{unlabelled}", (), DataError, r"line 1 of .* needs an `id` \(or `doc_id`\) and a `label`"),
        ("llm:nobody", (), SpecError, "there is no profile 'nobody'"),
        ("llm:{secret}", (), SpecError, "no variable 'NO_SUCH_KEY'"),
        ("fiel:x", (), SpecError, "has the oracle 'fiel:x'; known: file:PATH"),
        ("human", ("--labels", "good"), SpecError, "labels"),
        ("human", ("--budget", 10, "--rounds", 20), SpecError, "20 rounds share 8 documents"),
    ],
)
def test_bad_input_is_one_sentence_that_says_what_to_do(folder, tmp_path, oracle, more, error, said):
    def write(name: str, records: list[dict[str, Any]]) -> Path:
        path = tmp_path / f"{name}.jsonl"
        path.write_text("".join(json.dumps(r) + "\n" for r in records))
        return path

    paths = {
        "labels": LABELS,
        "few": write("few", [{"id": r["id"], "label": r["label"]} for r in mails()[:20]]),
        "one": write("one", [{"id": r["id"], "label": "ham"} for r in mails()]),
        "none": tmp_path / "none.jsonl",
        "twice": write("twice", [{"id": "a", "label": "high"}, {"id": "a", "label": "low"}]),
        "unlabelled": write("unlabelled", [{"id": "a"}]),
        "secret": profile(tmp_path, "http://127.0.0.1:9/v1", api_key="secret://NO_SUCH_KEY"),
    }
    result = invoke(folder, "bad", oracle.format(**paths), *more)

    assert type(result.exception) is error
    assert re.search(said, result.exception.message), result.exception.message


def test_a_run_without_a_document_that_can_be_scored_is_an_error(tmp_path):
    (tmp_path / "blank.jsonl").write_text('{"id": "a", "text": "   "}\n{"id": "b", "text": "\\n"}\n')
    run(
        {"name": "mails", "source": {"kind": "jsonl", "path": str(tmp_path / "blank.jsonl")}},
        store=tmp_path / "store",
        options=Options("local", 1),
    )
    result = invoke(tmp_path, "blank", f"file:{LABELS}", "--budget", 2, "--rounds", 1, "--held-out", 0)

    assert isinstance(result.exception, SpecError)
    assert "none of the 2 documents has a word" in result.exception.message
