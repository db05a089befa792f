"""Passages that occur more than once in the corpus, byte for byte."""

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from stages.base import Column, CorpusStage, RowStage, column
from stages.corpus import substring_tables as tables
from stages.flow import Flow, Site, partitions_for
from stages.text.fingerprints import Fingerprints

Ints = NDArray[np.int64]
#: Passages (about 200 bytes each) that one partition is meant to hold.
PASSAGES = 250_000
SPANS = pa.list_(pa.struct([("begin", pa.int64()), ("end", pa.int64())]))


class SubstringDuplicates(CorpusStage):
    """Bytes of each text that lie in a passage of at least `min_bytes` bytes which occurs earlier in the corpus.

    Earlier is in a document with a smaller `doc_id`, or at an earlier place of the same one; the two places may
    overlap. With `keep: none` a passage that occurs anywhere else counts too, so that no copy is left. A byte is
    counted exactly if a window of `min_bytes` bytes around it is such a passage; spans are then shrunk to whole
    characters. Bytes are compared as they are: case, white space and Unicode forms matter. Null where the text is null.

    Every window has an anchor that its content alone decides (see `fingerprints`), so equal windows meet where their
    anchors do, and are compared there byte for byte: hashes choose what is compared and decide nothing. Time is linear
    in the bytes whose anchors are repeated, also for one document of one letter, or a corpus of one document.

    Bound: of one shard the fingerprints (a third of its text), and of its distinct passages with repeated anchors 190
    bytes for every 26 of text, held twice while they are sent: where all of a shard is in another one too, 20 times
    its text (1.2 GB seen for one text of 60 MB). In one partition the distinct passages, of each shard, that have the
    same anchor, however many they are: 250 bytes each.

    Source: Lee et al. (2022), Deduplicating training data makes language models better, arXiv:2107.06499, section 4.1
    (`min_bytes` is 100 in google-research/deduplicate-text-datasets, whose suffix array this equals).
    """

    kind: Literal["substring_duplicates"] = "substring_duplicates"
    writes: ClassVar = pa.schema(
        [
            column("spans", SPANS, "bytes", doc="where the repeated passages are, sorted and disjoint"),
            column("duplicate_bytes", pa.int64(), "bytes", better="lower", doc="in spans"),
            column("duplicate_fraction", pa.float64(), "1", better="lower", doc="bytes in spans; null for no bytes"),
            column("duplicate_spans", pa.int64(), "spans", better="lower"),
        ]
    )

    text: Column = "text"
    min_bytes: int = Field(default=100, ge=16, le=65_536)
    keep: Literal["first", "none"] = "first"

    def companions(self) -> dict[str, RowStage]:
        """The fingerprints of each text."""
        return {"fingerprints": Fingerprints(text=self.text, min_bytes=self.min_bytes)}

    def reads(self) -> tuple[str, ...]:
        """The companion's columns."""
        return ("fingerprints.hashes", "fingerprints.bytes")

    def texts(self) -> tuple[str, ...]:
        """The text, of documents with a repeated fingerprint."""
        return (self.text,)

    def program(self, flow: Flow) -> None:
        """Repeated fingerprints, the passages around them, which of these are repeated, and where they are."""
        told = flow.at("shards", "count", self.count, to="one")
        flow.split(partitions_for(told.counts["fingerprints"]))
        offered = flow.at("shards", "fingerprints", self.offer, to="partitions")
        known = flow.at("partitions", "repeated", self.meet, offered, to="shards")
        flow.split(partitions_for(known.counts["repeated_fingerprints"], PASSAGES))
        passages = flow.at("shards", "passages", self.gather, known, to="partitions")
        spans = flow.at("partitions", "spans", self.strike, passages, to="shards")
        flow.settle(self.answer, spans)

    # -- rounds -----------------------------------------------------------------------------------------------------

    def count(self, site: Site) -> tuple[pa.Table, dict[str, int]]:
        """How many fingerprints there are, by which the number of partitions is chosen."""
        hashes = site.columns("fingerprints.hashes")["fingerprints.hashes"]
        return tables.NOTHING, {"fingerprints": pc.sum(pc.list_value_length(hashes)).as_py() or 0}

    def offer(self, site: Site) -> pa.Table:
        """The shard's distinct fingerprints and how often each is there."""
        keys, _ = tables.flat(site.columns("fingerprints.hashes")["fingerprints.hashes"])
        distinct, count = np.unique(keys, return_counts=True)
        return tables.offered(distinct, count, site)

    def meet(self, site: Site, rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The fingerprints that are there more than once, to every shard that has them."""
        del site
        return tables.repeated(rows)

    def gather(self, site: Site, known: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The distinct passages around repeated fingerprints, and where else in the shard they are."""
        from stages.kernels.substrings import Passages  # noqa: PLC0415 - numba is slow to import

        table = site.columns("fingerprints.hashes")
        ids = tables.Ids.of(table["doc_id"])
        keys = np.sort(known["key"].to_numpy())
        passages = Passages(keys, self.min_bytes)
        rows = tables.rows_with(table["fingerprints.hashes"], keys)
        read = 0
        for batch in self._read(site, rows):
            chosen = batch["row"].to_numpy()
            passages.add(batch["text"], chosen, ids.rank[chosen])
            read += batch.num_rows
        return tables.sent(passages, ids, site), {"documents_read": read, "passages": len(passages.table)}

    def strike(self, site: Site, rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The spans of passages that occur elsewhere, and the spans that shards have found themselves."""
        del site
        return tables.struck(rows, self.min_bytes, every=self.keep == "none")

    def answer(self, site: Site, spans: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """The columns of every document with a text."""
        from stages.kernels.byte_spans import merged, snap  # noqa: PLC0415 - numba is slow to import

        found = merged(np.stack([spans[name].to_numpy() for name in ("row", "begin", "end")], axis=1))
        for batch in self._read(site, np.unique(found[:, 0])):
            rows = batch["row"].to_numpy()
            mine = slice(*np.searchsorted(found[:, 0], [rows[0], rows[-1] + 1]))
            snap(batch["text"], np.searchsorted(rows, found[mine, 0]), found[mine])
        size = site.columns("fingerprints.bytes")["fingerprints.bytes"]
        return _columns(found, size)

    def _read(self, site: Site, rows: Ints) -> Iterator[pa.RecordBatch]:
        yield from (batch for batch in site.texts(self.text, rows) if batch.num_rows)


def _columns(found: Ints, size: pa.ChunkedArray) -> tuple[pa.Table, dict[str, int]]:
    """The stage's columns for the rows that have a size, from (row, begin, end), sorted."""
    rows = np.flatnonzero(pc.is_valid(size).to_numpy())
    bounds = np.searchsorted(found[:, 0], np.append(rows, len(size)))
    places = np.append(0, np.cumsum(found[:, 2] - found[:, 1]))
    struck = np.diff(places[bounds])
    total = size.take(pa.array(rows)).to_numpy()
    begin, end = (pa.array(np.ascontiguousarray(found[:, i])) for i in (1, 2))
    spans = pa.ListArray.from_arrays(
        pa.array(bounds, pa.int32()), pa.StructArray.from_arrays([begin, end], fields=list(SPANS.value_type))
    )
    columns: dict[str, Any] = {
        "row": rows,
        "spans": spans,
        "duplicate_bytes": struck,
        "duplicate_fraction": pa.array(struck / np.maximum(total, 1), pa.float64(), mask=total == 0),
        "duplicate_spans": np.diff(bounds),
    }
    counts = {"duplicate_bytes": int(struck.sum()), "duplicate_documents": int(np.count_nonzero(struck))}
    return pa.table(columns), counts
