"""Near-duplicate lookups: which documents of an index share a band with a sketch, and how alike they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.base import Files
from stages.index.manifest import Manifest
from stages.index.segment import I64, U32, U64, Segment, bounds, contains, halves, hexadecimal, ranges

#: Documents of one bucket that are compared with a sketch, first by doc_id; a bucket of a million holds one text.
MAX_BUCKET = 1_000
#: Sketches that are looked up together.
_TOGETHER = 512
#: Pairs of sketches that are compared together.
_PAIRS = 1 << 15
#: Bits of a document's place among all segments, in a number that holds the sketch asked for too.
_PLACE_BITS = 40

#: What was taken down: the document of that corpus, or of every corpus.
REMOVED = pa.schema([("doc_id", pa.string()), ("corpus", pa.string())])
#: What is told about a document that was found.
FOUND = pa.schema([(n, pa.string()) for n in ("doc_id", "id", "corpus", "run", "source", "path", "url")])


@dataclass(frozen=True, slots=True)
class Matches:
    """Pairs of a sketch asked for and a document of the index that shares a band with it.

    Sorted by sketch, then the most alike first, then by doc_id and the order of adding.
    """

    asked: I64  # number of the sketch
    place: I64  # of the document, see `Snapshot.documents`
    jaccard: NDArray[np.float64]  # estimated: the share of equal values
    capped: int  # lookups (a sketch in a band) whose bucket held more than is compared

    def where(self, chosen: NDArray[np.bool_]) -> "Matches":
        """Only the chosen pairs."""
        return Matches(self.asked[chosen], self.place[chosen], self.jaccard[chosen], self.capped)

    def first(self, most: int) -> "Matches":
        """At most so many pairs a sketch, the best ones."""
        starts = np.searchsorted(self.asked, self.asked, "left")
        return self.where(np.arange(len(self.asked)) - starts < most)


class Snapshot:
    """One state of an index, opened for lookups.

    Raises:
        StorageError: a file of it is missing or damaged.
    """

    def __init__(self, files: Files, manifest: Manifest) -> None:
        self.manifest = manifest
        self.configuration = manifest.configuration
        self.segments = [Segment(files, entry, manifest.configuration) for entry in manifest.segments]
        self._starts = np.cumsum([0, *(s.rows for s in self.segments)])
        self._corpora = np.array([add["corpus"] for add in manifest.adds], object)
        self.removed = REMOVED.empty_table()
        if manifest.removed is not None:
            data = files.local(manifest.removed["path"]).read_bytes()
            self.removed = pa.ipc.open_file(pa.BufferReader(data)).read_all()
        self.dead = [self._dead(segment) for segment in self.segments]

    def _dead(self, segment: Segment) -> I64:
        """The rows of a segment that were taken down, ascending."""
        if not self.removed.num_rows:
            return np.empty(0, np.int64)
        asked, rows = segment.having(*halves(self.removed["doc_id"]))
        corpora = np.array(self.removed["corpus"].to_pylist(), object)[asked]
        everywhere = np.array([c is None for c in corpora], bool)
        return np.unique(rows[everywhere | (corpora == self._corpora[segment.adds[rows].astype(np.int64)])])

    def search(self, signatures: U32) -> Matches:
        """Every pair of a sketch [sketch, permutation] and a document that share a band.

        Of a bucket of more than `MAX_BUCKET` documents the first by doc_id are compared; `capped` counts these lookups.
        """
        found = [self._search(signatures[a : a + _TOGETHER], a) for a in range(0, len(signatures), _TOGETHER)]
        nothing = Matches(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), 0)
        every = [nothing, *found]
        return Matches(
            np.concatenate([m.asked for m in every]),
            np.concatenate([m.place for m in every]),
            np.concatenate([m.jaccard for m in every]),
            sum(m.capped for m in every),
        )

    def _search(self, signatures: U32, first: int) -> Matches:
        from stages.kernels.minhash import band_keys  # noqa: PLC0415 - numba is for those who look up

        keys = band_keys(np.ascontiguousarray(signatures), self.configuration.bands, self.configuration.rows)
        capped, codes = 0, []
        for band in range(self.configuration.bands):
            sought, inverse = np.unique(keys[:, band], return_inverse=True)
            bucket, places, cut = self._buckets(band, sought)
            ends = np.searchsorted(bucket, np.arange(len(sought) + 1))
            asked, at = ranges(ends[:-1][inverse], ends[1:][inverse])
            codes.append(np.unique((asked << _PLACE_BITS) | places[at]))
            capped += int(np.isin(inverse, cut).sum())
        pairs = np.unique(np.concatenate(codes)) if codes else np.empty(0, np.int64)
        asked, places = pairs >> _PLACE_BITS, pairs & ((1 << _PLACE_BITS) - 1)
        jaccard = self._jaccard(signatures, asked, places)
        order = np.lexsort((*reversed(self._order_of(places)), -jaccard, asked))
        return Matches(asked[order] + first, places[order], jaccard[order], capped)

    def _buckets(self, band: int, sought: U64) -> tuple[I64, I64, I64]:
        """The places of the documents in each bucket (its number, the place), and which buckets were cut."""
        buckets, places = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        for segment, dead, start in zip(self.segments, self.dead, self._starts, strict=False):
            bucket, at = ranges(*bounds(segment.keys[band], sought))
            rows = segment.owners[band][at].astype(np.int64)
            if len(dead):
                alive = ~contains(dead, rows)
                bucket, rows = bucket[alive], rows[alive]
            buckets.append(bucket)
            places.append(rows + start)
        bucket, place = np.concatenate(buckets), np.concatenate(places)
        counts = np.bincount(bucket, minlength=len(sought))
        large = np.flatnonzero(counts > MAX_BUCKET)
        kept = ~np.isin(bucket, large)
        first = [place[bucket == one] for one in large]
        first = [some[np.lexsort(tuple(reversed(self._order_of(some))))[:MAX_BUCKET]] for some in first]
        bucket = np.concatenate([bucket[kept], np.repeat(large, [len(some) for some in first])])
        place = np.concatenate([place[kept], *first])
        order = np.argsort(bucket, kind="stable")
        return bucket[order], place[order], large

    def _jaccard(self, signatures: U32, asked: I64, places: I64) -> NDArray[np.float64]:
        jaccard = np.empty(len(asked))
        for number, rows, here in self._by_segment(places):
            held = self.segments[number].signatures
            for a in range(0, len(here), _PAIRS):
                some = here[a : a + _PAIRS]
                equal = signatures[asked[some]] == held[rows[a : a + _PAIRS]]
                jaccard[some] = np.count_nonzero(equal, axis=1) / self.configuration.permutations
        return jaccard

    def _order_of(self, places: I64) -> tuple[U64, U64, U64]:
        """What documents are sorted by: both halves of the id, and the number of the add."""
        high, low, adds = (np.empty(len(places), np.uint64) for _ in range(3))
        for number, rows, here in self._by_segment(places):
            segment = self.segments[number]
            high[here], low[here], adds[here] = segment.high[rows], segment.low[rows], segment.adds[rows]
        return high, low, adds

    def _by_segment(self, places: I64) -> Sequence[tuple[int, I64, I64]]:
        """(segment, rows in it, positions in `places`) of the places, for the segments that hold some."""
        owners = np.searchsorted(self._starts, places, "right") - 1
        found = []
        for number in np.unique(owners):
            here = np.flatnonzero(owners == number)
            found.append((int(number), places[here] - self._starts[number], here))
        return found

    def spans(self) -> list[tuple[int, int]]:
        """The first place of each segment, and the one after its last."""
        return [(int(a), int(b)) for a, b in pairwise(self._starts)]

    def having(self, doc_id: str) -> I64:
        """The places of the living documents with that doc_id."""
        high, low = halves(pa.array([doc_id]))
        found = [s.having(high, low)[1] for s in self.segments]
        return self._living(found)

    def called(self, name: str) -> I64:
        """The places of the living documents whose own id is that; reads every document's."""
        return self._living([s.called(name) for s in self.segments])

    def _living(self, rows: Sequence[I64]) -> I64:
        alive = [r[~contains(dead, r)] for r, dead in zip(rows, self.dead, strict=True)]
        nothing = np.empty(0, np.int64)
        return np.concatenate([nothing, *(r + a for r, (a, _) in zip(alive, self.spans(), strict=True))])

    def ids(self, places: I64) -> tuple[U64, U64]:
        """Both halves of the documents' ids."""
        high, low, _ = self._order_of(places)
        return high, low

    def corpora(self, places: I64) -> NDArray[np.object_]:
        """The corpus that each document was added with."""
        return self._corpora[self._order_of(places)[2].astype(np.int64)]

    def documents(self, places: I64) -> pa.Table:
        """What is known of the documents at these places, in this order: the columns `FOUND`."""
        high, low, adds = self._order_of(places)
        parts, order = [], [np.empty(0, np.int64)]
        for number, rows, here in self._by_segment(places):
            parts.append(self.segments[number].documents(rows))
            order.append(here)
        back = np.empty(len(places), np.int64)
        back[np.concatenate(order)] = np.arange(len(places))
        known = pa.concat_tables(parts).take(pa.array(back)) if parts else None
        came = [self.manifest.adds[int(a)] for a in adds]
        columns = {
            "doc_id": pa.array(hexadecimal(high, low), pa.string()),
            "corpus": pa.array([add["corpus"] for add in came], pa.string()),
            "run": pa.array([add["run"] for add in came], pa.string()),
        }
        for name in ("id", "source", "path", "url"):
            columns[name] = known[name] if known is not None else pa.array([], pa.string())
        return pa.table({name: columns[name] for name in FOUND.names}, schema=FOUND)
