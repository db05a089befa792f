"""`tamis index` as people use it: runs go in, files are asked about, documents are taken down, specs name an index."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from index_runs import spec, text_of, two_runs, write
from typer.testing import CliRunner

from pipelines.api import documents, run
from pipelines.cli import app
from pipelines.run import Options
from stages.errors import SpecError

KNOWN = ["known.jaccard", "known.nearest", "known.corpus", "known.matches"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("index")
    two_runs(made)
    return made


def invoke(folder: Path, *command: object) -> Any:
    return CliRunner().invoke(app, ["index", *map(str, command), "--store", str(folder / "store")])


def ask(folder: Path, *command: object) -> Any:
    done = invoke(folder, *command, "--json")
    assert done.exception is None, done.exception
    return json.loads(done.stdout)


def go(folder: Path, value: Any) -> Any:
    return run(value, store=folder / "store", options=Options("local", 1))


def test_the_whole_way(folder, tmp_path):
    assert ask(folder, "add", "seen", "first")["added"] == 40
    assert ask(folder, "add", "seen", "first") == {
        **ask(folder, "add", "seen", "first"),
        "added": 0,
        "known": 42,
    }
    info = ask(folder, "info", "seen")
    assert (info["documents"], info["corpora"], info["backend"]) == (40, {"first": 40}, "store")
    assert (info["configuration"]["bands"], info["configuration"]["rows"]) == (14, 8)
    assert info["candidate_probability"]["0.8"] == pytest.approx(0.924, abs=1e-3)

    asked = ask(folder, "query", "seen", folder / "second", "--threshold", "0.8")
    assert (asked["documents"], asked["matched"], asked["without_sketch"]) == (42, 20, 1)
    twin = asked["results"][0]["matches"][0]
    assert (twin["id"], twin["corpus"], twin["path"], twin["url"]) == (
        "doc-20", "first", "part-0.jsonl", "https://example.org/20",
    )  # fmt: skip
    assert 0.8 <= twin["jaccard"] < 1

    removed = ask(folder, "remove", "seen", twin["doc_id"])
    assert [r["id"] for r in removed["removed"]] == ["doc-20"]
    after = ask(folder, "query", "seen", folder / "second", "--threshold", "0.8")
    assert after["results"][0]["matches"] == []
    assert after["results"][1:] == asked["results"][1:]
    assert ask(folder, "add", "seen", "first", "--fate", "all")["taken_down"] == 1
    assert ask(folder, "info", "seen")["taken_down"] == 1


def test_every_kind_of_file_can_be_asked_about(folder, tmp_path):
    ask(folder, "add", "kinds", "first")
    records = "".join(json.dumps({"id": str(i), "text": text_of(i)}) + "\n" for i in (1, 2, 77)) + "{broken\n"
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(records.encode()))
    pq.write_table(pa.table({"text": [text_of(3), text_of(78)]}), tmp_path / "b.parquet")
    (tmp_path / "c.txt").write_text(text_of(4), encoding="utf-8")

    asked = ask(folder, "query", "kinds", *(tmp_path / n for n in ("a.jsonl.gz", "b.parquet", "c.txt")))

    twins = [[t["id"] for t in d["matches"]] for d in asked["results"] if "matches" in d]
    assert twins == [["doc-1"], ["doc-2"], [], ["doc-3"], [], ["doc-4"]]
    assert (asked["documents"], asked["matched"], asked["malformed"]) == (6, 4, 1)
    mixed = ask(folder, "query", "kinds", tmp_path / "[abc].*")
    assert (mixed["documents"], mixed["matched"]) == (6, 4)


def test_a_spec_deduplicates_against_an_index_and_a_later_add_makes_another_step(folder, tmp_path):
    ask(folder, "add", "spec", "first")
    value = spec(
        "third",
        write(tmp_path / "third", range(30, 50), changed=True),
        measure={"known": {"kind": "index_matches", "of": "sketch", "index": "spec"}},
    )
    value["keep"].append({"column": "known.jaccard", "lt": 0.8, "on_null": "keep", "reason": "seen-before"})

    first, again = go(folder, value), go(folder, value)
    ask(folder, "add", "spec", "second")
    done = first, again, go(folder, value)

    assert [d["total"]["exported"] for d in done] == [10, 10, 0]
    assert done[0]["run"] == done[1]["run"] != done[2]["run"]
    ledger = json.loads((folder / "store" / "runs" / done[2]["run"] / "ledger.json").read_text())
    assert {n: ledger["steps"][n]["computed_shards"] for n in ("sketch", "known")} == {"sketch": 0, "known": 1}
    assert ledger["reasons"]["seen-before"] == 20


def test_a_spec_deduplicates_against_a_bloom_index_by_membership_alone(folder, tmp_path):
    ask(folder, "add", "filters", "first", "--backend", "bloom", "--capacity", 1000)
    value = spec(
        "fourth",
        write(tmp_path / "fourth", range(30, 50), changed=True),
        measure={"known": {"kind": "index_matches", "of": "sketch", "index": "filters"}},
    )
    value["keep"].append({"column": "known.matches", "le": 0, "on_null": "keep", "reason": "seen-before"})

    before = go(folder, value)
    ask(folder, "add", "filters", "second")
    after = go(folder, value)

    assert [d["total"]["exported"] for d in (before, after)] == [10, 0]
    assert before["run"] != after["run"]
    rows = [r for b in documents(before["run"], ["id", *KNOWN], store=folder / "store") for r in b.to_pylist()]
    assert {r["id"]: r["known.matches"] for r in rows} == {
        **{f"doc-{n}": int(n < 40) for n in range(30, 50)},
        "empty": None,
        "short": 0,
    }
    assert {r[column] for r in rows for column in KNOWN[:3]} == {None}


def test_mistakes_are_told_in_one_sentence(tamis, folder, tmp_path):
    ask(folder, "add", "strict", "first")
    other = spec("other", write(tmp_path / "other", range(3)), measure={"sketch": {"kind": "minhash", "ngram": 7}})
    none = {**spec("none", tmp_path / "other"), "measure": {}}
    go(folder, other)
    go(folder, none)

    for command, words in (
        (("add", "strict", "other"), "holds sketches with ngram 5, but step 'sketch'"),
        (("add", "strict", "none"), "has no sketches"),
        (("add", "strict", "second", "--bands", "7", "--rows", "16"), "which cannot be changed"),
        (("add", "strict", "second", "--backend", "bloom"), "is kept in store, not in bloom"),
        (("add", "new", "second", "--bands", "20", "--rows", "8"), "need 160 values"),
        (("add", "new", "second", "--backend", "bloom"), "--capacity"),
        (("add", "new", "second", "--backend", "redis"), "needs --url"),
        (("query", "stict", "x.jsonl"), "did you mean 'strict'?"),
        (("remove", "strict", "nobody"), "has no document 'nobody'"),
        (("add", "a/b", "second"), "cannot be called"),
    ):
        refused = invoke(folder, *command).exception
        assert isinstance(refused, SpecError)
        assert words in refused.message
    told = tamis("index", "info", "stict", "--store", folder / "store")
    assert (told.returncode, told.stderr.count("\n")) == (2, 1)


def test_people_see_what_happened(folder):
    added = invoke(folder, "add", "people", "first").stdout
    asked = invoke(folder, "query", "people", folder / "second", "--threshold", "0.8").stdout
    info = invoke(folder, "info", "people").stdout

    assert "40 documents of first added" in added
    assert "(doc-20) in first: " in asked
    assert "20 of 42 documents" in asked
    assert "14 of 8 rows" in info
    for command in ("add", "query", "remove", "info"):
        assert "Example: tamis index" in CliRunner().invoke(app, ["index", command, "--help"]).stdout
