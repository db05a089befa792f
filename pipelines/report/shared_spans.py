"""Which parts of two texts are the same: runs of words that both have, in any script.

What is shared is told by n-grams of words, as MinHash sketches see a text: a word is shared if it lies in a run of at
least `ngram` words that the other text has too, wherever it has them. Letters' case and what stands between words do
not count. Only the few texts that are shown are compared, and only their first `COMPARED` characters.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

Kind = Literal["shared", "own"]

#: Characters of a text that are read and compared.
COMPARED = 20_000
#: Characters of a text that are shown, cuts apart.
SHOWN = 1_100
#: A run is cut in the middle when it is longer than its two ends; the ends of what is shared are shorter.
_ENDS = {"shared": (150, 90), "own": (260, 120)}
_BEGINNING = 260
_LEAST_CUT = 60
#: Scripts that put no spaces between words: each character is a word.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
#: Where combining marks are; beyond it there are variation selectors only.
_LAST_MARK = 0x1F000


@dataclass(frozen=True, slots=True)
class Words:
    """A text's words: where each begins and ends, and what it is compared by."""

    text: str
    places: tuple[tuple[int, int], ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> "Words":
        """The words of a text; where it has none, its characters that are not white space."""
        found = list(_word().finditer(text)) or list(re.finditer(r"\S", text))
        return cls(text, tuple(m.span() for m in found), tuple(m[0].casefold() for m in found))

    def ngrams(self, n: int) -> Iterator[tuple[str, ...]]:
        """Every run of n words."""
        return zip(*(self.keys[i:] for i in range(n)), strict=False)


@dataclass(frozen=True, slots=True)
class Run:
    """A part of a text, from `begin` to `end`, that is shared or the text's own."""

    kind: Kind
    begin: int
    end: int


def compared(mine: str, others: Sequence[str], ngram: int) -> list[Run]:
    """The parts of a text that at least one of the others shares, and those that it has alone, in order."""
    words = Words.of(mine)
    them = [Words.of(other) for other in others]
    n = max(1, min([ngram, *(len(w.keys) for w in (words, *them) if w.keys)]))
    theirs = {gram for other in them for gram in other.ngrams(n)}
    shared = [False] * len(words.keys)
    for i, gram in enumerate(words.ngrams(n)):
        if gram in theirs:
            shared[i : i + n] = [True] * n
    return runs_of(len(mine), _joined(words, shared))


def runs_of(length: int, shared: Iterable[tuple[int, int]]) -> list[Run]:
    """The whole text as runs, from the parts of it that are shared (sorted, disjoint)."""
    edges = [0]
    for begin, end in shared:
        edges += [begin, end]
    kinds: tuple[Kind, Kind] = ("own", "shared")
    return [Run(kinds[i % 2], a, b) for i, (a, b) in enumerate(pairwise([*edges, length])) if b > a]


def shared_fraction(runs: Sequence[Run]) -> float:
    """The share of characters in shared runs; 0 for no text."""
    whole = sum(r.end - r.begin for r in runs)
    return sum(r.end - r.begin for r in runs if r.kind == "shared") / whole if whole else 0.0


def parts(text: str, runs: Sequence[Run], beyond: int = 0) -> list[dict[str, Any]]:
    """The runs as they are shown: long ones cut in the middle, and all of it cut after `SHOWN` characters.

    A part has a `kind` and either `text` or, where it was cut, the number of `characters` left out. `beyond` counts
    characters of the document after `text`, which were not compared.
    """
    shown: list[dict[str, Any]] = []
    room, at = SHOWN, 0
    for run in runs:
        for part, length in _cut(text, run):
            if room <= 0:
                break
            written = part.get("text")
            if written is not None and len(written) > room:
                part, length = {**part, "text": written[:room]}, room  # noqa: PLW2901 - what is left of it
            shown.append(part)
            room -= len(part.get("text", ""))
            at += length
    left = len(text) - at + beyond
    return [*shown, {"kind": "rest", "characters": left}] if left else shown


def _joined(words: Words, shared: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """From the first word to the last of every run of shared words; what has no words belongs to the nearest run."""
    begin, end = -1, 0
    for i, ((a, b), yes) in enumerate(zip(words.places, shared, strict=True)):
        if yes:
            begin, end = (a if i else 0) if begin < 0 else begin, b
        elif begin >= 0:
            yield begin, end
            begin = -1
    if begin >= 0:
        yield begin, len(words.text)


def _cut(text: str, run: Run) -> Iterator[tuple[dict[str, Any], int]]:
    """A run with its middle left out if it is long, each part with the characters that it stands for."""
    head, tail = _ENDS[run.kind]
    head = max(head, _BEGINNING) if run.begin == 0 else head
    head = head if run.end < len(text) else head + tail
    tail = tail if run.end < len(text) else 0
    if run.end - run.begin <= head + tail + _LEAST_CUT:
        yield {"kind": run.kind, "text": text[run.begin : run.end]}, run.end - run.begin
        return
    first = _at_a_space(text, run.begin + head)
    last = _at_a_space(text, run.end - tail) if tail else run.end
    yield {"kind": run.kind, "text": text[run.begin : first]}, first - run.begin
    yield {"kind": run.kind, "characters": last - first}, last - first
    if last < run.end:
        yield {"kind": run.kind, "text": text[last : run.end]}, run.end - last


def _at_a_space(text: str, place: int) -> int:
    """The place, or a little before it where a word begins."""
    for i in range(place, max(0, place - 20), -1):
        if text[i - 1].isspace():
            return i
    return place


@functools.cache
def _word() -> re.Pattern[str]:
    """A word: letters, digits and their marks; in unspaced scripts, one character and its marks."""
    marks = "".join(chr(c) for c in range(0x300, _LAST_MARK) if unicodedata.category(chr(c)) in {"Mn", "Mc", "Me"})
    ranges = re.sub(r"([\]\\^-])", r"\\\1", marks)
    return re.compile(rf"[{_UNSPACED}][{ranges}]*|(?:(?![{_UNSPACED}])\w)(?:(?![{_UNSPACED}])[\w{ranges}])*")
