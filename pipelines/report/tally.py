"""Counts of documents and bytes: by reason, by rule file, by source, by language, and the flow between them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]

FATES = ("kept", "rejected", "quarantined")
#: A source or language beyond this many different ones is counted under OTHER, so that a table stays bounded.
MOST_GROUPS = 2000
OTHER = "(others)"
UNKNOWN = "(unknown)"
SEVERAL = "several of these"


def group_of(reason: str) -> str:
    """The rule file of a reason, or the reason itself: 'c4/no-terminal-mark' -> 'c4'."""
    return reason.partition("/")[0]


@dataclass(slots=True)
class ByGroup:
    """Documents and text bytes by (value of a column, fate)."""

    counts: dict[str, Ints] = field(default_factory=dict)

    def add(self, values: pa.ChunkedArray, fates_N: Ints, bytes_N: Ints) -> None:
        """Count the rows of a shard."""
        coded = pc.fill_null(values, UNKNOWN).combine_chunks().dictionary_encode()
        codes_N = coded.indices.to_numpy()
        groups = len(coded.dictionary)
        place_N = codes_N * len(FATES) + fates_N
        documents = _sums(place_N, None, groups * len(FATES)).reshape(groups, -1)
        nbytes = _sums(place_N, bytes_N, groups * len(FATES)).reshape(groups, -1)
        for name, row in zip(coded.dictionary.to_pylist(), np.stack([documents, nbytes], axis=1), strict=True):
            known = name in self.counts or len(self.counts) < MOST_GROUPS
            self._slot(name if known else OTHER)[...] += row

    def add_quarantined(self, values: pa.ChunkedArray) -> None:
        """Count records that never became documents."""
        for pair in pc.value_counts(pc.fill_null(values, UNKNOWN)).to_pylist():
            self._slot(pair["values"])[0, FATES.index("quarantined")] += pair["counts"]

    def json(self) -> list[dict[str, Any]]:
        """Rows of a table, the largest group first."""
        rows = []
        for name, (documents, nbytes) in self.counts.items():
            by_fate = {fate: int(n) for fate, n in zip(FATES, documents, strict=True)}
            kept = int(nbytes[0])
            rows.append(
                {
                    "name": name,
                    "documents": sum(by_fate.values()),
                    **by_fate,
                    "bytes": int(nbytes.sum()),
                    "bytes_kept": kept,
                }
            )
        return sorted(rows, key=lambda r: (-r["documents"], r["name"]))

    def _slot(self, name: str) -> Ints:
        return self.counts.setdefault(name, np.zeros((2, len(FATES)), np.int64))


class Reasons:
    """Documents and text bytes by reason: having it at all, and having only it. One group is one rule file.

    `first` counts a document under the first group, in the order of the policy, that rejects it: the steps of a funnel.
    """

    def __init__(self, reasons: Sequence[str]) -> None:
        self.names = list(reasons)
        self.groups = list(dict.fromkeys(group_of(r) for r in reasons))
        self._group_of_R = np.array([self.groups.index(group_of(r)) for r in reasons], np.int64)
        self._reason = np.zeros((4, len(self.names)), np.int64)  # any, only, bytes of any, bytes of only
        self._group = np.zeros((4, len(self.groups)), np.int64)
        self._first = np.zeros((2, len(self.groups)), np.int64)  # documents, bytes by the first group that fails
        self.several = np.zeros(2, np.int64)  # documents, bytes of documents that fail several groups
        self.flow: dict[tuple[str, str], int] = {}  # (source, the only group or SEVERAL) -> documents

    def add(self, reasons: pa.ChunkedArray, bytes_N: Ints, sources: pa.ChunkedArray) -> None:
        """Count the rows of a shard."""
        lists = reasons.combine_chunks() if isinstance(reasons, pa.ChunkedArray) else reasons
        rows_V = pc.list_parent_indices(lists).to_numpy().astype(np.int64)
        codes = pc.index_in(lists.flatten(), pa.array(self.names, pa.string()))
        if codes.null_count:
            unknown = lists.flatten().filter(pc.is_null(codes))[0].as_py()
            assert not codes.null_count, f"the verdict gives the reason {unknown!r}, which no rule of the run has"
        codes_V = codes.to_numpy().astype(np.int64)
        n = len(lists)
        alone_V = np.bincount(rows_V, minlength=n)[rows_V] == 1
        _count(self._reason, codes_V, alone_V, bytes_N[rows_V])
        pairs = np.unique(rows_V * len(self.groups) + self._group_of_R[codes_V]) if self.groups else rows_V
        row_P, group_P = np.divmod(pairs, max(1, len(self.groups)))
        alone_P = np.bincount(row_P, minlength=n)[row_P] == 1
        _count(self._group, group_P, alone_P, bytes_N[row_P])
        first_row, first_place = np.unique(row_P, return_index=True)
        self._first[0] += _sums(group_P[first_place], None, len(self.groups))
        self._first[1] += _sums(group_P[first_place], bytes_N[first_row], len(self.groups))
        several = np.unique(row_P[~alone_P])
        self.several += [len(several), int(bytes_N[several].sum())]
        self._add_flow(sources, row_P[alone_P], group_P[alone_P], several)

    def json(self) -> dict[str, Any]:
        """Reasons in the order of the rules, groups likewise."""
        keys = ("documents", "only", "bytes", "only_bytes")
        reasons = [
            {"reason": name, "group": group_of(name), **dict(zip(keys, map(int, column), strict=True))}
            for name, column in zip(self.names, self._reason.T, strict=True)
        ]
        groups = [
            {"group": name, **dict(zip((*keys, "first", "first_bytes"), map(int, column), strict=True))}
            for name, column in zip(self.groups, np.concatenate([self._group, self._first]).T, strict=True)
        ]
        several = {"documents": int(self.several[0]), "bytes": int(self.several[1])}
        return {"reasons": reasons, "groups": groups, "several_groups": several}

    def _add_flow(self, sources: pa.ChunkedArray, rows: Ints, groups: Ints, several: Ints) -> None:
        names = [*self.groups, SEVERAL]
        place = np.concatenate([groups, np.full(len(several), len(self.groups))])
        coded = sources.combine_chunks().dictionary_encode()
        source = coded.indices.to_numpy()[np.concatenate([rows, several])]
        counts = np.bincount(source * len(names) + place, minlength=len(coded.dictionary) * len(names))
        for i in np.flatnonzero(counts):
            key = str(coded.dictionary[int(i) // len(names)]), names[int(i) % len(names)]
            if key[0] not in {k[0] for k in self.flow} and len(self.flow) >= MOST_GROUPS * len(names):
                key = OTHER, key[1]
            self.flow[key] = self.flow.get(key, 0) + int(counts[i])


def _count(into: Ints, codes_V: Ints, alone_V: npt.NDArray[np.bool_], bytes_V: Ints) -> None:
    width = into.shape[1]
    into[0] += _sums(codes_V, None, width)
    into[1] += _sums(codes_V[alone_V], None, width)
    into[2] += _sums(codes_V, bytes_V, width)
    into[3] += _sums(codes_V[alone_V], bytes_V[alone_V], width)


def _sums(codes: Ints, weights: Ints | None, width: int) -> Ints:
    """Sums by code; exact, because a shard's bytes are far below 2^53."""
    return np.bincount(codes, weights=weights, minlength=width).astype(np.int64)
