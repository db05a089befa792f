"""Runs that cut repeated text out of documents: which text each step reads, and what leaves."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipelines.api import explain, run, view
from pipelines.plan import plan
from pipelines.report import collect
from pipelines.run import Options
from pipelines.spec import from_data, load

LOCAL = Options("local", 2)
SPECS = Path(__file__).parents[2] / "pipelines/specs"
NOTICE = "This notice of twelve words is on every page of this site."
NAMES = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
LETTERS = [
    "Flour falls through the sieve at dawn.",
    "篩は細かい粉を通し、ふすまを残す。",
    "يمرر المنخل الدقيق الناعم ويحتفظ بالنخالة دائما.",
]


@pytest.fixture
def pages(write_jsonl: Any) -> Path:
    records = [
        {"id": str(i), "text": f"{LETTERS[i % 3]} {NAMES[i]}\n\n{NOTICE}\n\nPage {NAMES[i]} ends here & now."}
        for i in range(12)
    ]
    write_jsonl("pages/a.jsonl", records[:7])
    return write_jsonl("pages/b.jsonl", records[7:]).parent


def exported(done: dict[str, Any]) -> str:
    files = sorted(Path(done["export"]).glob("*.parquet"))
    return "\n---\n".join(pa.concat_tables([pq.read_table(f, columns=["text"]) for f in files])["text"].to_pylist())


@pytest.mark.parametrize("name", ["dedup-paragraphs", "dedup-substrings"])
def test_a_notice_on_every_page_is_exported_once(pages, tmp_path, name):
    changes = {"source.path": str(pages / "*.jsonl"), "keep": []}
    if name == "dedup-substrings":
        changes["measure.repeats.min_bytes"] = 40
    done = run(load(SPECS / f"{name}.yaml", changes), store=tmp_path / "store", options=LOCAL)

    text = exported(done)
    assert text.count(NOTICE) == 1
    assert all(f"{name} ends here & now." in text for name in (NAMES if name == "dedup-paragraphs" else ["three"]))


def test_steps_that_find_spans_read_what_the_removal_rewrites(pages):
    made = plan(load(SPECS / "dedup-paragraphs.yaml", {"source.path": str(pages / "*.jsonl")}))

    assert {s.name: s.reads[0] for s in made.steps if s.name in {"paragraphs.words", "unique", "leaving"}} == {
        "paragraphs.words": "clean.text",
        "unique": "clean.text",
        "leaving": "unique.text",
    }


def test_steps_beside_the_removal_read_what_leaves(pages):
    spec = {
        "name": "beside",
        "source": {"kind": "jsonl", "path": str(pages / "*.jsonl")},
        "measure": {
            "lines": {"kind": "paragraph_duplicates", "unit": "line"},
            "unique": {"kind": "span_removal", "of": "lines"},
            "again": {"kind": "paragraph_duplicates", "unit": "line"},
            "copies": {"kind": "exact_duplicates"},
        },
        "keep": [],
    }
    made = plan(from_data(spec, None))

    reads = {s.name: s.reads for s in made.steps}
    assert (reads["lines.words"], reads["again.words"], reads["copies.digest"]) == (
        ("text",),
        ("unique.text",),
        ("unique.text",),
    )


def test_a_page_tells_what_was_cut_out_of_it(pages, tmp_path):
    changes = {"source.path": str(pages / "*.jsonl")}
    done = run(load(SPECS / "dedup-paragraphs.yaml", changes), store=tmp_path / "store", options=LOCAL)
    seen = view(done["run"], store=tmp_path / "store")
    columns = ["id", "clean.text", "paragraphs.spans", "paragraphs.max_occurrences", "unique.removed_bytes"]
    rows = pa.concat_tables([seen.read(s, columns) for s in seen.shards]).to_pylist()

    cut = [row for row in rows if row["paragraphs.spans"]]
    assert len(cut) == 11
    for row in cut:
        spans = row["paragraphs.spans"]
        data = row["clean.text"].encode()
        assert [data[s["begin"] : s["end"]].decode() for s in spans] == [NOTICE + "\n\n"]
        assert (row["paragraphs.max_occurrences"], row["unique.removed_bytes"]) == (12, len(NOTICE) + 2)
    assert explain(done["run"], cut[0]["id"], store=tmp_path / "store") is not None


def test_a_run_that_is_opened_again_has_the_chain_of_rewriting_steps_that_it_ran(pages, tmp_path):
    measure = {
        "written": {"kind": "normalize"},
        "found": {"kind": "paragraph_duplicates"},
        "cut": {"kind": "span_removal", "of": "found"},
    }
    spec = {
        "name": "chain",
        "source": {"kind": "jsonl", "path": str(pages / "*.jsonl")},
        "measure": measure,
        "keep": [],
    }
    done = run(spec, store=tmp_path / "store", options=LOCAL)

    seen = view(done["run"], store=tmp_path / "store")

    stored = {name: seen.store.get_json(f"runs/{seen.run}/{name}.json") for name in ("plan", "report")}
    assert seen.text == "cut.text"
    assert seen.plan.json()["steps"] == stored["plan"]["steps"]
    assert collect(seen)["repeat"]["keys"] == stored["report"]["repeat"]["keys"]
    assert list(stored["report"]["repeat"]["spec"]["measure"]) == ["written", "found", "cut"]


def test_sizes_follow_where_a_file_that_is_added_changes_what_leaves_of_another(write_jsonl, tmp_path):
    """Which page keeps the notice is decided anew: a verdict of before has the sizes of before."""

    def texts(name: str, pages: int) -> Path:
        records = [{"text": f"Page {name}-{i}.\n\n{NOTICE}\n\nIt ends."} for i in range(pages)]
        return write_jsonl(f"pages/{name}.jsonl", records).parent

    changes = {"source.path": str(texts("b", 2) / "*.jsonl"), "source.shard_bytes": 1, "keep": []}
    spec = load(SPECS / "dedup-paragraphs.yaml", changes)
    kept = []
    for pages in (0, 12):
        texts("a", pages)
        done = run(spec, store=tmp_path / "store", options=LOCAL)
        found = view(done["run"], store=tmp_path / "store")
        tables = [found.read(s, ["doc_id", "verdict.text_bytes", found.text]) for s in found.shards]
        rows = [row for table in tables for row in table.to_pylist()]
        assert [row["verdict.text_bytes"] for row in rows] == [len(row[found.text].encode()) for row in rows]
        kept.append([row["doc_id"] for row in rows if NOTICE in row[found.text]])
    assert kept[0] != kept[1], "another page keeps the notice, or this test shows nothing"
