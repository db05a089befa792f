"""How fast many tiny files are ingested, against the same bytes in one file, as `tamis run` takes them in.

    python tests/benchmarks/bench_ingest.py [FILES]     # a million by default, of 1.4 kB on average

Both are measured from the ledger: the wall-clock seconds of the whole command less its start on one document.
"""

import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from corpora import work

TEXT = "The mill grinds slowly, das Mühlrad dreht sich, 水車が回る。 "
FOLDERS = 1000
REPEATS = 4
LEAST_SHARE = 0.5
TAMIS = Path(sys.executable).parent / "tamis"


def main(count: int) -> None:
    """Write the files, ingest both ways and print the figure."""
    folder = Path(tempfile.mkdtemp(prefix="tiny-", dir=work()))
    try:
        size = write(folder, count)
        start = seconds(folder, "start.jsonl")
        one = size / 1e6 / (seconds(folder, "one.jsonl") - start)
        many = size / 1e6 / (seconds(folder, "many/**/*.jsonl") - start)
    finally:
        shutil.rmtree(folder)
    print(f"{count:,} files, {size / 1e6:.0f} MB: {many:.1f} MB/s, in one file {one:.1f} MB/s")
    figure = {"what": f"{count:,} tiny files against one file", "ours": round(many / one, 3), "unit": "ratio"}
    print(json.dumps(figure | {"bar": ">= 0.50", "holds": many / one >= LEAST_SHARE}))


def write(folder: Path, count: int) -> int:
    """The same lines once in one file and once in a file each; gives the bytes of text."""
    size = 0
    with (folder / "one.jsonl").open("wb") as whole:
        for i in range(count):
            text = TEXT * ((1 + i % 9) * REPEATS)
            size += len(text.encode())
            line = json.dumps({"id": str(i), "text": text}, ensure_ascii=False).encode() + b"\n"
            place = folder / f"many/{i % FOLDERS:03d}/{i // FOLDERS:06d}.jsonl"
            if i < FOLDERS:
                place.parent.mkdir(parents=True)
            place.write_bytes(line)
            whole.write(line)
            if i == 0:
                (folder / "start.jsonl").write_bytes(line)
    return size


def seconds(folder: Path, glob: str) -> float:
    """Wall-clock seconds of a run that only converts."""
    spec = folder / "spec.yaml"
    name = glob.split(".", maxsplit=1)[0].split("/", maxsplit=1)[0]
    spec.write_text(
        yaml.safe_dump({"name": name, "source": {"kind": "jsonl", "path": glob}, "measure": {}, "keep": []})
    )
    began = time.perf_counter()
    command = [str(TAMIS), "run", str(spec), "--store", str(folder / f"store-{name}"), "--engine", "local", "--json"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
