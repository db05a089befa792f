"""The whole pass, from compressed files to committed verdicts, against datatrove 0.10's own pipeline of the same filters.

Ours: .jsonl.gz -> document shards -> text_stats, repetition, c4 (with and without end marks) -> five rule files, with the
local engine on two workers, on at least 300 MB; theirs on TAMIS_BENCH_PEER_MB (100) of it, in two processes. Wall-clock
seconds for each core, the start of Python and of the engines apart. Equal decisions are shown by bench_parity.py.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from corpora import corpus, work
from peers import peer_python

from pipelines.api import run
from pipelines.run import Options

WORKERS = 2
MEASURE = {"stats": {"kind": "text_stats"}, "repeats": {"kind": "repetition"}, "c4": {"kind": "c4"}}
PROFILES = (
    "gopher-quality@datatrove-0.10",
    "gopher-repetition@datatrove-0.10",
    "c4@datatrove-0.10",
    "fineweb@datatrove-0.10",
)
LEAST_RATIO = 80
LEAST_RATE = 20


class Clock:
    """When each step was first and last heard of."""

    def __init__(self) -> None:
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}

    def step(self, name: str, done: int, total: int, nbytes: int = 0) -> None:
        """Note the moment."""
        assert done <= total
        assert nbytes >= 0
        now = time.perf_counter()
        self.first.setdefault(name, now)
        self.last[name] = now

    def say(self, sentence: str) -> None:
        """Print it."""
        print(sentence, flush=True)


def ours(folder: Path, store: Path) -> tuple[float, float]:
    """Seconds from the first file read to the last verdict, and of these the seconds of measuring and judging."""
    clock = Clock()
    spec = {
        "name": "pass",
        "source": {"kind": "jsonl", "path": str(folder / "*.jsonl.gz")},
        "measure": MEASURE,
        "keep": [{"rules": name} for name in PROFILES],
    }
    run(spec, store=str(store), options=Options("local", WORKERS), watch=clock)
    measuring = next(name for name in clock.first if "stats" in name)
    whole = clock.last["verdict"] - clock.first["ingest"]
    return whole, clock.last["verdict"] - clock.first[measuring]


def theirs(folder: Path) -> float:
    """Seconds of datatrove's pipeline."""
    script = str(Path(__file__).with_name("peer_pipeline.py"))
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        command = [str(peer_python("datatrove")), script, str(folder), temporary, str(WORKERS)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(json.loads(done.stdout.splitlines()[-1])["seconds"])


def main() -> None:
    """Print the figures."""
    big, size = corpus(int(os.environ.get("TAMIS_BENCH_MB", "300")), 16)
    small, peer_size = corpus(int(os.environ.get("TAMIS_BENCH_PEER_MB", "100")), 4)
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        ours(corpus(8, 2)[0], Path(temporary) / "warm")
        whole, measuring = ours(big, Path(temporary) / "store")
    rate, measured = (size / 1e6 / seconds / WORKERS for seconds in (whole, measuring))
    print(f"{size / 1e6:.0f} MB: {whole:.1f} s whole, {measuring:.1f} s from document shards to verdicts", flush=True)
    figure = {"what": "measuring and judging, from shards", "ours": round(measured, 1), "unit": "MB/s/core"}
    print(json.dumps(figure | {"bar": ">= 20", "holds": measured >= LEAST_RATE}), flush=True)
    figure = {"what": "whole pass from .jsonl.gz", "ours": round(rate, 1), "unit": "MB/s/core"}
    if "--alone" not in sys.argv:
        peer = peer_size / 1e6 / theirs(small) / WORKERS
        figure |= {"theirs": round(peer, 3), "peer": "datatrove 0.10.1", "bar": "ratio >= 80"}
        figure["holds"] = rate >= LEAST_RATIO * peer
    print(json.dumps(figure), flush=True)


if __name__ == "__main__":
    main()
