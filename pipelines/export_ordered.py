"""Writing kept documents in the order that the spec's `order` gives them, wherever they lie.

Two shuffles. Places: each document's file follows from the bytes before it, found by ranges of positions. Texts: every
shard sends the rows of each file to it, and a file puts its rows in order. The driver holds a number a file.
Bound: the text of one shard, or of one file.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.execute import Execution
from pipelines.export_columns import Columns
from pipelines.flow import Related, ShardSite, StoreFlow, read_pieces
from pipelines.shards import Sidecars, batches
from pipelines.store import Store
from stages.base import column
from stages.fingerprint import key
from stages.flow import TO, Flow, Site, arrived, partitions_for, place_of, row_of, shard_of

KEEP, SIZE, POSITION, FILE = "verdict.keep", "verdict.text_bytes", "order.position", "placing.file"
#: What an ordered export reads beside what every export reads.
ORDERED = (POSITION,)
#: Documents of one range of positions.
RANGE_ROWS = 1_000_000
#: Documents that are handed to a sink together.
BATCH_ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Placing:
    """The number of the file that each kept document goes to: the bytes before it over `shard_bytes`."""

    schema: ClassVar[pa.Schema] = pa.schema([column("file", pa.int64(), "number", doc="of the export")])

    documents: int
    shard_bytes: int

    def program(self, flow: Flow) -> None:
        """Sizes by position, the bytes before each range of positions, and home."""
        flow.split(partitions_for(self.documents, RANGE_ROWS))
        sent = flow.at("shards", "sizes", self.sizes, to="partitions")
        sums = flow.at("partitions", "sums", self.sums, sent, to="one")
        before = flow.at("one", "before", self.before, sums, to="partitions")
        files = flow.at("partitions", "files", self.files, sent, before, to="shards")
        flow.settle(arrived, files)

    def sizes(self, site: Site) -> pa.Table:
        """Position, size and place of every kept document."""
        rows = site.columns(KEEP, SIZE, POSITION)
        rows = rows.filter(rows[KEEP])
        position = rows[POSITION].to_numpy()
        to = position * site.sites["partitions"] // max(1, self.documents)
        place = place_of(site.number, rows["row"].to_numpy())
        return pa.table({TO: to, "position": position, "size": rows[SIZE].fill_null(0), "place": place})

    def sums(self, site: Site, rows: pa.Table) -> pa.Table:
        """The bytes of a range."""
        return pa.table({TO: [0], "range": [site.number], "bytes": [pc.sum(rows["size"]).as_py() or 0]})

    def before(self, site: Site, sums: pa.Table) -> pa.Table:
        """The bytes before each range."""
        del site
        sums = sums.sort_by("range")
        size = sums["bytes"].to_numpy()
        return pa.table({TO: sums["range"].to_numpy(), "before": np.cumsum(size) - size})

    def files(self, site: Site, rows: pa.Table, before: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """Each document's file; counts say which files there are."""
        del site
        rows = rows.sort_by("position")
        size, place = rows["size"].to_numpy(), rows["place"].to_numpy()
        number = (before["before"][0].as_py() + np.cumsum(size) - size) // self.shard_bytes
        answer = pa.table({TO: shard_of(place), "row": row_of(place), "file": number})
        numbers, documents = np.unique(number, return_counts=True)
        return answer, dict(zip(map(str, numbers.tolist()), documents.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Texts:
    """The kept documents of a shard, each to its file; `numbers` are the files that have documents, sorted."""

    columns: Columns
    numbers: tuple[int, ...]

    def program(self, flow: Flow) -> None:
        """Nothing to settle: files read what was sent."""

    def send(self, site: ShardSite) -> pa.Table:
        """Every kept row with its position."""
        assert site.shard is not None
        wanted = list(dict.fromkeys([*self.columns.read, KEEP, POSITION, FILE]))
        schema = self.columns.schema.append(pa.field(POSITION, pa.int64())).append(pa.field(TO, pa.int64()))
        parts = [schema.empty_table()]
        for batch in batches(site.store, site.shard, wanted, site.sidecars):
            kept = batch.filter(batch[KEEP])
            to = np.searchsorted(np.array(self.numbers, np.int64), kept[FILE].to_numpy())
            columns = [*self.columns.batch(kept).columns, kept[POSITION], pa.array(to.astype(np.int64))]
            parts.append(pa.Table.from_arrays(columns, schema=schema))
        return pa.concat_tables(parts)


@dataclass(frozen=True, slots=True)
class OrderedFile:
    """The rows of one of `files` files, from what every shard sent to it."""

    store: Store
    paths: tuple[str, ...]
    number: int
    files: int

    def rows(self, columns: Columns) -> Iterator[pa.RecordBatch]:
        """See `pipelines.export_file.Rows`."""
        table = read_pieces(self.store, self.paths, self.number, self.files)
        order = pc.sort_indices(table[POSITION])
        for start in range(0, len(order), BATCH_ROWS):
            some = table.take(order.slice(start, BATCH_ROWS)).select(columns.schema.names)
            yield some.combine_chunks().to_batches()[0]


class OrderedTexts:
    """The texts of an export on their way to its files; what they were sent in is deleted when the files are written."""

    def __init__(
        self, execution: Execution, sidecars: Mapping[str, Sidecars], columns: Columns, shard_bytes: int
    ) -> None:
        self._execution, self._sidecars, self._columns = execution, sidecars, columns
        self._shard_bytes = shard_bytes
        self._sent: StoreFlow | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None and self._sent is not None:
            self._execution.sweep(self._sent.addresses)

    def files(self, documents: int) -> list[OrderedFile]:
        """The files that have documents, in order."""
        if not documents:
            return []
        execution = self._execution
        inputs = key([documents, {d: dict(paths) for d, paths in self._sidecars.items()}])
        placing = Placing(documents, self._shard_bytes)
        folder = f"steps/placing-{key([self._shard_bytes])}"
        execution.relate(Related("placing", folder, inputs, placing, Placing.schema, self._sidecars))
        numbers = tuple(sorted(map(int, execution.results.notes["placing"]["counts"])))
        paths = {
            s.digest: {**self._sidecars[s.digest], **execution.results.sidecars(s, [FILE])} for s in execution.shards
        }
        texts = Texts(self._columns, numbers)
        folder = f"steps/texts-{key([self._shard_bytes, self._columns.read])}"
        self._sent = execution.flow(Related("texts", folder, inputs, texts, pa.schema([]), paths))
        self._sent.split(len(numbers))
        sent = self._sent.at("shards", "texts", texts.send, to="partitions")
        return [OrderedFile(execution.store, sent.content, n, len(numbers)) for n in range(len(numbers))]
