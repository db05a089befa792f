"""datatrove's four steps of near-duplicate removal, timed: run by the peer's own Python.

    PEER_PYTHON peer_minhash_datatrove.py FOLDER WORK WORKERS

14 bands of 8 five-word hashes, its defaults. Prints the wall-clock seconds of each step, imports apart, and the ids of
the documents that it drops, as JSON on the last line.
"""

import gzip
import json
import shutil
import sys
import time
from pathlib import Path

from datatrove.executor.local import LocalPipelineExecutor
from datatrove.pipeline.dedup import MinhashDedupSignature
from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster, MinhashDedupFilter
from datatrove.pipeline.readers import JsonlReader
from datatrove.pipeline.writers.jsonl import JsonlWriter


def main() -> None:
    folder, work, workers = sys.argv[1], sys.argv[2], int(sys.argv[3])
    shutil.rmtree(work, ignore_errors=True)
    config = MinhashConfig()
    files = len(list(Path(folder).glob("*.jsonl.gz")))
    seconds: dict[str, float] = {}

    def step(name, pipeline, tasks):
        began = time.perf_counter()
        LocalPipelineExecutor(
            pipeline=pipeline, workers=min(workers, tasks), tasks=tasks, logging_dir=f"{work}/logs/{name}"
        ).run()
        seconds[name] = round(time.perf_counter() - began, 3)

    def reader():
        return JsonlReader(folder, glob_pattern="*.jsonl.gz")

    signatures = MinhashDedupSignature(output_folder=f"{work}/signatures", config=config)
    step("signatures", [reader(), signatures], files)
    buckets = MinhashDedupBuckets(f"{work}/signatures", f"{work}/buckets", config=config)
    step("buckets", [buckets], config.num_buckets)
    step("cluster", [MinhashDedupCluster(f"{work}/buckets", f"{work}/remove", config=config)], 1)
    dropping = MinhashDedupFilter(f"{work}/remove", exclusion_writer=JsonlWriter(f"{work}/dropped"))
    step("filter", [reader(), dropping, JsonlWriter(f"{work}/kept")], files)
    print(json.dumps({"seconds": round(sum(seconds.values()), 3), "steps": seconds, "dropped": dropped(work)}))


def dropped(work):
    """The ids of what was dropped."""
    ids = []
    for file in sorted(Path(work).glob("dropped/*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            ids += [json.loads(line)["id"] for line in lines]
    return ids


if __name__ == "__main__":
    main()
