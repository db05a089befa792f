"""What a report says of one step that relates documents: clusters, members, pairs near the threshold, or matches."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.duplicate_steps import DuplicateStep
from pipelines.report.cards import cards, side_by_side
from pipelines.report.clusters import Clusters
from pipelines.report.matches import Matches
from pipelines.report.members import Members
from pipelines.report.memberships import Memberships
from pipelines.report.near_misses import NearMisses, Pair
from pipelines.report.rules import RuleCounts
from pipelines.report.shared_spans import COMPARED
from pipelines.sample import Place
from pipelines.view import RunView
from stages.rules import FIRST, LONGEST

Cards = dict[Place, dict[str, Any]]


class StepReport:
    """One step that relates documents, over all passes. Bounded, as every part of it is."""

    def __init__(self, view: RunView, step: DuplicateStep, rules: RuleCounts) -> None:
        self._view, self._step = view, step
        self.clusters = Clusters(step.name) if step.clustered else None
        self.similarity = step.column(step.similarity) if step.similarity else None
        self._matches = None if step.clustered else Memberships(step) if step.bloom else Matches(step)
        ruled = rules.thresholds(self.similarity) if self.similarity else []
        threshold = step.threshold if step.threshold is not None else ruled[0] if ruled else None
        near = self.similarity and step.clustered and step.column("nearest") in view.fields
        self._misses = NearMisses(step, threshold) if near and threshold is not None else None
        own = [i for i, c in enumerate(view.policy.one_of) if c.cluster == step.column("cluster")]
        self._choice = own[-1] if own else None
        self.others: dict[str, Place] = {}
        self._members: Members | None = None

    @property
    def columns(self) -> list[str]:
        """Full names of the columns that the first pass reads."""
        parts = [part for part in (self.clusters, self._misses, self._matches) if part is not None]
        return [c for part in parts for c in part.columns]

    @property
    def mark(self) -> dict[str, Any] | None:
        """The step's own threshold, as a histogram marks it."""
        if self._step.threshold is None:
            return None
        return {
            "reason": "linked",
            "test": "gt" if self._step.strict else "ge",
            "written": self._step.threshold,
            "per": None,
            "where": {},
            "resolved": [{"group": None, "value": self._step.threshold}],
            "links": True,
        }

    def add(self, shard: int, table: pa.Table, fates_N: npt.NDArray[np.int64], drawn_N: npt.NDArray[np.uint64]) -> None:
        """Count and consider the rows of a shard."""
        if self.clusters:
            self.clusters.add(table, fates_N == 0)
        if self._misses:
            self._misses.add(shard, table, drawn_N)
        if self._matches:
            self._matches.add(shard, table, fates_N, drawn_N)

    def pairs(self) -> list[Pair]:
        """The pairs around the threshold."""
        return self._misses.pairs() if self._misses else []

    def search(self) -> Members:
        """What finds the members of the largest clusters."""
        assert self.clusters is not None
        self._members = Members(self._step.column("cluster"), list(self.clusters.largest()), self._choice)
        return self._members

    def json(self) -> dict[str, Any]:
        """Everything that the report says of the step."""
        about = self._step.json()
        if self._matches:
            found = cards(self._view, self._matches.places(), self._step.text, self._matches.columns, COMPARED)
            return {**about, **self._matches.json(found)}
        assert self.clusters is not None
        found = self._cards()
        choice = None if self._choice is None else self._view.policy.one_of[self._choice]
        return {
            **about,
            **self.clusters.json(),
            "choice": choice and {"reason": choice.reason, "by": choice.by, "order": choice.order, "cite": choice.cite},
            "largest": [self._cluster(name, size, found) for name, size in self.clusters.largest().items()],
            "near_misses": [self._pair(pair, found) for pair in self.pairs() if pair.nearest in self.others],
        }

    @property
    def _by(self) -> str | None:
        """The column that decided who stays; None where it was a document's place in the corpus, or nothing."""
        by = None if self._choice is None else self._view.policy.one_of[self._choice].by
        if by in {None, FIRST}:
            return None
        return "verdict.text_bytes" if by == LONGEST else by

    def _cards(self) -> Cards:
        """The documents of clusters and pairs, with the few values that are told of each."""
        assert self.clusters is not None
        assert self._members is not None
        places = [place for name in self.clusters.largest() for place in self._members.places(name)]
        places += [pair.place for pair in self.pairs()] + list(self.others.values())
        cluster = self._step.column("cluster")
        columns = [c for c in (self._by, self._step.signature, self.similarity, cluster) if c]
        found = cards(self._view, places, self._step.text, columns, COMPARED)
        for card in found.values():
            values = card.pop("values")
            card["by"] = values[self._by] if self._by else None
            card["similarity"] = values[self.similarity] if self.similarity else None
            card["cluster"] = values[cluster]
            card["sketch"] = values[self._step.signature] if self._step.signature else None
        return found

    def _cluster(self, name: Any, size: int, found: Cards) -> dict[str, Any]:
        assert self._members is not None
        places, stays = self._members.places(name), self._members.stays(name)
        shown = side_by_side([found[place] for place in places], self._step.ngram)
        first = shown[0]["sketch"]
        for place, card in zip(places, shown, strict=True):
            card["stays"] = place == stays
            card["to_first"] = estimate(first, card.pop("sketch"))
        about = {k: v for k, v in shown[0].items() if k != "pieces"} | {"text": shown[0]["begins"]}
        return {"cluster": str(name), "size": size, **self._members.json(name), "member": about, "members": shown}

    def _pair(self, pair: Pair, found: Cards) -> dict[str, Any]:
        assert self._misses is not None
        both = [found[pair.place], found[self.others[pair.nearest]]]
        shown = side_by_side(both, self._step.ngram)
        for card in shown:
            del card["sketch"]
        return {
            "similarity": pair.similarity,
            "above": self._misses.above(pair.similarity),
            "linked": both[0]["cluster"] == both[1]["cluster"],
            "documents": shown,
        }


def estimate(a: bytes | None, b: bytes | None) -> float | None:
    """The share of equal values of two MinHash signatures, which estimates the Jaccard index; None without one."""
    if a is None or b is None:
        return None
    return float(np.mean(np.frombuffer(a, "<u4") == np.frombuffer(b, "<u4")))
