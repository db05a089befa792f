"""Whether classes can be told apart without reading: by where documents come from, or by how long they are."""

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

#: A shortcut is worth a warning when it is at most this much less accurate than the classifier ...
NEAR = 0.05
#: ... and at least this much more accurate than always giving the most common label, or makes half as many errors.
GAIN = 0.05
BINS = 16


@dataclass(frozen=True, slots=True)
class Shortcut:
    """How accurate a classifier is on the held-out documents that sees one thing only."""

    name: str
    accuracy: float


def shortcut(
    name: str,
    seen: tuple[Sequence[Hashable], Sequence[str]],
    held_out: tuple[Sequence[Hashable], Sequence[str]],
) -> Shortcut:
    """The accuracy of giving each document the label most common among those seen with the same value.

    Values and labels come in pairs of equal length; of labels equally common the first by name counts, and a value that
    was not seen has the label most common of all.
    """
    by_value: dict[Hashable, Counter[str]] = {}
    for value, label in zip(*seen, strict=True):
        by_value.setdefault(value, Counter())[label] += 1
    usual = _top(Counter(seen[1]))
    known = {value: _top(counts) for value, counts in by_value.items()}
    right = [known.get(value, usual) == label for value, label in zip(*held_out, strict=True)]
    return Shortcut(name, float(np.mean(right)))


def _top(counts: Counter[str]) -> str:
    return min(counts, key=lambda label: (-counts[label], label))


def lengths(seen: Sequence[int], held_out: Sequence[int]) -> tuple[list[int], list[int]]:
    """Lengths as one of 16 bins that hold equally many of the documents seen."""
    edges = np.quantile(np.asarray(seen, np.float64), np.linspace(0, 1, BINS + 1)[1:-1]) if seen else np.zeros(0)
    first, second = (np.searchsorted(edges, np.asarray(values, np.float64)).tolist() for values in (seen, held_out))
    return first, second


def warnings(accuracy: float, usual: float, shortcuts: Sequence[Shortcut]) -> list[str]:
    """A sentence for each shortcut that is nearly as good as the classifier; `usual` is the most common label's share."""
    return [
        f"{s.name} alone tells {s.accuracy:.1%} of the held-out documents apart and the classifier {accuracy:.1%}: it may "
        f"have learned the {s.name} and not the quality, so give every class texts of the same {s.name}s"
        for s in shortcuts
        if s.accuracy >= accuracy - NEAR and s.accuracy >= usual + min(GAIN, (1 - usual) / 2) > usual
    ]
