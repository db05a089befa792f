"""`tamis artifacts` and `tamis report artifact:NAME`: what was learned, listed and shown."""

import json
import time
from pathlib import Path

import pytest
from learned_artifacts import BARE, FULL, kept

from pipelines import api
from pipelines.store import Store


@pytest.fixture
def filled(tmp_path: Path) -> Store:
    """The store that the command reads, with two artifacts."""
    store = Store.open(tmp_path / "store")
    kept(store, tmp_path, "full", FULL)
    kept(store, tmp_path, "bare", BARE, kind="frequencies")
    return store


def entries(store: Store) -> list[str]:
    return sorted(str(path) for path in Path(store.url).rglob("*") if path.is_file())


def test_artifacts_are_listed_by_name_with_the_newest_of_each(filled, tmp_path):
    (tmp_path / "later").mkdir()
    path = tmp_path / "later" / "full.bin"
    later = kept(filled, path.parent, "full", {"what": 7}, kind="ngram")
    before = time.time()
    table = api.artifacts(store=filled)
    assert table.drop_columns(["created"]).to_pylist() == [
        {
            "name": "bare",
            "id": api.artifacts(store=filled)["id"][0].as_py(),
            "kind": "frequencies",
            "what": "A table of word frequencies.",
            "problem": None,
        },
        {"name": "full", "id": later.id, "kind": "ngram", "what": None, "problem": None},
    ]
    assert all(before - 60 < created <= before + 1 for created in table["created"].to_pylist())


def test_a_damaged_artifact_is_listed_with_what_is_wrong(filled):
    [record] = (Path(filled.url) / "artifacts/bare/commits").iterdir()
    record.write_text("{}")
    bare, full = api.artifacts(store=filled).to_pylist()
    assert (bare["id"], full["problem"]) == (None, None)
    assert "is not the record of an artifact" in bare["problem"]


def test_a_store_without_artifacts_has_an_empty_table(store):
    assert (api.artifacts(store=store).num_rows, api.artifacts(store=store).column_names[:2]) == (0, ["name", "id"])


def test_the_command_lists_artifacts_for_people_and_machines(filled, tamis):
    listed = tamis("artifacts")
    assert listed.returncode == 0, listed.stderr
    assert [line.split()[:2] for line in listed.stdout.splitlines() if line[0] != " "] == [
        ["name", "kind"],
        ["bare", "frequencies"],
        ["full", "quality"],
    ]
    assert json.loads(tamis("artifacts", "--json").stdout) == api.artifacts(store=filled).to_pylist()


def test_the_page_of_an_artifact_lands_where_it_is_asked_for_and_nothing_in_the_store(filled, tamis, tmp_path):
    html, numbers = api.report("artifact:full", store=filled)
    before = entries(filled)
    key = json.loads(numbers)["artifact"]

    here = tamis("report", "artifact:full")
    assert (here.returncode, here.stdout) == (0, f"{key}.html\n"), here.stderr
    assert (tmp_path / f"{key}.html").read_text("utf-8") == html

    assert tamis("report", f"artifact:{key}", "--out", "deep/page.html").stdout == "deep/page.html\n"
    assert (tmp_path / "deep" / "page.html").read_text("utf-8") == html

    assert tamis("report", "artifact:full", "--out", "numbers.json", "--json").stdout == numbers + "\n"
    assert (tmp_path / "numbers.json").read_text("utf-8") == numbers
    assert entries(filled) == before


def test_json_alone_writes_no_file(filled, tamis, tmp_path):
    before = set(tmp_path.iterdir())
    found = tamis("report", "artifact:bare", "--json")
    assert json.loads(found.stdout)["card"] == BARE
    assert set(tmp_path.iterdir()) == before


def test_an_artifact_that_is_not_there_is_an_error_of_the_request(filled, tamis):
    found = tamis("report", "artifact:bear")
    assert (found.returncode, found.stderr) == (2, "tamis: the store has no artifact 'bear'; did you mean 'bare'?\n")


@pytest.mark.s3
def test_a_bucket_gives_the_same_page_and_does_not_tell_when_a_name_was_given(filled, s3_server, tmp_path):
    bucket = Store.open(f"s3://{s3_server['bucket']}/learned")
    kept(bucket, tmp_path, "full", FULL)
    assert api.report("artifact:full", store=bucket) == api.report("artifact:full", store=filled)
    [listed] = api.artifacts(store=bucket).to_pylist()
    assert (listed["name"], listed["kind"], listed["created"], listed["problem"]) == ("full", "quality", None, None)
