"""Corpus stages over some of the documents: `select` sees what the rules keep, `order` what is selected too.

The stage's program runs as it is; at shards, its sites show the chosen rows alone, under their own numbers.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.flow import ShardSite
from pipelines.judging import Judging
from pipelines.shards import batches
from stages.base import CorpusStage
from stages.flow import Exchange, Flow, Place, Work
from stages.rules import BoundPolicy, Thresholds, failing

Mask = NDArray[np.bool_]
KEEP = "verdict.keep"


class Choice(Protocol):
    """Which rows of a shard take part; picklable."""

    def mask(self, site: ShardSite) -> Mask:
        """True for each row that does."""


@dataclass(frozen=True, slots=True)
class PassesRules:
    """What every rule and every choice within clusters keeps. `quarantined` has rows by shard digest."""

    policy: BoundPolicy
    thresholds: Thresholds
    quarantined: Mapping[str, tuple[int, ...]]

    def mask(self, site: ShardSite) -> Mask:
        """See `Choice`."""
        assert site.shard is not None
        choices = tuple(site.sidecars[f"choice-{i}.stays"] for i in range(len(self.policy.one_of)))
        bad = self.quarantined.get(site.shard.digest, ())
        judging = Judging(self.policy, self.thresholds, site.sidecars, bad, choices)
        found = [np.empty(0, bool)]
        for start, batch in judging.read(site.store, site.shard):
            found.append(~failing(judging.statuses(batch)).any(axis=0) & judging.sound(start, batch.num_rows))
        return np.concatenate(found)


@dataclass(frozen=True, slots=True)
class Kept:
    """What the verdict keeps."""

    def mask(self, site: ShardSite) -> Mask:
        """See `Choice`."""
        assert site.shard is not None
        found = batches(site.store, site.shard, [KEEP], site.sidecars)
        return np.concatenate([np.empty(0, bool), *(b[KEEP].to_numpy(zero_copy_only=False) for b in found)])


@dataclass(frozen=True, slots=True)
class Among:
    """A corpus stage as a program over the documents of a choice."""

    stage: CorpusStage
    choice: Choice

    def program(self, flow: Flow) -> None:
        """The stage's own program."""
        self.stage.program(_Narrowed(flow, self.choice))


@dataclass(frozen=True, slots=True)
class _Narrowed:
    """A flow whose shards show some rows."""

    flow: Flow
    choice: Choice

    @property
    def documents(self) -> int:
        """Documents of the corpus: a bound."""
        return self.flow.documents

    @property
    def sites(self) -> Mapping[Place, int]:
        """See `stages.flow.Flow`."""
        return self.flow.sites

    def split(self, partitions: int) -> None:
        """See `stages.flow.Flow`."""
        self.flow.split(partitions)

    def at(self, place: Place, name: str, work: Work, *inputs: Exchange, to: Place) -> Exchange:
        """See `stages.flow.Flow`."""
        return self.flow.at(place, name, self._narrow(work) if place == "shards" else work, *inputs, to=to)

    def settle(self, work: Work, *inputs: Exchange) -> None:
        """See `stages.flow.Flow`."""
        self.flow.settle(self._narrow(work), *inputs)

    def _narrow(self, work: Work) -> Callable[..., Any]:
        return partial(_at_shown, self.choice, work)


def _at_shown(choice: Choice, work: Work, site: ShardSite, *tables: pa.Table) -> Any:
    return work(_ShownSite(site, choice), *tables)


@dataclass(frozen=True, slots=True)
class _ShownSite:
    """A shard of which some rows are shown."""

    site: ShardSite
    choice: Choice

    @property
    def place(self) -> Place:
        """See `stages.flow.Site`."""
        return self.site.place

    @property
    def number(self) -> int:
        """See `stages.flow.Site`."""
        return self.site.number

    @property
    def sites(self) -> Mapping[Place, int]:
        """See `stages.flow.Site`."""
        return self.site.sites

    def columns(self, *names: str) -> pa.Table:
        """See `stages.flow.Site`; the rows of the choice."""
        return self.site.columns(*names).filter(pa.array(self.choice.mask(self.site)))

    def texts(self, column: str, rows: NDArray[np.int64]) -> Iterator[pa.RecordBatch]:
        """See `stages.flow.Site`."""
        return self.site.texts(column, rows)
