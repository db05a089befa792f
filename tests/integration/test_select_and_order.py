"""`select` and `order`: what the rules keep is chosen from and put in order, and exports are in that order."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.api import documents, explain, export, plan, run, view, what_if
from pipelines.run import Options
from stages.errors import SpecError

AMOUNT = 12_000
SELECT = {
    "kind": "budget",
    "by": "leaving.bytes",
    "count": "leaving.bytes",
    "amount": AMOUNT,
    "temperature": 40.0,
    "seed": 3,
}
ORDER = {"kind": "curriculum", "by": "leaving.bytes", "phases": 3, "mix": 0.25, "seed": 3}


def spec(corpus: Path, **changes: Any) -> dict[str, Any]:
    return {
        "name": "chosen",
        "source": {"kind": "jsonl", "path": str(corpus / "*.jsonl"), "shard_bytes": 4_000},
        "measure": {"clean": {"kind": "normalize"}, "copies": {"kind": "exact_duplicates"}},
        "keep": [
            {"column": "leaving.bytes", "ge": 60, "on_null": "drop", "reason": "short"},
            {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
        ],
        "select": SELECT,
        "order": ORDER,
        "write": {"kind": "parquet", "shard_bytes": 1_500},
        **changes,
    }


def exported(done: dict[str, Any]) -> pa.Table:
    return pa.concat_tables(pq.read_table(f) for f in sorted(Path(done["export"]).glob("*.parquet")))


def rows(name: str, store: Path, *columns: str) -> list[dict[str, Any]]:
    return pa.Table.from_batches(documents(name, list(columns), store=store)).to_pylist()


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, Path]:
    """A run that selects and orders; its outcome, its corpus and its store."""
    folder = tmp_path_factory.mktemp("chosen")
    corpus = folder / "corpus"
    corpus.mkdir()
    words = ["flour", "bran", "篩は細かい粉を通す", "منخل", "мука", "🌾"]
    for f in range(3):
        lines = [
            {"id": f"{f}:{i}", "text": f"{words[(f + i) % 6]} " * (3 + 7 * i % 40) + ("" if i % 9 == 0 else f"{f}-{i}")}
            for i in range(60)
        ]
        (corpus / f"part-{f}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return run(spec(corpus), store=folder / "store", options=Options("local", 2)), corpus, folder / "store"


def test_an_export_holds_what_is_selected_in_the_order_of_its_positions(done):
    outcome, _, store = done
    columns = ("verdict.keep", "order.position", "order.phase", "select.selected")
    kept = [r for r in rows(outcome["run"], store, *columns) if r["verdict.keep"]]
    found = exported(outcome)

    assert sorted(r["order.position"] for r in kept) == list(range(len(kept)))
    assert found["doc_id"].to_pylist() == [r["doc_id"] for r in sorted(kept, key=lambda r: r["order.position"])]
    assert found["phase"].to_pylist() == [r["order.phase"] for r in sorted(kept, key=lambda r: r["order.position"])]
    assert all(r["select.selected"] for r in kept)


def test_files_are_cut_by_the_bytes_before_each_document(done):
    outcome, _, _ = done
    before, wanted = 0, {}
    for record in exported(outcome).to_pylist():
        wanted.setdefault(before // 1_500, []).append(record["doc_id"])
        before += len(record["text"].encode())
    files = [pq.read_table(f)["doc_id"].to_pylist() for f in sorted(Path(outcome["export"]).glob("*.parquet"))]

    assert files == list(wanted.values())
    assert len(files) > 2


def test_what_passes_every_rule_and_is_not_selected_is_rejected_for_that_alone(done):
    outcome, _, store = done
    found = rows(outcome["run"], store, "verdict.keep", "verdict.reasons", "select.selected", "leaving.bytes")
    chosen_from = [r for r in found if set(r["verdict.reasons"]) <= {"not-selected"}]

    assert all(r["select.selected"] is None for r in found if r not in chosen_from)
    assert all(r["verdict.keep"] == r["select.selected"] for r in chosen_from)
    assert all(r["verdict.reasons"] == ([] if r["verdict.keep"] else ["not-selected"]) for r in chosen_from)
    assert 0 < sum(r["leaving.bytes"] for r in found if r["verdict.keep"]) <= AMOUNT
    ledger = json.loads((store / "runs" / outcome["run"] / "ledger.json").read_text())
    assert ledger["reasons"]["not-selected"] == sum(not r["verdict.keep"] for r in chosen_from) > 0
    total = ledger["total"]
    assert total["documents_in"] == total["exported"] + total["rejected"] + total["quarantined"] == 180


def test_bytes_do_not_depend_on_shards_or_workers(done, tmp_path):
    outcome, corpus, _ = done
    other = spec(corpus, source={"kind": "jsonl", "path": str(corpus / "*.jsonl"), "shard_bytes": 100_000})
    again = run(other, store=tmp_path / "store", options=Options("local", 1))

    def content(of: dict[str, Any]) -> dict[str, bytes]:
        return {f.name: f.read_bytes() for f in sorted(Path(of["export"]).glob("*.parquet"))}

    assert content(again) == content(outcome)


def test_another_format_has_the_same_documents_in_the_same_order(done, tmp_path):
    outcome, _, store = done
    export(outcome["run"], format="jsonl", out=tmp_path / "out", store=store, options=Options("local", 1))
    import zstandard  # noqa: PLC0415 - for this test alone

    lines: list[str] = []
    for file in sorted((tmp_path / "out").glob("*.zst")):
        with zstandard.open(file, "rt", encoding="utf-8") as text:
            lines += text.readlines()

    assert [json.loads(line)["doc_id"] for line in lines] == exported(outcome)["doc_id"].to_pylist()


def test_explain_tells_the_position_in_the_order(done):
    outcome, _, store = done
    tenth = exported(outcome)["doc_id"][10].as_py()
    found = explain(outcome["run"], tenth, store=store)

    assert found.position["rank"] == 10
    file = pq.read_table(Path(outcome["export"]) / found.position["file"])
    assert file["doc_id"][found.position["row"]].as_py() == tenth
    assert {"select.priority", "order.phase"} <= found.values.keys()


def test_what_if_counts_what_the_selection_chooses_from(done):
    outcome, _, store = done
    found = rows(outcome["run"], store, "verdict.reasons", "leaving.bytes")
    chosen_from = [r for r in found if set(r["verdict.reasons"]) <= {"not-selected"}]

    answer = what_if(outcome["run"], ["leaving.bytes>=100"], store=store)

    assert answer["before_selection"]
    assert answer["before"]["documents"] == len(chosen_from)
    assert answer["after"]["documents"] == sum(r["leaving.bytes"] >= 100 for r in chosen_from)
    assert answer["gained"] == 0


def test_another_selection_measures_and_chooses_within_clusters_nothing_anew(done):
    outcome, corpus, store = done
    changed = spec(corpus, select={**SELECT, "seed": 4})
    again = run(changed, store=store, options=Options("local", 1))
    steps = json.loads((store / "runs" / again["run"] / "ledger.json").read_text())["steps"]

    assert {n for n, line in steps.items() if line["computed_shards"]} == {"select", "verdict", "order"}
    assert exported(again)["doc_id"].to_pylist() != exported(outcome)["doc_id"].to_pylist()
    lines = {line["step"]: line for line in plan(spec(corpus), store=store)["steps"]}
    assert lines["select"]["why"] == ["seed: 4 -> 3"]
    assert lines["order"]["misses"] == 1


def test_a_finished_run_is_opened_with_its_selection_and_order(done):
    outcome, _, store = done
    found = view(outcome["run"], store=store)

    assert [s.name for s in found.plan.choosers] == ["select", "order"]
    assert found.policy.reasons[-1] == "not-selected"


def test_documents_alone_can_be_selected_or_ordered(done, tmp_path):
    _, corpus, _ = done
    only_order = run(spec(corpus, select=None, keep=[]), store=tmp_path / "store", options=Options("local", 1))
    only_select = run(spec(corpus, order=None, keep=[]), store=tmp_path / "store", options=Options("local", 1))

    assert exported(only_order).num_rows == 180
    found = exported(only_select)
    assert found["path"].to_pylist() == sorted(found["path"].to_pylist())
    assert "phase" not in found.column_names


def test_a_selection_of_nothing_is_a_valid_empty_export(done, tmp_path):
    _, corpus, _ = done
    nothing = run(spec(corpus, select={**SELECT, "amount": 0}), store=tmp_path / "store", options=Options("local", 1))

    assert exported(nothing).num_rows == 0
    assert nothing["total"]["rejected"] == 180


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"select": {"kind": "curriculum", "by": "leaving.bytes", "seed": 1}}, "writes no column 'selected'"),
        ({"order": {"kind": "normalize"}}, "writes no column 'position'; known: curriculum"),
        (
            {"select": {**SELECT, "by": "clean.txt"}},
            "`select` reads 'clean.txt', which no step writes; did you mean 'clean.text'",
        ),
        ({"select": "budget"}, "not a mapping; write it as {kind: ...}"),
    ],
)
def test_a_wrong_section_is_told_before_anything_runs(done, tmp_path, changes, message):
    _, corpus, _ = done
    with pytest.raises(SpecError, match=message.replace("{", r"\{").replace("(", r"\(")):
        run(spec(corpus, **changes), store=tmp_path / "store")
