"""What the service must hold while a job runs on every core: reads in time, and the first event soon after a submission.

A store of 1,000 runs, made of copies of one real run under other ids, and a run of 5 million documents (see
`bench_explorer.py`); a job that takes every core; 50 reads a second for some time, at fixed times whether or not the ones before
were answered, so that a slow answer delays no question. A read's time counts from when it was due. Two reads a second look
around in the large run, at any offset and filter: a page of its documents, and another threshold.
"""

import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))
from bench_explorer import DOCUMENTS, made_up
from service_runs import ROOT, Served, service, spec_of, texts

RUNS = int(os.environ.get("TAMIS_BENCH_RUNS", "1000"))
RATE = 50
SECONDS = float(os.environ.get("TAMIS_BENCH_SECONDS", "60"))
SUBMISSIONS = 10
#: One read in so many is a look into the large run.
LOOK = 25
#: The run with many documents.
LARGE = "bench-0"
#: Seconds within which 99 of 100 reads are answered, by what is read.
BARS = {"reads": 0.3, "listings": 0.3, "documents": 0.5, "what-if": 0.3}
BUSY = 400_000  # documents of the job that takes the cores meanwhile
#: Requests that may wait for their answers at once.
CLIENTS = 32


def figure(what: str, ours: float, unit: str, bar: str, *, holds: bool) -> None:
    """Print a figure as the other benchmarks do."""
    print(json.dumps({"what": what, "ours": round(ours, 4), "unit": unit, "bar": bar, "holds": holds}), flush=True)


def many_runs(store: Path, run: str) -> None:
    """Copies of a finished run of a store under other ids, as if nobody had submitted them."""
    folder = store / "runs" / run
    for i in range(RUNS):
        copy = store / "runs" / f"copy-{i:04d}-{run}"
        shutil.copytree(folder, copy)


def busy_spec(folder: Path) -> dict[str, Any]:
    """A job that keeps every core at work for as long as the reads take."""
    path = folder / "busy.jsonl"
    words = [f"word{i}" for i in range(5_000)]
    draw = random.Random(1)
    texts_of_it = [" ".join(draw.choices(words, k=300)) for _ in range(20_000)]
    with path.open("w") as file:
        for i in range(BUSY):
            file.write(json.dumps({"id": str(i), "text": f"{texts_of_it[i % len(texts_of_it)]} again {i}"}) + "\n")
    measure = {
        "clean": {"kind": "normalize"},
        "stats": {"kind": "text_stats"},
        "repeats": {"kind": "repetition"},
        "lang": {"kind": "language"},
        "sketch": {"kind": "minhash"},
        "copies": {"kind": "near_duplicates", "of": "sketch"},
    }
    spec = spec_of(path, "busy", measure=measure)
    return {**spec, "source": {**spec["source"], "shard_bytes": 4_000_000}}


def listings(run: str) -> list[str]:
    """What a person and a program look at all the time."""
    return [
        "/v1/runs",
        "/v1/runs?limit=200",
        f"/v1/runs/{run}",
        f"/v1/runs/{run}/steps",
        f"/v1/runs/{run}/plan",
        "/v1/runs?name=small",
        f"/v1/runs/{run}/documents?fate=rejected",
        f"/v1/runs/{run}/export",
    ]


def browsing(number: int) -> tuple[str, str]:
    """A look into the large run, another each time: of which kind, and its path."""
    draw = random.Random(number)
    words = draw.randrange(10, 200)
    if number % 2:
        rule = draw.choice(
            [f"stats.words>={words}", f"stats.words<={9 * words}", f"stats.mean_word_chars<={draw.uniform(5, 12):.3f}"]
        )
        return "what-if", f"/v1/runs/{LARGE}/what-if?{urlencode({'rule': rule})}"
    asked = draw.choice([[], [], [("fate", "kept")], [("fate", "rejected")]])
    asked += draw.choice(
        [[], [], [("where", f"stats.words>={words}")], [("where", "lang==en"), ("where", "stats.words<=900")]]
    )
    offset = draw.randrange(DOCUMENTS // 10 if asked else DOCUMENTS)  # so many are found by any of them
    asked = [("offset", str(offset)), *asked]
    asked += draw.choice([[], [("sort", "-stats.words")], [("sort", "stats.mean_word_chars")]])
    return "documents", f"/runs/{LARGE}/documents?{urlencode(asked)}"


def reads(served: Served, run: str) -> dict[str, list[float]]:
    """Seconds of each read by its kind, from when it was due."""
    paths, found = listings(run), defaultdict[str, list[float]](list)
    headers = {"Authorization": f"Bearer {served.reader}"}
    limits = httpx.Limits(max_connections=CLIENTS, max_keepalive_connections=CLIENTS)
    with httpx.Client(base_url=served.url, headers=headers, timeout=60, trust_env=False, limits=limits) as client:
        for path in (*paths, browsing(0)[1], browsing(1)[1]):
            assert client.get(path).status_code == 200, path
        began = time.perf_counter() + 0.1

        def read(number: int) -> tuple[str, float]:
            kind, path = ("listings", paths[number % len(paths)]) if number % LOOK else browsing(number // LOOK)
            due = began + number / RATE
            time.sleep(max(0.0, due - time.perf_counter()))  # a benchmark's clock, not a test's wait
            assert client.get(path).status_code == 200, path
            return kind, time.perf_counter() - due

        with ThreadPoolExecutor(CLIENTS) as pool:
            for kind, seconds in pool.map(read, range(int(RATE * SECONDS))):
                found[kind].append(seconds)
                found["reads"].append(seconds)
    return {kind: sorted(seconds) for kind, seconds in found.items()}


def indexed(served: Served) -> float:
    """Seconds until the documents of the large run can be browsed, asking as a page does."""
    began = time.perf_counter()
    while (answer := served.get(f"/v1/runs/{LARGE}/documents", params={"limit": 1})).status_code == 503:
        time.sleep(float(answer.headers["retry-after"]))
    assert answer.json()["total"] == DOCUMENTS, answer.text
    return time.perf_counter() - began


def first_event(served: Served, folder: Path, number: int) -> float:
    """Seconds from a submission to the first event of its stream."""
    spec = spec_of(texts(folder), f"first-{number}")
    with served.client() as client:
        began = time.perf_counter()
        job = client.post("/v1/runs", json={"spec": spec}).json()["id"]
        with client.stream("GET", f"/v1/runs/{job}/events") as stream:
            next(line for line in stream.iter_lines() if line.startswith("data: "))
        return time.perf_counter() - began


def main() -> None:
    """Measure and print."""
    sys.setswitchinterval(0.0005)  # who asks takes turns as who answers does
    work = ROOT / "bench-work"
    work.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as place:
        folder = Path(place)
        with service(folder) as served:
            done = served.until(served.submit(spec_of(texts(folder)))["id"])
            served.stop()
            many_runs(folder / "store", done["run"])
            made_up(folder)
            served.options = ("--reindex",)
            served.start()
            figure(f"{DOCUMENTS:,} documents indexed", indexed(served), "s", "told", holds=True)
            busy = served.submit(busy_spec(folder), workers=os.cpu_count())["id"]
            served.until(busy, ("RUNNING",))
            found = reads(served, done["id"])
            assert served.get(f"/v1/runs/{busy}").json()["state"] == "RUNNING", "the job ended before the reads did"
            for kind, most in BARS.items():
                took = found[kind]
                p50, p99 = took[len(took) // 2], took[int(len(took) * 0.99)]
                figure(f"median of {len(took)} {kind}, {RATE} reads/s, {RUNS} runs", p50, "s", "told", holds=True)
                figure(f"p99 of {len(took)} {kind}", p99, "s", f"< {most}", holds=p99 < most)
            events = max(first_event(served, folder, n) for n in range(SUBMISSIONS))
            figure(f"first event, slowest of {SUBMISSIONS}", events, "s", "< 1", holds=events < 1)


if __name__ == "__main__":
    main()
