"""Corpora to measure on: the shared raw corpus where there is one, else the bundled sample; repeated with salt.

A copy of a document gets a salted word now and then, so that no two copies are equal and no cache of words helps.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data" / "raw"
EVERY_WORDS = 40


def work() -> Path:
    """The folder for everything that a benchmark writes."""
    folder = Path(os.environ.get("TAMIS_BENCH_WORK", ROOT / "bench-work")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def raw() -> Path:
    """The folder of raw documents: the shared corpus where there is one, else the bundled sample."""
    return SHARED if SHARED.is_dir() else ROOT / "pipelines" / "samples" / "raw"


def documents() -> Iterator[dict[str, str]]:
    """The raw documents, once."""
    for file in sorted(raw().glob("*.jsonl.gz")):
        with gzip.open(file, "rt", encoding="utf-8", errors="replace") as lines:
            for line in lines:
                try:
                    record = json.loads(line)
                except ValueError:  # the sample holds broken records on purpose
                    continue
                if isinstance(record, dict) and isinstance(record.get("text"), str):
                    yield record


def corpus(megabytes: int, files: int, *, least: int = 0) -> tuple[Path, int]:
    """A folder of `files` .jsonl.gz files with that much text, and its exact size in bytes; made once."""
    folder = work() / f"corpus-{megabytes}mb-{files}-{least}"
    stamp = folder.with_suffix(".bytes")  # beside it: peers read every file of a folder
    if not stamp.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        size = _write(folder, megabytes * 1_000_000, files, least)
        stamp.write_text(str(size))
    return folder, int(stamp.read_text())


def _write(folder: Path, wanted: int, files: int, least: int) -> int:
    with ExitStack() as stack:
        names = [folder / f"part-{i:05d}.jsonl.gz" for i in range(files)]
        return _fill([stack.enter_context(gzip.open(n, "wb", compresslevel=1)) for n in names], wanted, least)


def _fill(outs: list[gzip.GzipFile], wanted: int, least: int) -> int:
    size = number = copy = 0
    while size < wanted:
        for record in documents():
            if len(record["text"]) < least:
                continue
            text = salted(record["text"], copy, number) if copy else record["text"]
            line = {"id": f"{number}", "text": text, "lang": record.get("lang")}
            outs[min(len(outs) - 1, size * len(outs) // wanted)].write(
                json.dumps(line, ensure_ascii=False).encode() + b"\n"
            )
            size += len(text.encode())
            number += 1
            if size >= wanted:
                break
        copy += 1
    return size


def salted(text: str, copy: int, number: int) -> str:
    """The text with every so-manieth word replaced by one that no other copy has."""
    words = text.split(" ")
    for i in range(copy % EVERY_WORDS, len(words), EVERY_WORDS):
        words[i] = "w" + hashlib.blake2b(f"{copy}/{number}/{i}".encode(), digest_size=5).hexdigest()
    return " ".join(words)
