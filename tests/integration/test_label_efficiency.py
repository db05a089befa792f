"""Active learning needs fewer labels than random picks on mail quality: ten seeds, paired, with intervals.

Features and scorer are the quality learner's defaults for both arms; a third of the mails tests and is seen by neither.
"""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from learners.active import Settings
from learners.efficiency import Labelled, Trial, compared, curves
from learners.quality import Settings as Quality
from pipelines.labelling.scoring import fit_on, matrix
from stages.base import measure
from stages.document import doc_id
from stages.text.embedding import Embedding

ROOT = Path(__file__).parents[2]
BUNDLED = ROOT / "pipelines" / "samples" / "labels" / "mail-quality.jsonl.gz"
SHARED = ROOT.parent / "shared" / "data" / "labels" / "mail-quality.jsonl.gz"
SEEDS = range(10)


def known(path: Path) -> Labelled:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    stage = Embedding()
    batch = pa.RecordBatch.from_pydict({"text": pa.array([r["text"] for r in records], pa.string())})
    vectors = measure(stage, stage.open(), batch)["vector"]
    assert vectors.null_count == 0
    ids = pa.array([doc_id("mail", r["id"], 0) for r in records])
    return Labelled(ids, [r["label"] for r in records], matrix(vectors), fit_on(vectors, Quality(kind="embedding")))


def comparison(path: Path, test: int, at: int, noise: float) -> dict[str, Any]:
    found = curves(known(path), Trial(test, Settings(budget=at, rounds=20), noise), ["random", "entropy"], SEEDS)
    return compared(found, "entropy", at, seed=1)


def test_on_the_bundled_mails_entropy_needs_at_most_half_the_labels():
    result = comparison(BUNDLED, test=166, at=200, noise=0.0)

    assert result["share"]["value"] <= 0.5
    assert result["gain_at_half"]["low"] > 0, "at half the labels it is better, beyond the interval"


@pytest.mark.shared
@pytest.mark.long
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_entropy_reaches_random_s_accuracy_at_400_labels_with_at_most_half_of_them(noise):
    if not SHARED.is_file():
        pytest.skip("the shared data folder is not here")
    result = comparison(SHARED, test=1000, at=400, noise=noise)

    assert result["share"]["high"] <= 0.5, "the upper end of the 95 % interval over ten seeds"
    assert result["gain_at_half"]["low"] > 0
