"""Two runs side by side, document by document: who is kept in one and not in the other, and why. Told apart by doc_id.

    pairs/gained.npy   places (row of the first run or -1, row of the second) kept in the second alone, by doc_id
    pairs/lost.npy     the same of those kept in the first alone
    pairs.json         how many there are of each pair of fates, and the reasons that let them go

Both runs' ids are read in their order and merged, `CHUNK` of the first at a time, so memory does not grow with the runs.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sample import FATES
from pipelines.service.explorer.arrays import KEPT, Arrays
from pipelines.service.explorer.parts import CHUNK, array_at, find_json, publish, write_json

READY = "pairs.json"
#: The fate of a document that a run does not have.
ABSENT = len(FATES)
WORDS = (*FATES, "absent")
#: A doc_id as two numbers that sort as its bytes do.
Ids = NDArray[np.uint64]
Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """What differs between two runs."""

    fates: Mapping[str, Mapping[str, int]]  # documents by their fate in the first run, then in the second
    reasons: Mapping[str, Mapping[str, int]]  # of the lost in the second run, of the gained in the first
    gained: NDArray[np.int64]  # (M, 2)
    lost: NDArray[np.int64]

    @classmethod
    def open(cls, one: Arrays, other: Arrays, folder: Path) -> "Pairs":
        """The pairs of two runs, made in `folder` where they are not there.

        Raises:
            StorageError: the disk does not take them.
        """
        place = folder / f"{one.view.run}+{other.view.run}"
        found = None
        while found is None:  # unless it was deleted, as what nobody asks for is, between the two
            publish(place, lambda made: _write(one, other, made), lambda: _ready(place, one, other))
            found = find_json(place / READY)
        gained, lost = (array_at(place / f"{n}.npy") for n in ("gained", "lost"))
        return cls(found["fates"], found["reasons"], gained, lost)


def _ready(place: Path, one: Arrays, other: Arrays) -> bool:
    found = find_json(place / READY)
    return found is not None and found["content"] == _content(one, other)


def _content(one: Arrays, other: Arrays) -> list[Any]:
    return [[a.meta["content"], a.meta["format"], a.rows] for a in (one, other)]


def _write(one: Arrays, other: Arrays, folder: Path) -> None:
    counts = np.zeros((len(WORDS), len(WORDS)), np.int64)
    reasons = {"gained": Counter[str](), "lost": Counter[str]()}
    kept: dict[str, list[NDArray[np.int64]]] = {"gained": [], "lost": []}
    for rows in _met(one, other):
        mine, theirs = _fates(one, rows[:, 0]), _fates(other, rows[:, 1])
        counts += np.bincount(mine * len(WORDS) + theirs, minlength=counts.size).reshape(counts.shape)
        for name, which, where, who in (
            ("gained", (theirs == KEPT) & (mine != KEPT), 0, one),
            ("lost", (mine == KEPT) & (theirs != KEPT), 1, other),
        ):
            kept[name].append(rows[which])
            reasons[name].update(_reasons(who, rows[which, where]))
    for name, found in kept.items():
        np.save(folder / f"{name}.npy", np.concatenate([*found, np.empty((0, 2), np.int64)]))
    fates = {a: {b: int(counts[i, j]) for j, b in enumerate(WORDS)} for i, a in enumerate(WORDS)}
    told = {n: dict(c.most_common()) for n, c in reasons.items()}
    write_json(folder / READY, {"fates": fates, "reasons": told, "content": _content(one, other)})


def _met(one: Arrays, other: Arrays) -> Iterator[NDArray[np.int64]]:
    """Rows of the two runs in the order of the ids, -1 where a run has no such document."""
    mine, theirs = (array_at(a.folder / "found.npy") for a in (one, other))
    begin = 0
    for a in range(0, max(len(mine), 1), CHUNK):
        some = np.asarray(mine[a : a + CHUNK], np.int64)
        last = a + CHUNK >= len(mine)
        end = len(theirs) if last else _after(other, theirs, one.doc_ids[some[-1]].tobytes())
        for b in range(begin, max(end, begin + 1), CHUNK):  # what the other has between, a part at a time
            part = np.asarray(theirs[b : min(b + CHUNK, end)], np.int64)
            if b + CHUNK >= end:
                yield _joined(one, some, other, part)
            else:
                limit = other.doc_ids[part[-1]].tobytes()
                cut = _after(one, some, limit)
                yield _joined(one, some[:cut], other, part)
                some = some[cut:]
        begin = end


def _after(arrays: Arrays, order: NDArray[Any], doc_id: bytes) -> int:
    """How many of the documents in the order of their ids are not after a doc_id."""
    low, high = 0, len(order)
    while low < high:
        middle = (low + high) // 2
        if arrays.doc_ids[order[middle]].tobytes() <= doc_id:
            low = middle + 1
        else:
            high = middle
    return low


def _joined(one: Arrays, mine: Rows, other: Arrays, theirs: Rows) -> NDArray[np.int64]:
    ids = np.concatenate([_ids(one, mine), _ids(other, theirs)])
    pairs = np.full((len(ids), 2), -1, np.int64)
    pairs[: len(mine), 0], pairs[len(mine) :, 1] = mine, theirs
    order = np.lexsort((ids[:, 1], ids[:, 0]))
    ids, pairs = ids[order], pairs[order]
    twice = np.flatnonzero((ids[1:] == ids[:-1]).all(axis=1))  # a run has an id once
    pairs[twice] = np.maximum(pairs[twice], pairs[twice + 1])
    found: NDArray[np.int64] = np.delete(pairs, twice + 1, axis=0)
    return found


def _ids(arrays: Arrays, rows: Rows) -> Ids:
    found: Ids = np.ascontiguousarray(arrays.doc_ids[rows]).view(">u8").reshape(-1, 2).astype(np.uint64)
    return found


def _fates(arrays: Arrays, rows: Rows) -> NDArray[np.int64]:
    if not arrays.rows:
        return np.full(len(rows), ABSENT, np.int64)
    return np.where(rows < 0, ABSENT, arrays.fate[np.maximum(rows, 0)]).astype(np.int64)


def _reasons(arrays: Arrays, rows: Rows) -> dict[str, int]:
    """How often each reason is against these documents; who is in no rule's way is absent or quarantined."""
    there = rows[rows >= 0]
    found = {"absent": int(np.count_nonzero(rows < 0))}
    found["quarantined"] = int(np.count_nonzero(_fates(arrays, there) == FATES.index("quarantined")))
    for reason in arrays.reasons:
        word, bit = arrays.bit(reason)
        name = reason if reason not in found else f"rule {reason}"
        found[name] = int(np.count_nonzero(arrays.words[word][there] & bit)) if len(there) else 0
    return {reason: n for reason, n in found.items() if n}
