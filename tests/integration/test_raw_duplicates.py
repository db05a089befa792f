"""What the spec for near duplicates says of a real corpus whose duplicates and translations are known."""

import itertools
from collections import defaultdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipelines import spec as specs
from pipelines.api import run, view
from pipelines.run import Options

pytestmark = [pytest.mark.shared, pytest.mark.long]
ROOT = Path(__file__).parents[2]
RAW = ROOT.parent / "shared/data/raw"


@pytest.fixture(scope="module")
def guides(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """The pages of the installation guides for two machines in 19 languages, after a run over everything."""
    if not RAW.is_dir():
        pytest.skip("the shared data folder is not here")
    store = tmp_path_factory.mktemp("raw") / "store"
    changes = {"source.path": str(RAW / "*.jsonl.gz"), "measure.lang": {"kind": "language"}}
    done = run(specs.load(ROOT / "pipelines/specs/dedup.yaml", changes), store=store, options=Options("local", 2))
    seen = view(done["run"], store=store)
    columns = ["source", "url", "lang.code", "copies.cluster", "copies.jaccard"]
    rows = pa.concat_tables([seen.read(shard, columns) for shard in seen.shards]).to_pylist()
    return [row for row in rows if row["source"].startswith("installation-guide-")]


def test_a_page_of_the_guide_for_one_machine_is_a_near_duplicate_of_the_same_page_for_the_other(guides):
    pages = defaultdict(list)
    for row in guides:
        pages[row["url"].replace("amd64", "i386")].append(row["copies.cluster"])

    assert [len(clusters) for clusters in pages.values()] == [2] * 1384
    assert all(one == other for one, other in pages.values())


def test_translations_of_a_page_are_no_near_duplicates(guides):
    pages = defaultdict(list)
    for row in guides:
        pages[row["source"], row["url"].rpartition("/")[2]].append(row)
    pairs = [pair for rows in pages.values() for pair in itertools.combinations(rows, 2)]
    translations = [(a, b) for a, b in pairs if a["lang.code"] != b["lang.code"]]

    assert len(translations) > 10_000
    assert [(a["url"], b["url"]) for a, b in translations if a["copies.cluster"] == b["copies.cluster"]] == []
