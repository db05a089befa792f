"""What rewriting did to a text: the words that went, those that came, and what stayed the same.

The words of both are compared by the greedy algorithm of Myers (1986), which costs the length times the differences; past
`MOST` differences what is between the common beginning and end is told as a whole, so that no text takes long.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["same", "gone", "new"]
_WORD = re.compile(r"\s|\w+|[^\w\s]")
#: Characters that are compared, differences that are looked for, and what is shown of a long part that is the same.
COMPARED, MOST, ENDS = 20_000, 300, 160


@dataclass(frozen=True, slots=True)
class Part:
    """A part of one text or of both; of a long one that is the same, how many `characters` are left out instead."""

    kind: Kind
    text: str = ""
    characters: int = 0


def rewritten(before: str, after: str) -> list[Part]:
    """Both texts as parts, in order: without the new ones they are `before`, without those that are gone `after`."""
    old, new = _WORD.findall(before[:COMPARED]), _WORD.findall(after[:COMPARED])
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    middle = _edits(old[head : len(old) - tail], new[head : len(new) - tail])
    return list(_parts([*_all("same", old[:head]), *middle, *_all("same", old[len(old) - tail :])]))


def shortened(parts: Sequence[Part]) -> list[Part]:
    """The parts as they are shown: what is the same for long is cut."""
    shown: list[Part] = []
    for i, part in enumerate(parts):
        first, last = ENDS if i else 0, ENDS if i < len(parts) - 1 else 0
        if part.kind != "same" or len(part.text) <= first + last + ENDS:
            shown.append(part)
            continue
        cut = Part("same", characters=len(part.text) - first - last)
        ends = Part("same", part.text[:first]), Part("same", part.text[len(part.text) - last :])
        shown += [p for p in (ends[0], cut, ends[1]) if p.text or p.characters]
    return shown


def spaces_shown(text: str) -> str:
    """White space that came or went, as marks that can be seen."""
    return text.replace("\n", "⏎\n").replace("\t", "⇥\t") if text.strip() else text.translate(_SPACES)


_SPACES = {ord(" "): "·", ord("\n"): "⏎\n", ord("\t"): "⇥\t", 0xA0: "⍽"}


def _common(one: Sequence[str], other: Sequence[str]) -> int:
    n = 0
    for a, b in zip(one, other, strict=False):
        if a != b:
            break
        n += 1
    return n


def _all(kind: Kind, words: Sequence[str]) -> list[tuple[Kind, str]]:
    return [(kind, word) for word in words]


def _edits(old: Sequence[str], new: Sequence[str]) -> list[tuple[Kind, str]]:
    trace = _trace(old, new)
    if trace is None:
        return [*_all("gone", old), *_all("new", new)]
    found: list[tuple[Kind, str]] = []
    x, y = len(old), len(new)
    for d in range(len(trace) - 1, 0, -1):
        furthest, k = trace[d - 1], x - y
        down = k == -d or (k != d and furthest.get(k - 1, -1) < furthest.get(k + 1, -1))
        before = k + 1 if down else k - 1
        from_x = furthest[before]
        from_y = from_x - before
        while x > from_x and y > from_y and x > 0 and y > 0 and (x, y) != (from_x + (not down), from_y + down):
            x, y = x - 1, y - 1
            found.append(("same", old[x]))
        found.append(("new", new[from_y]) if down else ("gone", old[from_x]))
        x, y = from_x, from_y
    found += _all("same", old[:x][::-1])
    return found[::-1]


def _trace(old: Sequence[str], new: Sequence[str]) -> list[dict[int, int]] | None:
    """How far each diagonal is reached with 0, 1, 2, ... differences, to the end; None where there are too many."""
    trace: list[dict[int, int]] = []
    furthest: dict[int, int] = {1: 0}
    for d in range(MOST + 1):
        reached: dict[int, int] = {}
        for k in range(-d, d + 1, 2):
            down = k == -d or (k != d and furthest.get(k - 1, -1) < furthest.get(k + 1, -1))
            x = furthest.get(k + 1, 0) if down else furthest[k - 1] + 1
            x = min(x, len(old) + 1)
            y = x - k
            while x < len(old) and 0 <= y < len(new) and old[x] == new[y]:
                x, y = x + 1, y + 1
            reached[k] = x
            if x >= len(old) and y >= len(new):
                return [*trace, reached]
        trace.append(reached)
        furthest = reached
    return None


def _parts(every: Sequence[tuple[Kind, str]]) -> Iterator[Part]:
    """Neighbours of a kind as one part; what is gone before what is new."""
    run: dict[Kind, list[str]] = {"same": [], "gone": [], "new": []}

    def told() -> Iterator[Part]:
        for kind, words in run.items():
            if words:
                yield Part(kind, "".join(words))
                words.clear()

    for kind, word in every:
        if (kind == "same") != bool(run["same"]) and any(run.values()):
            yield from told()
        run[kind].append(word)
    yield from told()
