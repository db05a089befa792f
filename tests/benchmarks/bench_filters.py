"""Speed of the four filters against datatrove 0.10 on the same text: kernels in this process, datatrove in its own.

    python tests/benchmarks/bench_filters.py [--data DIR] [--peer PEER_PYTHON] [--megabytes 300] [--peer-megabytes 20]

Rates are megabytes of UTF-8 text for each second of CPU time and core, start-up and compilation apart. Ours measures
text_stats, repetition and c4 (with and without end marks) and judges all five rule files; theirs runs Gopher quality,
Gopher repetition, C4 twice and FineWeb on the original text of each document, in two processes. Text beyond what the
data holds is the same text with a salt in every word, so that no cache helps.
"""

import argparse
import gzip
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
from corpora import raw
from peers import peer_python
from rich.console import Console
from rich.table import Table

from pipelines.rule_files import load
from stages.base import Kernel, RowStage, measure
from stages.kernels.warm import compile_all
from stages.rules import UseRules, bind
from stages.text.c4 import C4
from stages.text.repetition import Repetition
from stages.text.text_stats import TextStats
from stages.verdict import judge

PROFILES = (
    "gopher-quality@datatrove-0.10",
    "gopher-repetition@datatrove-0.10",
    "c4@datatrove-0.10",
    "c4@fineweb",
    "fineweb@datatrove-0.10",
)
STEPS: dict[str, RowStage] = {"text_stats": TextStats(), "repetition": Repetition(), "c4": C4()}
BATCH_BYTES = 8_000_000
MEGA = 1_000_000
WORKERS = 2
SALTS = "aeioustnr"


def batches(data: Path, wanted: int) -> Iterator[pa.RecordBatch]:
    """Batches of text up to `wanted` bytes; each round through the data after the first has its own salt."""
    sent, round_ = 0, 0
    while sent < wanted:
        held: list[str] = []
        size = 0
        for path in sorted(data.glob("*.jsonl.gz")):
            with gzip.open(path, "rt", encoding="utf-8") as lines:
                for line in lines:
                    text = json.loads(line)["text"]
                    if round_:
                        text = text.replace("e", "e" + SALTS[round_ % len(SALTS)] * (1 + round_ // len(SALTS)))
                    held.append(text)
                    size += len(text.encode())
                    if size >= min(BATCH_BYTES, wanted - sent):
                        yield pa.record_batch({"text": pa.array(held, pa.string())})
                        sent, held, size = sent + size, [], 0
                        if sent >= wanted:
                            return
        round_ += 1


def ours(data: Path, wanted: int) -> tuple[int, dict[str, float]]:
    """Bytes measured, and CPU seconds by step and for judging."""
    compile_all()
    kernels: dict[str, Kernel] = {name: stage.open() for name, stage in STEPS.items()}
    seconds = dict.fromkeys((*STEPS, "verdicts"), 0.0)
    total = 0
    for batch in batches(data, wanted):
        total += sum(len(t.encode()) for t in batch["text"].to_pylist())
        columns: dict[str, pa.Array] = {}
        for name, stage in STEPS.items():
            began = time.thread_time()
            answer = measure(stage, kernels[name], batch)
            seconds[name] += time.thread_time() - began
            columns |= {f"{name}.{c}": answer.column(i) for i, c in enumerate(answer.schema.names)}
        began = time.thread_time()
        table = pa.table(columns)
        fields = {field.name: field for field in table.schema}
        judge(bind([UseRules(rules=p) for p in PROFILES], fields, STEPS, "text", load).plain, table, {})
        seconds["verdicts"] += time.thread_time() - began
    return total, seconds


def theirs(peer: str, data: Path, wanted: int) -> tuple[int, float]:
    """Bytes filtered by datatrove and its CPU seconds, over two processes."""
    script = str(Path(__file__).with_name("peer_filters.py"))
    texts = [t for batch in batches(data, wanted) for t in batch["text"].to_pylist()]
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for worker in range(WORKERS):
            given = Path(folder, f"{worker}.jsonl")
            given.write_text("".join(json.dumps(t) + "\n" for t in texts[worker::WORKERS]), encoding="utf-8")
            running.append(subprocess.Popen([peer, script, str(given)], stdout=subprocess.PIPE, text=True))
        answers = [process.communicate()[0] for process in running]
        if any(process.returncode for process in running):
            sys.exit("the peer failed; see its output above")
    figures = [json.loads(answer.splitlines()[-1]) for answer in answers]
    return sum(f["bytes"] for f in figures), sum(f["cpu_seconds"] for f in figures)


def main() -> None:
    """Print the rates, the ratio and a line of JSON for `make bench`."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--data", type=Path, default=raw())
    arguments.add_argument("--peer", help="its Python; made when not given; `none` leaves it out")
    arguments.add_argument("--megabytes", type=int, default=300)
    arguments.add_argument("--peer-megabytes", type=int, default=20)
    given = arguments.parse_args()
    total, seconds = ours(given.data, given.megabytes * MEGA)
    table = Table(title=f"{total / MEGA:.0f} MB of text, one core")
    for column in ("what", "CPU seconds", "MB/s/core"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for name, spent in seconds.items():
        table.add_row(name, f"{spent:.2f}", f"{total / MEGA / spent:.1f}")
    spent = sum(seconds.values())
    rate = total / MEGA / spent
    table.add_row("tamis, together", f"{spent:.2f}", f"{rate:.1f}")
    figure = {
        "what": "filters, kernels",
        "ours": round(rate, 1),
        "unit": "MB/s/core",
        "bar": ">= 20",
        "holds": rate >= 20,
    }
    if given.peer != "none":
        peer_bytes, peer_seconds = theirs(
            given.peer or str(peer_python("datatrove")), given.data, given.peer_megabytes * MEGA
        )
        peer_rate = peer_bytes / MEGA / peer_seconds
        table.add_row(f"datatrove 0.10.1, {peer_bytes / MEGA:.0f} MB", f"{peer_seconds:.2f}", f"{peer_rate:.3f}")
        table.add_row("ratio", "", f"{rate / peer_rate:.0f}")
        figure |= {
            "theirs": round(peer_rate, 3),
            "peer": "datatrove 0.10.1",
            "bar": "ratio >= 80",
            "holds": rate >= 80 * peer_rate,
        }
    Console(width=100).print(table)
    sys.stdout.write(json.dumps(figure) + "\n")


if __name__ == "__main__":
    main()
