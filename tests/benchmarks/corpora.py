"""Corpora to measure on: the shared raw corpus where there is one, else the bundled sample; repeated with salt.

`corpus`: a copy of a document gets a salted word now and then, so that no two copies are equal and no cache of words helps.
`repeats`: every letter of a repeat is salted, so that repeats share next to no n-gram with each other while documents
of one repeat are as alike as they were. For whatever finds duplicates.
"""

import gzip
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import cache
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


#: How a text is changed: text, number of the repeat (0 is the first), number of the document.
Change = Callable[[str, int, int], str]
#: Alphabets whose letters are turned: first and last code point.
WHEELS = (
    (0x41, 0x5A),  # A to Z
    (0x61, 0x7A),  # a to z
    (0x3B1, 0x3C1),  # Greek, up to the final sigma
    (0x410, 0x42F),  # Cyrillic, capital
    (0x430, 0x44F),
    (0x5D0, 0x5EA),  # Hebrew
    (0x621, 0x63A),  # Arabic
    (0x905, 0x939),  # Devanagari
    (0x985, 0x9B9),  # Bengali, and other scripts of India at the same places
    (0xA05, 0xA39),
    (0xA85, 0xAB9),
    (0xB85, 0xBB9),
    (0xC05, 0xC39),
    (0xC85, 0xCB9),
    (0xD05, 0xD39),
    (0xE01, 0xE2E),  # Thai
    (0x10D0, 0x10F0),  # Georgian
    (0x1780, 0x17A2),  # Khmer
    (0x3041, 0x3096),  # Hiragana
    (0x30A1, 0x30FA),  # Katakana
    (0x4E00, 0x9FA5),  # Han
    (0xAC00, 0xD7A3),  # Hangul
)


def corpus(megabytes: int, files: int, *, least: int = 0) -> tuple[Path, int]:
    """A folder of `files` .jsonl.gz files with that much text, and its exact size in bytes; made once."""
    return _made(f"corpus-{megabytes}mb-{files}-{least}", megabytes, files, least, lightly)


def repeats(megabytes: int, files: int) -> tuple[Path, int]:
    """The same with salted letters: repeats share next to no n-gram, and what is alike in one stays alike; made once."""
    return _made(f"repeats-{megabytes}mb-{files}", megabytes, files, 0, turned)


def _made(name: str, megabytes: int, files: int, least: int, change: Change) -> tuple[Path, int]:
    folder = work() / name
    stamp = work() / f"{name}.bytes"  # beside it: peers read every file of a folder
    if not stamp.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            names = [folder / f"part-{i:05d}.jsonl.gz" for i in range(files)]
            outs = [stack.enter_context(gzip.open(n, "wb", compresslevel=1)) for n in names]
            size = _fill(outs, megabytes * 1_000_000, least, change)
        stamp.write_text(str(size))
    return folder, int(stamp.read_text())


def _fill(outs: list[gzip.GzipFile], wanted: int, least: int, change: Change) -> int:
    size = number = copy = 0
    while size < wanted:
        for record in documents():
            if len(record["text"]) < least:
                continue
            text = change(record["text"], copy, number)
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


def lightly(text: str, copy: int, number: int) -> str:
    """The text itself in the first copy; in others with salted words."""
    return salted(text, copy, number) if copy else text


def salted(text: str, copy: int, number: int) -> str:
    """The text with every so-manieth word replaced by one that no other copy has."""
    words = text.split(" ")
    for i in range(copy % EVERY_WORDS, len(words), EVERY_WORDS):
        words[i] = "w" + hashlib.blake2b(f"{copy}/{number}/{i}".encode(), digest_size=5).hexdigest()
    return " ".join(words)


def turned(text: str, copy: int, number: int) -> str:
    """The text with the letters of each alphabet turned by 7 places a copy: cat becomes jha, then qoh.

    Every word with a letter of them changes, to another of its length, and equal words to equal ones: two documents of a
    repeat have the Jaccard that they had. Texts without such letters (numbers, symbols) stay as they are.
    """
    del number
    return text.translate(_wheel(copy)) if copy else text


@cache
def _wheel(copy: int) -> dict[int, int]:
    turned = {}
    for first, last in WHEELS:
        letters = [c for c in range(first, last + 1) if chr(c).isalpha()]
        turned |= {c: letters[(i + copy * 7) % len(letters)] for i, c in enumerate(letters)}
    return turned
