"""Near duplicates through whole runs: what is computed once, what decides, and what cannot change the answer."""

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
import yaml

from pipelines.api import run, view
from pipelines.plan import plan
from pipelines.run import Options
from pipelines.spec import from_data
from stages.errors import SpecError

LOCAL = Options("local", 2)
WORDS = [
    "the",
    "sieve",
    "lets",
    "fine",
    "flour",
    "through",
    "and",
    "keeps",
    "coarse",
    "bran",
    "篩",
    "粉",
    "المنخل",
    "мука",
    "é",
    "🌾",
]


@pytest.fixture
def near(write_jsonl: Any) -> Path:
    """Forty documents in two files: thirty of their own, and ten that are edited copies of the first ten."""
    draw = random.Random(5)
    own = [[f"{draw.choice(WORDS)}{draw.randrange(50)}" for _ in range(80)] for _ in range(30)]
    copies = [[*words[:40], "edited", *words[41:], "end"] for words in own[:10]]
    texts = [" ".join(words) for words in [*own, *copies]]
    records = [{"id": str(i), "text": text} for i, text in enumerate(texts)]
    write_jsonl("near/a.jsonl", records[:25])
    return write_jsonl("near/b.jsonl", records[25:]).parent


def spec_of(folder: Path, *, sketch: str = "sketch", by: str = "first", **fields: Any) -> dict[str, Any]:
    return {
        "name": "near",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl"), **fields},
        "measure": {
            sketch: {"kind": "minhash"},
            "copies": {"kind": "near_duplicates", "of": sketch, "verify": True, "threshold": 0.6},
        },
        "keep": [{"one_of": "copies.cluster", "by": by, "reason": "near-duplicate"}],
    }


def rows_of(done: dict[str, Any], store: Path) -> list[dict[str, Any]]:
    seen = view(done["run"], store=store)
    columns = ["id", "verdict.keep", *(f"copies.{c}" for c in ("cluster", "cluster_size", "nearest", "jaccard"))]
    rows: list[dict[str, Any]] = pa.concat_tables([seen.read(s, columns) for s in seen.shards]).to_pylist()
    return sorted(rows, key=lambda row: int(row["id"]))


def test_each_edited_copy_is_found_with_its_twin_and_the_first_stays(near, tmp_path):
    rows = rows_of(run(spec_of(near), store=tmp_path / "store", options=LOCAL), tmp_path / "store")

    by_id = {row["doc_id"]: row["id"] for row in rows}
    twins = {row["id"]: by_id.get(row["copies.nearest"]) for row in rows}
    assert twins == {str(i): str(i + 30) if i < 10 else str(i - 30) if i >= 30 else None for i in range(40)}
    assert [row["id"] for row in rows if not row["verdict.keep"]] == [str(i) for i in range(30, 40)]
    assert all(row["copies.cluster_size"] == (2 if twins[row["id"]] else 1) for row in rows)


def test_neither_shards_nor_workers_change_the_answer(near, tmp_path):
    whole = run(spec_of(near), store=tmp_path / "whole", options=Options("local", 1))
    cut = run(spec_of(near, shard_bytes=1000), store=tmp_path / "cut", options=LOCAL)

    assert rows_of(cut, tmp_path / "cut") == rows_of(whole, tmp_path / "whole")
    assert len(view(cut["run"], store=tmp_path / "cut").shards) > 10


def test_another_choice_of_who_stays_computes_no_sketch_and_no_cluster_again(near, tmp_path):
    store = tmp_path / "store"
    run(spec_of(near), store=store, options=LOCAL)
    done = run(spec_of(near, by="longest"), store=store, options=LOCAL)

    steps = view(done["run"], store=store).ledger["steps"]
    assert {name: steps[name]["computed_shards"] for name in ("sketch", "copies")} == {"sketch": 0, "copies": 0}
    assert [row["id"] for row in rows_of(done, store) if not row["verdict.keep"]] == [str(i) for i in range(10)]


def test_what_was_counted_is_in_the_ledger_whether_computed_or_found(near, tmp_path):
    store = tmp_path / "store"
    first = run(spec_of(near), store=store, options=LOCAL)
    again = run(spec_of(near, by="longest"), store=store, options=LOCAL)

    counts = [view(done["run"], store=store).ledger["steps"]["copies"]["counts"] for done in (first, again)]
    assert counts[0] == counts[1]
    assert counts[0]["linked_pairs"] == 10


@pytest.mark.parametrize(
    "damage", ["cut", pytest.param("gone", marks=pytest.mark.long), pytest.param("record", marks=pytest.mark.long)]
)
def test_what_a_loss_of_power_left_of_a_round_is_computed_again(near, tamis, tmp_path, damage):
    spec = tmp_path / "spec.yaml"
    spec.write_text(yaml.safe_dump(spec_of(near, shard_bytes=6000)))
    options = ("run", spec, "--engine", "local", "--workers", "2", "--json", "--store")
    whole = json.loads(tamis(*options, "whole").stdout)
    once = tmp_path / "once"
    once.mkdir()
    env = {"TAMIS_FAILPOINTS": "seal.before_put:kill@3", "TAMIS_FAILPOINTS_ONCE": str(once)}
    assert tamis(*options, "hurt", env=env).returncode != 0
    rounds = sorted((tmp_path / "hurt/steps").glob("copies-*/*.arrows"))
    assert len(rounds) > 15
    for path in rounds[::3]:
        if damage == "record":
            address = path.name.rsplit(".", 2)[0]
            (path.parent / "commits" / f"{address}.json").write_bytes(b"")
        elif damage == "cut":
            path.write_bytes(path.read_bytes()[:-1])
        else:
            path.unlink()
    for settled in (tmp_path / "hurt/steps").glob("copies-*/*.parquet"):
        settled.unlink()
    for record in (tmp_path / "hurt/steps").glob("copies-*/commits/*.json"):
        if len(record.name.split(".")) == 3:  # {shard}.{inputs}.json: the last round's
            record.unlink()

    done = json.loads(tamis(*options, "hurt").stdout)

    assert rows_of(done, tmp_path / "hurt") == rows_of(whole, tmp_path / "whole")


def test_the_sketch_may_have_any_name_without_changing_a_key(near):
    one, other = (plan(from_data(spec_of(near, sketch=name), None)) for name in ("sketch", "signatures"))

    assert one.step("copies").key == other.step("copies").key


def test_banding_the_sketch_otherwise_recomputes_clusters_only(near):
    def keys(bands: int, rows: int) -> tuple[str, str]:
        spec = spec_of(near)
        spec["measure"]["sketch"] |= {"bands": bands, "rows": rows}
        del spec["measure"]["copies"]["threshold"]
        made = plan(from_data(spec, None))
        return made.step("sketch").key, made.step("copies").key

    assert keys(14, 8)[0] == keys(16, 7)[0]
    assert keys(14, 8)[1] != keys(16, 7)[1]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"of": "sketsh"},
            "step 'copies' names the step 'sketsh' in 'of', which is not in the spec; did you mean 'sketch'?",
        ),
        ({"of": "clean"}, "near_duplicates is of 'clean', a step of kind 'normalize'; name a minhash step"),
        (
            {"of": "sketch", "bands": 20, "rows": 10},
            "near_duplicates wants 20 bands of 10 rows, but the sketch 'sketch' has 112 values; raise its bands or rows",
        ),
    ],
)
def test_a_step_that_cannot_be_used_is_refused_before_any_work(near, fields, message):
    spec = spec_of(near)
    spec["measure"] = {
        "clean": {"kind": "normalize"},
        "sketch": {"kind": "minhash"},
        "copies": {"kind": "near_duplicates", **fields},
    }

    with pytest.raises(SpecError) as error:
        plan(from_data(spec, None))
    assert error.value.message == message
