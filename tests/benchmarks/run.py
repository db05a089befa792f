"""`make bench`: runs the benchmarks beside this file and prints their figures as one table.

A benchmark is a script `bench_*.py` that prints, among other things, figures as lines of JSON:

    {"what": "filters", "ours": 41.2, "theirs": 0.21, "peer": "datatrove 0.10.1", "unit": "MB/s/core", "bar": "ratio >= 80", "holds": true}

`theirs`, `peer`, `bar` and `holds` may be left out. Names as arguments run some of them only:
`make bench BENCH="stages filters"`. Everything that they download or write goes to `bench-work/`.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
WORK = ROOT / "bench-work"


def main(names: list[str]) -> int:
    """Run the chosen benchmarks, all when none is named; 0 when every bar holds and none failed."""
    known = {p.stem.removeprefix("bench_"): p for p in sorted(HERE.glob("bench_*.py"))}
    unknown = sorted(set(names) - set(known))
    if unknown:
        Console(stderr=True).print(f"there is no benchmark {', '.join(unknown)}; known: {', '.join(known)}")
        return 2
    figures: list[dict[str, Any]] = []
    failed = []
    for name in names or known:
        code = run(known[name], figures)
        if code:
            failed.append(f"{name} ended with exit status {code}")
    Console(width=None if sys.stdout.isatty() else 200).print(table(figures))
    for line in failed:
        Console(stderr=True).print(line)
    return 1 if failed or any(f.get("holds") is False for f in figures) else 0


def run(script: Path, figures: list[dict[str, Any]]) -> int:
    """Run one script, passing on what it prints and collecting its figures; its exit status."""
    WORK.mkdir(exist_ok=True)
    env = os.environ | {"TAMIS_BENCH_WORK": str(WORK), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen([sys.executable, script], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None, "stdout is a pipe"
        for line in process.stdout:
            sys.stdout.write(line)
            figures.extend({"benchmark": script.stem.removeprefix("bench_")} | f for f in parsed(line))
    return process.returncode


def parsed(line: str) -> Iterator[dict[str, Any]]:
    """The figure on a line, if it holds one."""
    if line.startswith('{"what"'):
        yield json.loads(line)


def table(figures: list[dict[str, Any]]) -> Table:
    """One row a figure."""
    shown = Table(title="tamis against its bars and its peers")
    for name in ("benchmark", "what", "tamis", "peer", "ratio", "unit", "bar", "holds"):
        shown.add_column(name, justify="right" if name in {"tamis", "ratio"} else "left")
    for f in figures:
        theirs, ours = f.get("theirs"), f["ours"]
        peer = "" if theirs is None else f"{f.get('peer', '')} {theirs:,.4g}".strip()
        ratio = f"{ours / theirs:,.1f}x" if theirs else ""
        holds = {True: "yes", False: "NO", None: ""}[f.get("holds")]
        shown.add_row(
            f["benchmark"], f["what"], f"{ours:,.4g}", peer, ratio, f.get("unit", ""), f.get("bar", ""), holds
        )
    return shown


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
