"""`tamis export` and `tamis what-if` as people call them."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
import zstandard


@pytest.fixture
def finished(tamis: Callable[..., Any], tmp_path: Path, corpus: Path) -> Path:
    """The export of a finished run called `small`."""
    spec = {
        "name": "small",
        "source": {"kind": "jsonl", "path": f"{corpus.name}/*.jsonl"},
        "measure": {"clean": {"kind": "normalize"}, "copies": {"kind": "exact_duplicates"}},
        "keep": [
            {"column": "leaving.bytes", "le": "p80", "per": "lang", "on_null": "drop", "reason": "long"},
            {"one_of": "copies.cluster", "by": "longest", "reason": "copy"},
        ],
    }
    (tmp_path / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    done = tamis("run", "spec.yaml", "--engine", "local", "--json")
    assert done.returncode == 0, done.stderr
    return Path(json.loads(done.stdout)["export"])


def test_another_format_in_a_folder_holds_the_same_documents_and_a_folder_of_the_store_is_refused(
    finished: Path, tamis: Callable[..., Any], tmp_path: Path
) -> None:
    done = tamis("export", "small", "--format", "jsonl", "--out", "out", "--engine", "local", "--json")
    refused = tamis("export", "small", "--format", "jsonl", "--out", "store/exports/mine", "--engine", "local")

    assert done.returncode == 0, done.stderr
    assert (refused.returncode, (tmp_path / "store/exports/mine").exists()) == (2, False)
    (lines,) = (f.read_bytes() for f in (tmp_path / "out").glob("part-*"))
    (table,) = (f.read_bytes() for f in finished.glob("part-*"))
    with zstandard.ZstdDecompressor().stream_reader(lines, read_across_frames=True) as reader:
        texts = [json.loads(line)["text"] for line in reader.read().decode().split("\n")[:-1]]
    assert texts == pq.read_table(io.BytesIO(table))["text"].to_pylist() != []


def test_what_if_with_the_rules_of_the_run_changes_nothing(finished: Path, tamis: Callable[..., Any]) -> None:
    done = tamis("what-if", "small", "--rule", "leaving.bytes<=p80", "--json")

    found = json.loads(done.stdout)
    assert found["before"] == found["after"]
    assert found["before"]["documents"] == json.loads((finished / "manifest.json").read_bytes())["total"]["documents"]
    assert (found["gained"], found["lost"]) == (0, 0)
