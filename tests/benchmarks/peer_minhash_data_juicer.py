"""Data-Juicer's `document_minhash_deduplicator`, timed: run by the peer's own Python.

    PEER_PYTHON peer_minhash_data_juicer.py FOLDER WORK WORKERS

14 bands of 8 five-word hashes. Prints the wall-clock seconds of the operator alone, as Data-Juicer itself reports
them (in memory: neither reading nor writing files), the seconds with reading and export, and the ids of the documents
that it drops, as JSON on the last line.
"""

import gzip
import json
import re
import shutil
import sys
import time
from pathlib import Path

from data_juicer.config import init_configs
from data_juicer.core import DefaultExecutor
from loguru import logger

OPERATOR = {
    "tokenization": "space",
    "window_size": 5,
    "num_permutations": 112,
    "num_bands": 14,
    "num_rows_per_band": 8,
    "jaccard_threshold": 0.75,
}


def main() -> None:
    folder, work, workers = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    ids = plain(folder, work / "in.jsonl")
    settings = {
        "project_name": "bench",
        "dataset_path": str(work / "in.jsonl"),
        "export_path": str(work / "out" / "out.jsonl"),
        "work_dir": str(work / "out"),
        "np": workers,
        "text_keys": "text",
        "use_cache": False,
        "open_tracer": False,
        "process": [{"document_minhash_deduplicator": OPERATOR}],
    }
    (work / "config.yaml").write_text(json.dumps(settings))  # JSON is YAML
    executor = DefaultExecutor(init_configs(["--config", str(work / "config.yaml")]))
    said = []
    logger.add(lambda message: said.append(message.record["message"]), level="INFO")
    began = time.perf_counter()
    executor.run()
    whole = time.perf_counter() - began
    operator = next(float(m[1]) for s in said if (m := re.match(r"All OPs are done in ([\d.]+)s", s)))
    with (work / "out" / "out.jsonl").open(encoding="utf-8") as lines:
        kept = {json.loads(line)["id"] for line in lines}
    dropped = [i for i in ids if i not in kept]
    assert sys.__stdout__ is not None
    sys.stdout = sys.__stdout__  # Data-Juicer sends what is printed to its log
    print(json.dumps({"seconds": operator, "steps": {"with files": round(whole, 3)}, "dropped": dropped}))


def plain(folder, path):
    """Uncompress the corpus into one file; gives the ids."""
    ids = []
    with path.open("wb") as out:
        for file in sorted(folder.glob("*.jsonl.gz")):
            with gzip.open(file, "rb") as lines:
                for line in lines:
                    out.write(line)
                    ids.append(json.loads(line)["id"])
    return ids


if __name__ == "__main__":
    main()
