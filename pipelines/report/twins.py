"""Documents that are alike, side by side: members of the largest clusters, and pairs near the threshold.

Bounded: the ten largest clusters with a few members each, and a few pairs; texts are read of these alone.
"""

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.sample import Place

MEMBERS = 4
NEAR_MISSES = 6
#: Characters of each text that are shown and compared.
CHARACTERS = 900
#: Words in a row that two texts must share to be marked.
SHARED_WORDS = 3
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\u0e00-\u0eff]|\w+")
SIMILARITIES = ("jaccard", "cosine")

Mask = npt.NDArray[np.bool_]


class NearMisses:
    """The pairs of documents whose similarity is nearest to the threshold, from either side."""

    def __init__(self, step: str, leaf: str, threshold: float) -> None:
        self.column, self.nearest, self.threshold = f"{step}.{leaf}", f"{step}.nearest", threshold
        self._found: dict[tuple[str, str], tuple[float, str, Place, float]] = {}

    @property
    def columns(self) -> tuple[str, str]:
        """Full names of the columns read."""
        return self.column, self.nearest

    def add(self, shard: int, table: pa.Table) -> None:
        """Consider the rows of a shard."""
        rows = np.flatnonzero(pc.and_(pc.is_valid(table[self.column]), pc.is_valid(table[self.nearest])).to_numpy())
        values = table[self.column].to_numpy()[rows]
        distance = np.abs(values - self.threshold)
        most = max((d for d, _, _, _ in self._found.values()), default=np.inf)
        floor = most if len(self._found) >= NEAR_MISSES else np.inf
        order = np.argsort(distance, kind="stable")[: 4 * NEAR_MISSES]
        for i in order[distance[order] <= floor].tolist():
            row = int(rows[i])
            own, other = table["doc_id"][row].as_py(), table[self.nearest][row].as_py()
            pair = (min(own, other), max(own, other))
            entry = (float(distance[i]), own, Place(shard, row), float(values[i]))
            self._found[pair] = min(self._found.get(pair, entry), entry, key=lambda e: e[:2])
        best = sorted(self._found.items(), key=lambda item: (item[1][0], item[0]))[:NEAR_MISSES]
        self._found = dict(best)

    def places(self) -> list[Place]:
        """One document of each pair."""
        return [place for _, _, place, _ in self._found.values()]

    def wanted(self) -> set[str]:
        """The `doc_id` of the other document of each pair."""
        return {a if own == b else b for (a, b), (_, own, _, _) in self._found.items()}

    def json(self, members: dict[Place, dict[str, Any]], others: dict[str, Place]) -> list[dict[str, Any]]:
        """The pairs by similarity, with what they share marked."""
        pairs = []
        for (a, b), (_, own, place, value) in self._found.items():
            other = others.get(a if own == b else b)
            if other is None:
                continue
            texts = side_by_side([members[place], members[other]])
            pairs.append({"similarity": value, "above": value >= self.threshold, "documents": texts})
        return sorted(pairs, key=lambda p: p["similarity"])


class Members:
    """A few members of each of the chosen clusters: who stayed first, then by `doc_id`."""

    def __init__(self, step: str, clusters: list[Any]) -> None:
        self.column = f"{step}.cluster"
        self._chosen: dict[Any, list[tuple[bool, str, Place]]] = {c: [] for c in clusters}

    def add(self, shard: int, table: pa.Table, kept_N: Mask) -> None:
        """Consider the rows of a shard."""
        wanted = pa.array(list(self._chosen), table[self.column].type)
        for row in np.flatnonzero(pc.is_in(table[self.column], wanted).to_numpy(zero_copy_only=False)).tolist():
            some = self._chosen[table[self.column][row].as_py()]
            some.append((not kept_N[row], table["doc_id"][row].as_py(), Place(shard, row)))
            if len(some) > 64 * MEMBERS:
                some[:] = sorted(some, key=lambda m: m[:2])[:MEMBERS]

    def places(self, cluster: Any) -> list[Place]:
        """Where the members of a cluster are."""
        return [place for _, _, place in sorted(self._chosen[cluster], key=lambda m: m[:2])[:MEMBERS]]


def side_by_side(documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The documents, each text as pieces that the first shares with it or not; the first as it shares with any."""
    texts = [(d["text"] or "")[:CHARACTERS] for d in documents]
    grams = [_grams(text) for text in texts]
    shown = []
    for i, (document, text) in enumerate(zip(documents, texts, strict=True)):
        others = set().union(*(set(g) for k, g in enumerate(grams) if k != i)) if i == 0 else set(grams[0])
        cut = (document["text_characters"] or 0) > len(text)
        shown.append(
            {
                **{k: v for k, v in document.items() if k != "text"},
                "pieces": _pieces(text, grams[i], others),
                "cut": cut,
            }
        )
    return shown


def _grams(text: str) -> dict[tuple[str, ...], list[tuple[int, int]]]:
    """Every run of a few words, in lower case, with the places where it stands."""
    words = [(m.group().lower(), m.start(), m.end()) for m in _WORD.finditer(text)]
    size = min(SHARED_WORDS, len(words))
    found: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for i in range(len(words) - size + 1 if size else 0):
        some = words[i : i + size]
        found.setdefault(tuple(w for w, _, _ in some), []).append((some[0][1], some[-1][2]))
    return found


def _pieces(
    text: str, grams: dict[tuple[str, ...], list[tuple[int, int]]], others: set[tuple[str, ...]]
) -> list[dict[str, Any]]:
    """The text cut where what is shared begins and ends."""
    shared = sorted(span for gram, spans in grams.items() if gram in others for span in spans)
    joined: list[list[int]] = []
    for begin, end in shared:
        if joined and begin <= joined[-1][1] + 1:
            joined[-1][1] = max(end, joined[-1][1])
        else:
            joined.append([begin, end])
    pieces, at = [], 0
    for begin, end in joined:
        pieces += [{"text": text[at:begin], "shared": False}, {"text": text[begin:end], "shared": True}]
        at = end
    pieces.append({"text": text[at:], "shared": False})
    return [p for p in pieces if p["text"]]
