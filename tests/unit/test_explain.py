"""Why a document stayed or went: every answer against the stored columns, the input and the export."""

import json

import pyarrow.parquet as pq
import pytest

from pipelines.explain import explain
from pipelines.sample import sample
from pipelines.store import Store
from stages.errors import SpecError


@pytest.fixture(scope="session")
def rows(finished_run):
    columns = ["id", "lang", "text", "clean.text", "leaving.bytes", "copies.cluster", "verdict.fate", "verdict.reasons"]
    return [row for shard in finished_run.shards for row in finished_run.read(shard, columns).to_pylist()]


def test_a_kept_document_is_where_the_explanation_says(finished_run, rows):
    kept = [r["doc_id"] for r in rows if r["verdict.fate"] == "kept"]
    for doc_id in (kept[0], kept[len(kept) // 2], kept[-1]):
        position = explain(finished_run, doc_id).position
        file = pq.read_table(f"{position['export']}/{position['file']}")
        assert file["doc_id"][position["row"]].as_py() == doc_id


def test_the_rules_that_fail_are_the_reasons(finished_run, rows):
    for row in rows[::7]:
        found = explain(finished_run, row["doc_id"])
        failed = [r.reason for r in found.rules if r.status in ("fail", "null, dropped")]
        copies = [t.reason for t in found.twins if t.status == "another stayed"]
        assert [*failed, *copies] == found.reasons == row["verdict.reasons"]


def test_a_rule_shows_its_value_and_the_threshold_of_the_documents_group(finished_run, rows):
    row = next(r for r in rows if r["lang"] == "ja" and "size/long" in r["verdict.reasons"])
    rule = next(r for r in explain(finished_run, row["doc_id"]).rules if r.reason == "size/long")
    values = sorted(r["leaving.bytes"] for r in rows if r["lang"] == "ja")
    nearest_rank = values[-(-len(values) * 80 // 100) - 1]
    assert (rule.value, rule.written, rule.threshold, rule.group) == (row["leaving.bytes"], "p80", nearest_rank, "ja")


def test_a_rule_for_another_language_does_not_apply(finished_run, rows):
    row = next(r for r in rows if r["lang"] == "en")
    rule = next(r for r in explain(finished_run, row["doc_id"]).rules if r.reason == "untidy")
    assert (rule.status, rule.where) == ("not applicable", {"lang": ["ru"]})


def test_a_document_without_a_language_is_kept_for_want_of_a_value(finished_run, rows):
    row = next(r for r in rows if r["lang"] is None)
    statuses = {r.reason: r.status for r in explain(finished_run, row["doc_id"]).rules}
    assert (statuses["size/long"], statuses["language"]) == ("null, kept", "null, kept")


def test_a_copy_names_the_one_that_stayed(finished_run, rows):
    copies = [r for r in rows if "copy" in r["verdict.reasons"]]
    found = explain(finished_run, copies[0]["doc_id"])
    twin = found.twins[0]
    (stayed,) = [r for r in rows if r["copies.cluster"] == copies[0]["copies.cluster"] and r["verdict.fate"] == "kept"]
    assert (twin.status, twin.size, twin.stays["id"]) == ("another stayed", 20, stayed["id"])
    assert explain(finished_run, stayed["doc_id"]).twins[0].status == "stayed"


def test_the_beginning_of_a_doc_id_is_enough(finished_run, rows):
    assert explain(finished_run, rows[5]["doc_id"][:12]).doc_id == rows[5]["doc_id"]


def test_a_users_own_id_is_enough_even_with_markup_in_it(finished_run):
    assert explain(finished_run, "doc-42").id == "doc-42"


def test_an_id_given_twice_lists_both_documents(finished_run, rows):
    with pytest.raises(SpecError, match=r"2 documents of the run .* are called 'twice'") as error:
        explain(finished_run, "twice")
    found = {c["doc_id"] for c in error.value.fields["candidates"]}
    assert found == {r["doc_id"] for r in rows if r["id"] == "twice"}


def test_an_unknown_id_says_how_to_find_one(finished_run):
    with pytest.raises(SpecError, match=r"has no document 'nobody'; `tamis sample .*` shows some"):
        explain(finished_run, "nobody")


def test_a_malformed_record_tells_its_place_and_what_was_wrong(finished_run):
    record = next(r for r in finished_run.quarantined().to_pylist() if r["ordinal"] == 70)
    found = explain(finished_run, record["doc_id"])
    assert (found.fate, found.provenance["path"], found.provenance["ordinal"]) == ("quarantined", "a.jsonl", 70)
    assert found.quarantine == {k: record[k] for k in ("step", "reason", "message")}
    assert (found.rules, found.original, found.position) == ([], None, None)


def test_a_document_that_broke_a_stage_names_the_step_and_was_not_judged(tamis, write_jsonl, tmp_path):
    path = write_jsonl("poison.jsonl", [{"id": f"d{i}", "text": "RAISE-NOW" if i == 7 else "fine"} for i in range(20)])
    spec = {
        "name": "poison",
        "source": {"kind": "jsonl", "path": str(path)},
        "measure": {"fragile": {"kind": "fragile"}},
        "keep": [{"column": "fragile.chars", "ge": 1, "on_null": "drop", "reason": "short"}],
        "max_quarantine": 0.1,
    }
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    ran = tamis("run", "spec.json", "--engine", "local", "--workers", 1)
    assert ran.returncode == 0, ran.stderr
    found = json.loads(tamis("explain", "poison", "d7", "--json").stdout)
    assert (found["fate"], found["reasons"], found["rules"]) == ("quarantined", [], [])
    assert (found["quarantine"]["step"], found["quarantine"]["reason"]) == ("fragile", "error")
    assert "RAISE-NOW" in found["quarantine"]["message"]


def test_the_original_text_and_the_leaving_one_are_shown(finished_run, rows):
    row = next(r for r in rows if r["lang"] == "ru")
    found = explain(finished_run, row["doc_id"])
    assert (found.original, found.leaving, found.rewritten) == (row["text"], row["clean.text"], True)
    assert found.provenance["meta"] == {"n": int(row["id"].removeprefix("doc-"))}


def test_explaining_reads_no_text_but_the_documents_own(finished_run, rows):
    read = []

    class Watched(Store):
        def open_input(self, path):
            read.append(path)
            return super().open_input(path)

    store = Watched.open(finished_run.store.url)
    seen = type(finished_run)(
        store, finished_run.run, finished_run.spec, finished_run.plan, finished_run.record, finished_run.ledger
    )
    explain(seen, rows[0]["doc_id"])
    assert len([p for p in read if "clean-" in p]) == 1


def test_a_sampled_document_can_be_explained(finished_run):
    (document,) = sample(finished_run, "rejected", "language", 1, 3)
    assert "language" in explain(finished_run, document["doc_id"]).reasons
