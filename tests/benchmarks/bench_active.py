"""How many labels active learning saves on mail quality: entropy against random picks, the scorer and the split the same.

The scorer is the quality learner's logistic regression over static embeddings with its default settings, for both arms.
A third of the mails (at most 1,000) tests and is seen by neither arm. Ten seeds; intervals are a bootstrap over seeds, in
which arms are paired. Labels wrong with probability 0.1 teach both arms alike; tests have the right ones.
"""

import gzip
import json
import time
from pathlib import Path
from typing import Any

import pyarrow as pa

from learners.active import Settings
from learners.efficiency import Labelled, Trial, compared, curves
from learners.quality import Settings as Quality
from pipelines.labelling.scoring import fit_on, matrix
from stages.base import measure
from stages.document import doc_id
from stages.text.embedding import Embedding

ROOT = Path(__file__).parents[2]
NAME = "labels/mail-quality.jsonl.gz"
PLACES = (ROOT.parent / "shared" / "data" / NAME, ROOT / "pipelines" / "samples" / NAME)
SEEDS = range(10)
ARMS = ("random", "entropy", "margin", "mean_kl", "density", "k_center")
NOISE = 0.1


def main() -> None:
    """Print the comparison with clean labels and with noisy ones."""
    path = next(p for p in PLACES if p.is_file())
    known = mails(path)
    n = len(known.labels)
    test = min(1_000, n // 3)
    at = 400 if n > 1_000 else 200
    print(f"{n} mails of {path.name}, {test} of them test; {len(SEEDS)} seeds; random at {at} labels")
    for noise in (0.0, NOISE):
        began = time.process_time()
        trial = Trial(test, Settings(budget=at, rounds=20), noise)
        found = curves(known, trial, ARMS, SEEDS)
        for arm in ARMS[1:]:
            report(compared(found, arm, at, seed=1), noise, must=arm == "entropy" and not noise)
        for k, labels in enumerate(found.labels):
            row = "  ".join(f"{arm} {values[:, k].mean():.4f}" for arm, values in found.accuracy.items())
            print(f"{labels:4d} labels, noise {noise:g}: {row}")
        print(f"{time.process_time() - began:.1f} s of CPU time for {len(ARMS)} arms and {len(SEEDS)} seeds")


def mails(path: Path) -> Labelled:
    """The labelled mails with their vectors."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    stage = Embedding()
    batch = pa.RecordBatch.from_pydict({"text": pa.array([r["text"] for r in records], pa.string())})
    vectors = measure(stage, stage.open(), batch)["vector"]
    there = vectors.is_valid()
    ids = pa.array([doc_id("mail", r["id"], 0) for r in records]).filter(there)
    labels = pa.array([r["label"] for r in records]).filter(there).to_pylist()
    vectors = vectors.filter(there)
    return Labelled(ids, labels, matrix(vectors), fit_on(vectors, Quality(kind="embedding")))


def report(result: dict[str, Any], noise: float, *, must: bool) -> None:
    """Print the share of random's labels that an arm needs, with its interval, and the gains."""
    share, half, gain = result["share"], result["gain_at_half"], result["gain"]
    if share["value"] is None:
        print(
            f"{result['arm']}, label noise {noise:g}, never reaches random's accuracy at {result['at']} labels: {result}"
        )
        return
    what = f"{result['arm']}: labels for random's accuracy at {result['at']}, label noise {noise:g}"
    figure = {
        "what": what,
        "ours": result["labels_needed"]["value"],
        "theirs": result["at"],
        "peer": "random",
        "unit": "labels",
        "low": share["low"],
        "high": share["high"],
        "accuracy": result["control_accuracy"],
        "gain_at_half_the_labels": half,
        "gain_at_equal_labels": gain,
    }
    if must:
        figure |= {"bar": "at most half, at both ends of the 95 % interval", "holds": (share["high"] or 2) <= 0.5}
    print(json.dumps(figure))


if __name__ == "__main__":
    main()
