"""A rensa loop that signs documents and inserts them into its index, timed on one core: run by the peer's own Python.

    PEER_PYTHON peer_minhash_rensa.py FOLDER WORK WORKERS

14 bands of 8 five-word hashes. Prints the wall-clock seconds of the loop alone (reading apart, and no clustering) and
the ids of the documents that share a band with an earlier one, as JSON on the last line.
"""

import gzip
import json
import sys
import time
from pathlib import Path

from rensa import RMinHash, RMinHashLSH

PERMUTATIONS, BANDS, WORDS = 112, 14, 5


def main() -> None:
    ids, texts = [], []
    for file in sorted(Path(sys.argv[1]).glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                record = json.loads(line)
                ids.append(record["id"])
                texts.append(record["text"])
    began = time.perf_counter()
    index = RMinHashLSH(threshold=0.75, num_perm=PERMUTATIONS, num_bands=BANDS)
    sketches = []
    for i, text in enumerate(texts):
        words = text.lower().split()
        grams = [" ".join(words[j : j + WORDS]) for j in range(max(1, len(words) - WORDS + 1))]
        sketch = RMinHash(num_perm=PERMUTATIONS, seed=42)
        sketch.update(grams)
        index.insert(i, sketch)
        sketches.append(sketch)
    seconds = time.perf_counter() - began
    dropped = [ids[i] for i, sketch in enumerate(sketches) if min(index.query(sketch)) < i]
    print(json.dumps({"seconds": round(seconds, 3), "steps": {}, "dropped": dropped}))


if __name__ == "__main__":
    main()
