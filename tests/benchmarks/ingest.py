"""How fast many tiny files are ingested, against the same bytes in one file. Run: python tests/benchmarks/ingest.py [FILES]

Both are measured from the listing of the glob to the commit records, in this process, on one core. The tiny files
hold one JSON line each, of 340 bytes on average (where opening a file costs more than all the rest) and of 3 kB (the
mean of a real corpus). Wanted: no less than half the speed with a million files.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

from pipelines.ingest import IngestPack
from pipelines.inputs import freeze, packs
from pipelines.store import Store
from stages.sources.jsonl import Jsonl

TEXT = "The mill grinds slowly, das Mühlrad dreht sich, 水車が回る。 "
FOLDERS = 100


def main(count: int) -> None:
    """Write the files, ingest both ways and print a line for each."""
    for repeats in (1, 9):
        compare(count, repeats)


def compare(count: int, repeats: int) -> None:
    """One comparison, with documents of about 340 bytes times `repeats`."""
    folder = Path(tempfile.mkdtemp(prefix="tamis-bench-"))
    try:
        write(folder, count, repeats)
        rates = {}
        for name, glob in (("one file", "one/*.jsonl"), (f"{count:,} files", "many/**/*.jsonl")) * 2:
            rates[name] = measure(folder, glob, name)
        one, many = rates.values()
        sys.stdout.write(f"the speed with {count:,} files is {many / one:.2f} of the speed with one file\n")
    finally:
        shutil.rmtree(folder)


def write(folder: Path, count: int, repeats: int) -> None:
    """The same lines once in one file and once in a file each."""
    (folder / "one").mkdir()
    with (folder / "one/all.jsonl").open("wb") as whole:
        for i in range(count):
            line = json.dumps({"id": str(i), "text": TEXT * (1 + i % 9) * repeats}, ensure_ascii=False).encode() + b"\n"
            place = folder / f"many/{i % FOLDERS:03d}/{i // FOLDERS:06d}.jsonl"
            if i < FOLDERS:
                place.parent.mkdir(parents=True)
            place.write_bytes(line)
            whole.write(line)


def measure(folder: Path, glob: str, name: str) -> float:
    """Megabytes of text per second, and a printed line."""
    source = Jsonl(path=f"{folder}/{glob}")
    store = Store.open(tempfile.mkdtemp(dir=folder))
    began = time.perf_counter()
    table = freeze("bench", source)
    listed = time.perf_counter()
    found = packs(table, source.shard_bytes)
    packed = time.perf_counter()
    size = documents = 0
    for pack in found:
        record = IngestPack(store, "bench", source, "steps/bench-0", pack.name, pack.files(table))()
        size += record["bytes_in"]
        documents += record["documents_in"]
    done = time.perf_counter()
    rate = size / 1e6 / (done - began)
    sys.stdout.write(
        f"{name:>16}: {documents:,} documents, {size / 1e6:.1f} MB of text, {rate:.1f} MB/s, "
        f"{1e6 * (done - began) / documents:.1f} us a document "
        f"(listing {listed - began:.2f} s, packing {packed - listed:.2f} s, ingest {done - packed:.2f} s)\n"
    )
    return rate


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
