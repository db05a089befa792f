"""Block lists of domains, addresses and words, from an installed package or a folder of plain text.

Millions of entries are held as sorted 64-bit hashes: 8 bytes an entry, and no strings.
"""

import functools
import importlib.util
import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import xxhash
from numpy.typing import NDArray

from stages.errors import SpecError
from stages.fingerprint import digest

SPLIT = re.compile(r"[^a-zA-Z0-9]+")
FILES = ("domains.txt", "urls.txt", "hard_words.txt", "soft_words.txt", "banned_subwords.txt")
#: datatrove 0.10.1's files by ours; the archive holds `domains` and `urls`.
UT1_ARCHIVE = "url_filterblacklistsv0_3_0.tar.gz"
UT1_WORDS = {
    "hard_words.txt": "banned_words.txt",
    "soft_words.txt": "soft_banned_words.txt",
    "banned_subwords.txt": "banned_subwords.txt",
}
HASHES_AT_ONCE = 250_000


@dataclass(frozen=True, slots=True)
class Hashes:
    """A set of strings as sorted 64-bit hashes."""

    ordered: NDArray[np.uint64]

    def has(self, words: list[str]) -> NDArray[np.bool_]:
        """For every word, whether the set holds it."""
        if not len(self.ordered):
            return np.zeros(len(words), bool)
        sought = _hashes(word.encode("utf-8", "surrogatepass") for word in words)
        places = np.minimum(np.searchsorted(self.ordered, sought), len(self.ordered) - 1)
        return np.asarray(self.ordered[places] == sought)


@dataclass(frozen=True, slots=True)
class BlockLists:
    """What addresses are compared with."""

    domains: Hashes
    urls: Hashes
    hard_words: frozenset[str]
    soft_words: frozenset[str]
    banned_subwords: tuple[str, ...]


def words_of(url: str) -> list[str]:
    """The runs of ASCII letters and digits in an address, as datatrove 0.10 splits it."""
    return [word for word in SPLIT.split(url) if word]


def list_hashes(lists: str) -> dict[str, str]:
    """SHA-256 of every file of the lists, by name; empty for `none`.

    Raises:
        SpecError: the lists are not installed, or the folder holds none of the files.
    """
    if lists == "none":
        return {}
    if lists == "ut1":
        return {name: _file_hash(_assets() / name) for name in (UT1_ARCHIVE, *UT1_WORDS.values())}
    return {name: _file_hash(Path(lists) / name) for name in _folder_files(lists)}


def load_lists(lists: str) -> BlockLists:
    """The lists in memory.

    Raises:
        SpecError: as `list_hashes`.
    """
    if lists == "ut1":
        assets = _assets()
        with tarfile.open(assets / UT1_ARCHIVE, "r:gz") as archive:
            compact = {f"{m.name}.txt": _compact(_member(archive, m)) for m in archive if m.isfile()}
        words = {ours: _words(assets / theirs) for ours, theirs in UT1_WORDS.items()}
    else:
        files = _folder_files(lists)
        compact = {name: _compact((Path(lists) / name).open("rb")) for name in FILES[:2] if name in files}
        words = {name: _words(Path(lists) / name) for name in FILES[2:] if name in files}
    nothing = Hashes(np.empty(0, np.uint64))
    return BlockLists(
        domains=compact.get("domains.txt", nothing),
        urls=compact.get("urls.txt", nothing),
        hard_words=words.get("hard_words.txt", frozenset()),
        soft_words=words.get("soft_words.txt", frozenset()),
        banned_subwords=tuple(sorted(words.get("banned_subwords.txt", frozenset()))),
    )


def _compact(file: IO[bytes]) -> Hashes:
    """Hashes of the lines, read in pieces so that the lines are never all in memory."""
    parts = []
    with file:
        entries = _entries(file)
        while len(part := _hashes(entries, HASHES_AT_ONCE)):
            parts.append(part)
    return Hashes(np.unique(np.concatenate([np.empty(0, np.uint64), *parts])))


def _entries(lines: Iterable[bytes]) -> Iterator[bytes]:
    return (entry for line in lines if not line.startswith(b"#") and (entry := line.strip()))


def _words(path: Path) -> frozenset[str]:
    """Each line as one word of lower-case letters and digits; lines that start with # are comments."""
    lines = _entries(path.read_bytes().splitlines())
    return frozenset(word for line in lines if (word := "".join(words_of(line.decode())).lower()))


def _hashes(words: Iterable[bytes], at_most: int | None = None) -> NDArray[np.uint64]:
    hashes = (xxhash.xxh3_64_intdigest(word) for word in words)
    if at_most is None:
        return np.fromiter(hashes, np.uint64)
    return np.array([h for _, h in zip(range(at_most), hashes, strict=False)], np.uint64)


def _member(archive: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    file = archive.extractfile(member)
    assert file is not None, "regular files have content"
    return file


@functools.cache
def _file_hash(path: Path) -> str:
    return digest(path.read_bytes())


def _assets() -> Path:
    """The folder of datatrove's lists, without importing datatrove."""
    package = importlib.util.find_spec("datatrove")
    for folder in (package.submodule_search_locations if package else None) or []:
        if (Path(folder) / "assets" / UT1_ARCHIVE).is_file():
            return Path(folder) / "assets"
    raise SpecError("the block lists 'ut1' are not installed; run: pip install 'tamis[blocklists]'", lists="ut1")


def _folder_files(lists: str) -> tuple[str, ...]:
    files = tuple(name for name in FILES if (Path(lists) / name).is_file())
    if not files:
        raise SpecError(f"the folder of block lists {lists!r} holds none of {', '.join(FILES)}; add one", lists=lists)
    return files
