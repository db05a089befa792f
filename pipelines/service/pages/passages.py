"""Texts cut where something in them begins or ends, so that a template can mark it. Spans are in bytes, as steps give them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

#: Characters of a text that are shown, and spans that are marked in it.
SHOWN, MOST = 50_000, 2_000


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text, and what is said of it."""

    text: str
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Marked:
    """The beginning of a text in passages; how many characters follow, and how many spans there are in all."""

    passages: tuple[Passage, ...]
    left: int
    spans: int


def marked(text: str, spans: Iterable[tuple[Mapping[str, Any], str]], characters: int = SHOWN) -> Marked:
    """The text with spans (`begin` and `end` in bytes), each with what is said of it; they may overlap."""
    every = list(spans)
    data = text[:characters].encode()
    edges: dict[int, list[tuple[int, str]]] = {0: [], len(data): []}
    for span, mark in every[:MOST]:
        begin, end = max(0, span["begin"]), min(span["end"], len(data))
        if begin < end:
            edges.setdefault(begin, []).append((1, mark))
            edges.setdefault(end, []).append((-1, mark))
    found: list[Passage] = []
    now: dict[str, int] = {}
    places = sorted(edges)
    for place, after in zip(places, [*places[1:], len(data)], strict=True):
        for step, mark in edges[place]:
            now[mark] = now.get(mark, 0) + step
        if place < after:
            marks = tuple(m for m, n in now.items() if n > 0)
            found.append(Passage(data[place:after].decode("utf-8", "replace"), marks))
    return Marked(tuple(found), max(0, len(text) - characters), len(every))
