"""A run from end to end, as people start it: what comes out, what is reused, what the ledger says."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

MEASURE = {"clean": {"kind": "normalize"}, "copies": {"kind": "exact_duplicates"}}
KEEP = [
    {"column": "leaving.bytes", "ge": 100, "on_null": "drop", "reason": "short"},
    {"column": "leaving.bytes", "le": "p90", "on_null": "drop", "reason": "long"},
    {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
]


@pytest.fixture
def spec(tmp_path: Path, corpus: Path) -> Any:
    """Write a spec over the corpus, with changes; gives its path."""

    def write(**changes: Any) -> Path:
        value = {
            "name": "small",
            "source": {"kind": "jsonl", "path": "corpus/*.jsonl"},
            "measure": MEASURE,
            "keep": KEEP,
            **changes,
        }
        path = tmp_path / "spec.yaml"
        path.write_text(yaml.safe_dump(value, allow_unicode=True))
        return path

    return write


def done(result: Any) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def ledger(tmp_path: Path, run: str, store: str = "store") -> dict[str, Any]:
    return json.loads((tmp_path / store / "runs" / run / "ledger.json").read_text())


def exported(path: str) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(Path(path).glob("*.parquet"))}


def files(store: Path) -> dict[str, int]:
    """Every file that is not in the making, with when it was written."""
    found = (p for p in store.rglob("*") if p.is_file() and ".scratch" not in p.parts)
    return {str(p): p.stat().st_mtime_ns for p in found}


def texts(corpus: Path) -> list[str]:
    files = sorted(corpus.glob("*.jsonl"))
    return [json.loads(line)["text"] for f in files for line in f.read_text(encoding="utf-8").splitlines()]


def test_the_export_holds_exactly_the_documents_that_the_rules_keep_in_corpus_order(tamis, spec, corpus, tmp_path):
    result = done(tamis("run", spec(), "--engine", "local", "--json"))
    cleaned = [t.strip() for t in texts(corpus)]
    sizes = sorted(len(t.encode()) for t in cleaned)
    p90 = sizes[-(-len(sizes) * 90 // 100) - 1]
    kept = list(dict.fromkeys(t for t in cleaned if 100 <= len(t.encode()) <= p90))
    tables = [pq.read_table(f) for f in sorted(Path(result["export"]).glob("*.parquet"))]
    assert [t for table in tables for t in table["text"].to_pylist()] == kept


def test_every_document_is_accounted_for_once(tamis, spec, tmp_path):
    result = done(tamis("run", spec(), "--engine", "local", "--json"))
    total = result["total"]
    assert total["documents_in"] == total["exported"] + total["rejected"] + total["quarantined"] == 120
    assert set(ledger(tmp_path, result["run"])["reasons"]) == {"short", "long", "copy"}


def test_a_finished_run_repeated_computes_nothing_and_writes_nothing(tamis, spec, tmp_path):
    path = spec()
    first = done(tamis("run", path, "--engine", "local", "--json"))
    before = files(tmp_path / "store")
    again = done(tamis("run", path, "--engine", "local", "--json"))
    assert again == first
    assert files(tmp_path / "store") == before


def test_another_threshold_recomputes_no_score(tamis, spec, tmp_path):
    done(tamis("run", spec(), "--engine", "local", "--json"))
    changed = [{**KEEP[0], "ge": 150}, *KEEP[1:]]
    second = done(tamis("run", spec(keep=changed), "--engine", "local", "--json"))
    steps = ledger(tmp_path, second["run"])["steps"]
    assert {n for n, line in steps.items() if line["computed_shards"]} == {"choice-0", "verdict"}


def test_an_added_file_computes_one_shard_and_leaves_the_others_alone(tamis, spec, write_jsonl, tmp_path):
    path = spec(
        measure={"clean": MEASURE["clean"]},
        keep=KEEP[:1],
        source={"kind": "jsonl", "path": "corpus/*.jsonl", "shard_bytes": 4000},
    )
    first = done(tamis("run", path, "--engine", "local", "--json"))
    write_jsonl("corpus/part-9.jsonl", [{"id": "new", "text": "A new document. " * 200}])
    second = done(tamis("run", path, "--engine", "local", "--json"))
    steps = ledger(tmp_path, second["run"])["steps"]
    assert first["run"] != second["run"]
    assert {n: line["computed_shards"] for n, line in steps.items()} == {
        "source": 1,
        "clean": 1,
        "leaving": 1,
        "verdict": 1,
    }


@pytest.mark.parametrize("more", [["--workers", "7"], ["--set", "source.shard_bytes=3000"]])
def test_the_exported_bytes_do_not_depend_on_workers_or_input_shards(tamis, spec, more):
    path = spec(write={"kind": "parquet", "shard_bytes": 5000})
    one = done(tamis("run", path, "--engine", "local", "--workers", "1", "--json"))
    other = done(tamis("run", path, "--engine", "local", *more, "--json", "--store", "other"))
    assert len(exported(one["export"])) > 1
    assert exported(one["export"]) == exported(other["export"])


def test_a_cluster_does_not_vanish_with_a_representative_that_fails_another_rule(tamis, spec, write_jsonl):
    twin = "The same words twice over, long enough to stay. " * 3
    write_jsonl(
        "corpus/part-0.jsonl", [{"id": "a", "text": twin, "lang": "xx"}, {"id": "b", "text": twin, "lang": "en"}]
    )
    rules = [{"column": "lang", "eq": "en", "on_null": "drop", "reason": "language"}, KEEP[2]]
    result = done(tamis("run", spec(keep=rules, source={"kind": "jsonl", "path": "corpus/part-0.jsonl"}), "--json"))
    (file,) = Path(result["export"]).glob("*.parquet")
    assert pq.read_table(file)["id"].to_pylist() == ["b"]


def test_everything_rejected_is_a_valid_empty_export(tamis, spec):
    rules = [{"column": "leaving.bytes", "ge": 10**9, "on_null": "drop", "reason": "short"}]
    result = done(tamis("run", spec(keep=rules), "--engine", "local", "--json"))
    rows = [pq.read_table(f).num_rows for f in Path(result["export"]).glob("*.parquet")]
    assert (result["total"]["exported"], result["total"]["rejected"], sum(rows)) == (0, 120, 0)
    assert (Path(result["export"]) / "manifest.json").exists()


def test_a_corpus_without_documents_is_a_valid_run(tamis, spec, tmp_path):
    (tmp_path / "corpus" / "empty.jsonl").write_text("\n\n")
    result = done(
        tamis("run", spec(source={"kind": "jsonl", "path": "corpus/empty.jsonl"}), "--engine", "local", "--json")
    )
    assert result["total"]["documents_in"] == 0


def test_nothing_measured_and_nothing_refused_converts_a_corpus(tamis, spec, corpus):
    result = done(tamis("run", spec(measure={}, keep=[]), "--engine", "local", "--json"))
    tables = [pq.read_table(f) for f in sorted(Path(result["export"]).glob("*.parquet"))]
    assert [t for table in tables for t in table["text"].to_pylist()] == texts(corpus)


def test_a_policy_that_drops_too_much_stops_before_anything_is_exported(tamis, spec, tmp_path):
    rules = [{"column": "leaving.bytes", "ge": 10**9, "on_null": "drop", "reason": "short"}]
    result = tamis("run", spec(keep=rules, max_drop=0.5), "--engine", "local")
    assert result.returncode == 4
    assert "rejects 120 of 120 documents, more than max_drop (0.5)" in result.stderr
    assert not (tmp_path / "store" / "exports").exists()


def test_a_changed_input_of_an_interrupted_run_is_named(tamis, spec, corpus):
    path = spec()
    killed = tamis("run", path, "--engine", "local", env={"TAMIS_FAILPOINTS": "pass.before_commit:kill"})
    assert killed.returncode != 0
    with (corpus / "part-1.jsonl").open("a") as file:
        file.write('{"text": "one more"}\n')
    result = tamis("run", path, "--engine", "local")
    assert result.returncode == 3
    assert "part-1.jsonl has changed" in result.stderr
    assert "--accept-changed-inputs" in result.stderr
    assert tamis("run", path, "--engine", "local", "--accept-changed-inputs").returncode == 0


def test_a_document_outside_the_allowed_roots_is_refused(tamis, spec, tmp_path):
    result = tamis("run", spec(), "--root", tmp_path / "elsewhere")
    assert result.returncode == 2


def test_a_broken_spec_is_one_sentence_and_exit_code_two(tamis, spec):
    result = tamis("run", spec(measure={"clean": {"kind": "normalise"}}))
    assert (result.returncode, result.stderr) == (
        2,
        "tamis: step 'clean' has the unknown kind 'normalise'; did you mean 'normalize'?\n",
    )
