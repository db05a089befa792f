"""Megabytes of text per second of one core, for every row stage on the bundled sample."""

import gzip
import json
import pickle
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from stages.base import RowStage, measure
from stages.catalog import row_stages

RAW = Path(__file__).parents[2] / "pipelines" / "samples" / "raw"
ROUNDS = 3


def sample() -> pa.RecordBatch:
    """Text and address of every sound record of the sample."""
    records = []
    for path in sorted(RAW.glob("*.jsonl.gz")):
        lines = gzip.decompress(path.read_bytes()).decode().splitlines()
        sound = (line for line in lines if '"planted-' not in line[:20])
        records += [json.loads(line) for line in sound]
    columns = {name: pa.array([r[name] for r in records], pa.string()) for name in ("text", "url")}
    return pa.RecordBatch.from_pydict(columns)


def rate(stage: RowStage, batch: pa.RecordBatch) -> float:
    """The best of three rounds, in MB of text a second, kernels compiled and models loaded."""
    kernel = stage.open()
    measure(stage, kernel, batch.slice(0, 50))
    megabytes = pc.sum(pc.binary_length(batch["text"])).as_py() / 1e6
    seconds = []
    for _ in range(ROUNDS):
        batch = pickle.loads(pickle.dumps(batch))
        start = time.process_time()
        measure(stage, kernel, batch)
        seconds.append(time.process_time() - start)
    return float(megabytes / min(seconds))


def main() -> None:
    """Print a figure for every row stage that has default fields."""
    batch = sample()
    for kind, cls in row_stages().items():
        stage = cls()
        if set(stage.reads()) <= set(batch.schema.names):
            figure = {"what": kind, "ours": round(rate(stage, batch), 1), "unit": "MB/s/core"}
            print(json.dumps(figure))


if __name__ == "__main__":
    main()
