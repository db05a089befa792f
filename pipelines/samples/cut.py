"""How the bundled sample was cut from a larger collection of free text: `python -m pipelines.samples.cut FOLDER`.

The collection is not part of this repository; the sample is. The cut is repeatable: every document
is drawn by the hash of the seed and its text, so copies of a text are drawn together, and the two
editions of a manual by the hash of the page, so that near-duplicates are. Documents that name a package
registry, a mirror or a machine's folders are left out, and so are very long ones.
"""

import gzip
import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

SEED = 20240607
MAX_BYTES = 60_000
SHARDS = 4
HERE = Path(__file__).parent

Record = dict[str, Any]
LIBREOFFICE = "MPL-2.0 OR LGPL-3.0-or-later"

#: Bytes of text to draw from each source of the raw collection, of every language and of English, and its licence.
RAW = {
    "mail": (1_100_000, 0, "Apache-2.0"),
    "api-docstrings": (350_000, 0, "Apache-2.0"),
    "apache-doc": (550_000, 0, "Apache-2.0"),
    "erlang-doc": (350_000, 0, "Apache-2.0"),
    "python-doc": (350_000, 0, "PSF-2.0"),
    "postgresql-doc": (900_000, 0, "PostgreSQL"),
    "django-doc": (350_000, 0, "BSD-3-Clause"),
    "rust-doc": (350_000, 0, "MIT OR Apache-2.0"),
    "cppreference": (250_000, 0, "CC-BY-SA-3.0 OR GFDL-1.3-or-later"),
    "desktop-help": (900_000, 900_000, "CC-BY-SA-3.0"),
    "package-descriptions": (200_000, 700_000, "as the packages described: free"),
    "libreoffice-help-en-us": (1_200_000, 0, LIBREOFFICE),
    **{
        f"libreoffice-help-{lang}": (90_000, 0, LIBREOFFICE)
        for lang in ["de", "es", "fr", "it", "ja", "pl", "pt-br", "ru", "zh-cn"]
    },
    "javadoc": (150_000, 0, "GPL-2.0-only WITH Classpath-exception-2.0"),
    "installation-guide-amd64": (200_000, 0, "GPL-2.0-or-later"),
    "installation-guide-i386": (200_000, 0, "GPL-2.0-or-later"),
}
#: Bytes of text to draw for train and eval from the sources of each clean domain.
CLEAN = {
    "books": {"austen", "shakespeare"},
    "encyclopedic": {"wordnet", "foldoc"},
    "manuals": {"postgresql-doc-15", "python3.11-doc", "python-django-doc"},
}
CLEAN_BYTES = {"train": 500_000, "eval": 200_000}
LABELLED_MAILS = 500

LEFT_OUT = re.compile(
    r"debian\.(org|net)|ubuntu\.com|pypi\.|python[h]osted|npmjs|crates\.io|rubygems|nuget\.org|hex\.pm|maven|"
    r"c[pr]an\.|ctan\.|hackage|conda|docker\.io|hub\.docker|ghcr\.io|quay\.io|golang\.org|mirror|registry\.|"
    r"/(work|root|farm)\b|file://",
    re.IGNORECASE,
)
LONG_WORDS = 106_000
#: Records as broken as real ones, so that no reason is without a document: a line cut short, two without text, one empty.
PLANTED = (
    '{"id": "planted-cut-short", "text": "The quick brown fox jumps over the la',
    '{"id": "planted-no-text", "url": "https://planted.example/no-text", "source": "planted"}',
    '{"id": "planted-text-is-a-number", "text": 12, "source": "planted"}',
    '{"id": "planted-blank", "text": " \\n\\n ", "source": "planted", "lang": "en"}',
)


def main(collection: Path) -> None:
    """Cut every file of the sample."""
    raw = list(_read(*sorted((collection / "raw").glob("*.jsonl.gz"))))
    drawn = {r["id"]: r | {"license": RAW[source][2]} for source in RAW for r in _draw_raw(raw, source)}
    lines = [
        json.dumps(r, ensure_ascii=False) for r in sorted(drawn.values(), key=lambda r: _chance("shuffle", r["id"]))
    ]
    for shard in range(SHARDS):
        planted = (*PLANTED, json.dumps(_novels(collection), ensure_ascii=False)) if shard == SHARDS - 1 else ()
        _write(HERE / "raw" / f"raw-{shard:05}.jsonl.gz", [*lines[shard::SHARDS], *planted])
    for domain, sources in CLEAN.items():
        for split, amount in CLEAN_BYTES.items():
            records = _read(collection / "clean" / domain / f"{split}.jsonl.gz")
            chosen = _draw(records, sources, amount, _by_text)
            _write(HERE / "clean" / domain / f"{split}.jsonl.gz", [json.dumps(r, ensure_ascii=False) for r in chosen])
    mails = _read(collection / "labels" / "mail-quality.jsonl.gz")
    labelled = sorted((r for r in mails if _wanted(r)), key=_by_text)[:LABELLED_MAILS]
    _write(HERE / "labels" / "mail-quality.jsonl.gz", [json.dumps(r, ensure_ascii=False) for r in labelled])


def _draw_raw(raw: list[Record], source: str) -> list[Record]:
    every, english, _ = RAW[source]
    rank = _by_page if source.startswith("installation-guide") else _by_text
    return _draw(raw, {source}, every, rank) + _draw((r for r in raw if r["lang"] == "en"), {source}, english, rank)


def _novels(collection: Path) -> Record:
    """Chapters of Jane Austen as one document of more than 100,000 words: longer than the rules of Gopher allow."""
    chapters = [r["text"] for r in _read(collection / "clean" / "books" / "train.jsonl.gz") if r["source"] == "austen"]
    words = 0
    for n, chapter in enumerate(chapters):
        words += len(chapter.split())
        if words > LONG_WORDS:
            chapters = chapters[: n + 1]
            break
    record = {"id": "planted-long", "text": "\n\n".join(chapters), "source": "planted"}
    return record | {"lang": "en", "license": "public domain"}


def _draw(records: Iterable[Record], sources: set[str], amount: int, rank: Callable[[Record], bytes]) -> list[Record]:
    """Documents of the sources in the order of their rank until they hold `amount` bytes of text."""
    chosen: list[Record] = []
    for record in sorted((r for r in records if r["source"] in sources and _wanted(r)), key=rank):
        if amount <= 0:
            break
        chosen.append(record)
        amount -= len(record["text"].encode())
    return chosen


def _wanted(record: Record) -> bool:
    return len(record["text"].encode()) <= MAX_BYTES and not LEFT_OUT.search(record["text"])


def _by_text(record: Mapping[str, Any]) -> bytes:
    return _chance("text", record["text"])


def _by_page(record: Mapping[str, Any]) -> bytes:
    return _chance("page", str(record["url"]).replace("amd64", "*").replace("i386", "*"))


def _chance(*parts: str) -> bytes:
    return hashlib.blake2b("\0".join([str(SEED), *parts]).encode(), digest_size=16).digest()


def _read(*paths: Path) -> Iterator[Record]:
    for path in paths:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            yield from map(json.loads, lines)


def _write(path: Path, lines: list[str]) -> None:
    """Equal lines give equal bytes: no time and no name in the gzip header."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as out, gzip.GzipFile("", "wb", 9, out, mtime=0) as packed:
        packed.write("".join(line + "\n" for line in lines).encode())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
