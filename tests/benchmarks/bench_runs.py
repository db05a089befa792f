"""What a whole run must hold: nothing computed twice, one shard for one file, memory that does not grow."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil
import yaml
from corpora import corpus, work

from pipelines.engine import cores

TAMIS = Path(sys.executable).parent / "tamis"
MEASURE = {
    "clean": {"kind": "normalize"},
    "stats": {"kind": "text_stats"},
    "repeats": {"kind": "repetition"},
    "copies": {"kind": "exact_duplicates"},
}
KEEP = [
    {"rules": "gopher-quality@datatrove-0.10"},
    {"rules": "gopher-repetition@datatrove-0.10"},
    {"one_of": "copies.cluster", "by": "first", "reason": "copy"},
]


def figure(what: str, ours: float, unit: str, bar: str, *, holds: bool) -> None:
    print(json.dumps({"what": what, "ours": ours, "unit": unit, "bar": bar, "holds": holds}), flush=True)


def run(folder: Path, store: Path, **source: Any) -> tuple[dict[str, Any], float, int]:
    """Run the spec; gives its outcome, the seconds, and the largest resident size of any process, in bytes."""
    spec = store.parent / "spec.yaml"
    path = str(folder / "*.jsonl.gz")
    spec.write_text(
        yaml.safe_dump(
            {"name": "bench", "source": {"kind": "jsonl", "path": path, **source}, "measure": MEASURE, "keep": KEEP}
        )
    )
    command = [str(TAMIS), "run", str(spec), "--store", str(store), "--engine", "local", "--json"]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as out:
        driver = psutil.Popen(command, stdout=out)
        peak = 0
        while driver.poll() is None:
            peak = max(peak, largest(driver))
            time.sleep(0.02)
        out.seek(0)
        text = out.read()
    if driver.returncode:
        sys.exit(f"tamis run ended with exit status {driver.returncode}")
    return json.loads(text), time.perf_counter() - began, peak


def largest(driver: psutil.Process) -> int:
    """The resident size of the largest process of the run now."""
    sizes = []
    for process in [driver, *_children(driver)]:
        try:
            sizes.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue
    return max(sizes, default=0)


def _children(driver: psutil.Process) -> list[psutil.Process]:
    try:
        return driver.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def ledger(store: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((store / "runs" / name / "ledger.json").read_text())
    return found


def main() -> None:
    with tempfile.TemporaryDirectory(dir=work()) as temporary:
        base = Path(temporary)
        repeat_and_add(base / "a")
        memory(base / "b")
        compile_cold()


def repeat_and_add(base: Path) -> None:
    base.mkdir()
    made, _ = corpus(100, 8)
    folder = base / "corpus"
    shutil.copytree(made, folder)
    later = folder / "part-00003.jsonl.gz"
    later.rename(base / "later.jsonl.gz")
    store = base / "store"
    run(folder, store)
    _, seconds, _ = run(folder, store)
    figure("a finished run repeated", round(seconds, 2), "s", "< 3", holds=seconds < 3)
    (base / "later.jsonl.gz").rename(later)
    outcome, _, _ = run(folder, store)
    steps = ledger(store, outcome["run"])["steps"]
    rows = max(steps[name]["computed_shards"] for name in ("clean", "stats", "repeats"))
    figure("shards computed for one added file", rows, "shards", "= 1", holds=rows == 1)


def memory(base: Path) -> None:
    base.mkdir()
    peaks = {}
    for megabytes, files in ((60, 4), (600, 40)):
        folder, _ = corpus(megabytes, files)
        _, seconds, peaks[megabytes] = run(folder, base / f"store-{megabytes}")
        print(f"{megabytes} MB: {seconds:.1f} s, peak {peaks[megabytes] / 1e6:.0f} MB", flush=True)
    growth = peaks[600] / peaks[60]
    figure("peak memory, 600 MB against 60 MB", round(growth, 3), "ratio", "<= 1.10", holds=growth <= 1.10)
    folder, _ = corpus(400, 1)
    _, _, peak = run(folder, base / "store-big", shard_bytes=128_000_000)
    figure("peak memory with 128 MB shards", round(peak / 1e6), "MB", "< 1500", holds=peak < 1.5e9)


def compile_cold() -> None:
    """Seconds to compile every kernel into an empty cache, on all cores."""
    with tempfile.TemporaryDirectory() as empty:
        env = os.environ | {"NUMBA_CACHE_DIR": empty}
        code = f"import time; t = time.perf_counter(); from stages.kernels.warm import compile_all; compile_all(processes={cores()}); print(time.perf_counter() - t)"
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        seconds = float(done.stdout)
        figure("kernels compiled on a fresh machine", round(seconds, 1), "s", "<= 20", holds=seconds <= 20)


if __name__ == "__main__":
    main()
