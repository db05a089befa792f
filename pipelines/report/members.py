"""Members of the largest clusters of a step: how many stayed, and the few that are shown."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.report.tally import FATES
from pipelines.sample import Lowest, Place

#: Members of a cluster that stand side by side.
SHOWN = 4


class _Cluster:
    """One cluster: its fates, the member that stayed, and those with the lowest hashes. Bounded."""

    def __init__(self) -> None:
        self.fates = np.zeros(len(FATES), np.int64)
        self.considered = 0
        self.stays, self.kept, self.any = Lowest(1), Lowest(1), Lowest(SHOWN)

    def places(self) -> list[Place]:
        """The member that stayed, or one that was kept, first; then the others."""
        first = self.stays.places() or self.kept.places()
        return list(dict.fromkeys([*first, *self.any.places()]))[:SHOWN]


class Members:
    """Of each chosen cluster of one step, some members, wherever they are. One pass over narrow columns."""

    def __init__(self, column: str, clusters: list[Any], choice: int | None) -> None:
        self._column = column
        self._stays = None if choice is None else f"choice-{choice}.stays"
        self._clusters = {name: _Cluster() for name in clusters}

    @property
    def columns(self) -> list[str]:
        """Full names of the columns read."""
        return [self._column, "verdict.fate", *([self._stays] if self._stays else [])]

    def add(self, shard: int, table: pa.Table, drawn_N: npt.NDArray[np.uint64]) -> None:
        """Consider the rows of a shard."""
        names = pa.array(list(self._clusters), table[self._column].type)
        code_N = pc.fill_null(pc.index_in(table[self._column], names), -1).to_numpy()
        rows = np.flatnonzero(code_N >= 0)
        if not len(rows):
            return
        fate_N = pc.index_in(table["verdict.fate"], pa.array(FATES)).to_numpy()
        stays_N = considered_N = np.zeros(table.num_rows, bool)
        if self._stays:
            considered_N = pc.is_valid(table[self._stays]).to_numpy()
            same = pc.equal(table[self._stays], table["doc_id"])
            stays_N = pc.fill_null(same, False).to_numpy()  # noqa: FBT003 - Arrow's argument
        for code, cluster in enumerate(self._clusters.values()):
            mine = rows[code_N[rows] == code]
            cluster.fates += np.bincount(fate_N[mine], minlength=len(FATES))
            cluster.considered += int(np.count_nonzero(considered_N[mine]))
            for lowest, wanted in (
                (cluster.stays, mine[stays_N[mine]]),
                (cluster.kept, mine[fate_N[mine] == 0]),
                (cluster.any, mine),
            ):
                lowest.offer(shard, drawn_N[wanted], wanted)

    def places(self, cluster: Any) -> list[Place]:
        """Where the members that are shown are, the one that stayed first."""
        return self._clusters[cluster].places()

    def stays(self, cluster: Any) -> Place | None:
        """Where the member is that the choice let stay; None where no choice was made, or none was left to choose."""
        return next(iter(self._clusters[cluster].stays.places()), None)

    def json(self, cluster: Any) -> dict[str, Any]:
        """What became of all members; `copies` were rejected by the choice, of the `considered` ones."""
        found = self._clusters[cluster]
        by_fate = {fate: int(n) for fate, n in zip(FATES, found.fates, strict=True)}
        return {**by_fate, "considered": found.considered, "copies": max(0, found.considered - 1)}
