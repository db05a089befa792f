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


def pieces(text: str, runs: Sequence[Run], beyond: int = 0) -> list[dict[str, Any]]:
    """The runs as they are shown: long ones cut in the middle, and all of it cut after `SHOWN` characters.

    A piece is `shared` or not and has `text` or, where that was cut, the number of `characters` left out; what is left
    out at the end (with `beyond`, the characters of the document after `text`, which were not compared) is neither.
    """
    shown: list[dict[str, Any]] = []
    room, at = SHOWN, 0
    for begin, end, piece in (cut for run in runs for cut in _cut(text, run)):
        if room <= 0:
            break
        length = min(end - begin, room) if "text" in piece else end - begin
        shown.append({**piece, "text": text[begin : begin + length]} if "text" in piece else piece)
        room -= length if "text" in piece else 0
        at = begin + length
    left = len(text) - at + beyond
    return [*shown, {"shared": None, "characters": left}] if left else shown


def _joined(words: Words, shared: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """From the first word to the last of every run of shared words, with the marks that stand close to them.

    What has no words at the text's ends belongs to the nearest run.
    """
    begin, free = -1, 0
    for i, ((a, b), yes) in enumerate(zip(words.places, shared, strict=True)):
        if yes and begin < 0:
            begin = _outwards(words.text, a, -1, free) if i else 0
        elif not yes and begin >= 0:
            yield begin, _outwards(words.text, free, 1, a)
            begin = -1
        free = b
    if begin >= 0:
        yield begin, len(words.text)


def _outwards(text: str, place: int, step: int, limit: int) -> int:
    """The place, moved on to the next white space, to the limit at most."""
    while place != limit and not text[place if step > 0 else place - 1].isspace():
        place += step
    return place


def _cut(text: str, run: Run) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """A run as begin, end and piece; with its middle left out if it is long."""
    head, tail = _ENDS[run.kind]
    if run.begin == 0:
        head = max(head, _BEGINNING)
    if run.end == len(text):
        head, tail = head + tail, 0
    shared = run.kind == "shared"
    if run.end - run.begin <= head + tail + _LEAST_CUT:
        yield run.begin, run.end, {"shared": shared, "text": text[run.begin : run.end]}
        return
    first = _at_a_space(text, run.begin + head)
    last = _at_a_space(text, run.end - tail) if tail else run.end
    yield run.begin, first, {"shared": shared, "text": text[run.begin : first]}
    yield first, last, {"shared": shared, "characters": last - first}
    if last < run.end:
        yield last, run.end, {"shared": shared, "text": text[last : run.end]}


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
