"""What tests of selection and order are made of: tables of made-up documents, and flows that see some of the rows only."""

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from stages.base import CorpusStage
from stages.flow import Exchange, MemoryFlow, Place, Site, Work


def doc_ids(n: int) -> list[str]:
    return [hashlib.blake2b(str(i).encode(), digest_size=16).hexdigest() for i in range(n)]


def table_of(**columns: Any) -> pa.Table:
    """Documents with these columns."""
    first = next(iter(columns.values()))
    return pa.table({"doc_id": pa.array(doc_ids(len(first)), pa.string()), **columns})


@dataclass(frozen=True)
class KeptSite:
    """A shard as `select:` sees it: rows whose `kept` is false are not there."""

    inner: Site

    @property
    def place(self) -> Place:
        return self.inner.place

    @property
    def number(self) -> int:
        return self.inner.number

    @property
    def sites(self) -> Mapping[Place, int]:
        return self.inner.sites

    def columns(self, *names: str) -> pa.Table:
        table = self.inner.columns(*names, "kept")
        return table.filter(table["kept"]).drop_columns(["kept"])


class KeptFlow(MemoryFlow):
    """Runs a program over the kept rows."""

    def at(self, place: Place, name: str, work: Work, *inputs: Exchange, to: Place) -> Exchange:
        return super().at(place, name, self._seen(place, work), *inputs, to=to)

    def settle(self, work: Work, *inputs: Exchange) -> None:
        super().settle(self._seen("shards", work), *inputs)

    def _seen(self, place: Place, work: Work) -> Work:
        if place != "shards":
            return work
        return lambda site, *tables: work(KeptSite(site), *tables)


def shards_of(table: pa.Table, cuts: Sequence[int] = ()) -> list[pa.Table]:
    """The table cut at these rows."""
    bounds = [0, *sorted(cuts), table.num_rows]
    return [table.slice(a, b - a) for a, b in itertools.pairwise(bounds)]


def run(
    stage: CorpusStage, table: pa.Table, cuts: Sequence[int] = (), partitions: int = 3
) -> tuple[dict[str, dict[str, Any]], dict[str, int]]:
    """The stage's values by `doc_id`, and its counts; `kept`, where there is such a column, says which rows it sees."""
    cls = KeptFlow if "kept" in table.column_names else MemoryFlow
    flow = cls(shards_of(table, cuts), partitions)
    stage.program(flow)
    ids = table["doc_id"].to_pylist()
    return dict(zip(ids, flow.answer().to_pylist(), strict=True)), flow.counts
