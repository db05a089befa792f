"""The index that lives in the tamis store: sorted band files for each snapshot, merged when there are many.

An add sorts its documents into new segments; a removal writes one more table of what was taken down, which lookups
leave out and merges forget. Both become true by one manifest. Nothing is held that grows with the index.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.commit import Attempt
from pipelines.index.backend import COMING, TWINS, Added, Coming
from pipelines.index.chain import discard, find, fresh_name, get, publish, retire, sweep
from pipelines.index.merging import due, merge
from pipelines.index.writing import write_segment
from pipelines.progress import Watch
from pipelines.store import Store
from stages.errors import SpecError
from stages.fingerprint import key
from stages.index.manifest import Configuration, Manifest, Record
from stages.index.search import REMOVED, Snapshot
from stages.index.segment import U32, halves, sketches

#: Documents of one new segment; they are sorted in memory, some 700 bytes each at 112 permutations.
SEGMENT_ROWS = 1 << 18
_DOC_ID_DIGITS = 32


class Embedded:
    """An index inside a store.

    Args:
        store: where it is.
        index: its name.
        configuration: of the index, where it does not exist yet.
    """

    def __init__(self, store: Store, index: str, configuration: Configuration | None = None) -> None:
        self.store, self.index, self._configuration = store, index, configuration

    def _current(self) -> Manifest:
        found = find(self.store, self.index)
        if found is None and self._configuration is not None:
            return Manifest(0, "store", self._configuration)
        return found or get(self.store, self.index)

    def add(self, coming: Coming, watch: Watch) -> Added:
        """Take documents in; what the index has already (corpus, id and sketch), or took down, is left out."""
        while True:
            manifest = self._current()
            if any(add["key"] == coming.key for add in manifest.adds):
                return Added(0, coming.documents, 0)
            incoming = _Incoming(Snapshot(self.store, manifest), coming)
            made: list[dict[str, Any]] = []
            for table in incoming.tables(watch):
                add = len(manifest.adds), coming.corpus
                made.append(write_segment(self.store, self.index, table, add, manifest.configuration))
            result = Added(sum(s["rows"] for s in made), incoming.known, incoming.taken_down)
            if not made and manifest.number:
                return result
            digest = key([f["sha256"] for s in made for f in s["files"]])
            after = manifest.after(
                adds=(*manifest.adds, coming.add(result.documents, digest)),
                segments=(*manifest.segments, *made),
                retired=retire(manifest, ()),
            )
            if publish(self.store, self.index, after):
                self._tidy(after, watch)
                return result
            for entry in made:
                discard(self.store, self._folder("segments"), entry)

    def query(self, signatures: U32, most: int, threshold: float) -> pa.Table:
        """At most so many twins of each sketch, estimated at least so alike, the best first."""
        snapshot = self.snapshot
        found = snapshot.search(signatures)
        found = found.where(found.jaccard >= threshold).first(most)
        twins = snapshot.documents(found.place)
        columns = [pa.array(found.asked, pa.int64()), *twins.columns, pa.array(found.jaccard, pa.float64())]
        return pa.Table.from_arrays(columns, schema=TWINS)

    @property
    def snapshot(self) -> Snapshot:
        """The newest state, opened once."""
        if self._opened is None:
            self._opened = Snapshot(self.store, get(self.store, self.index))
        return self._opened

    _opened: Snapshot | None = None

    def remove(self, doc_ids: Sequence[str], corpus: str | None) -> list[dict[str, Any]]:
        """Take documents down, by doc_id or by the user's own id; `corpus` None: wherever they are.

        Raises:
            SpecError: one of them is not in the index.
        """
        while True:
            manifest = get(self.store, self.index)
            snapshot = Snapshot(self.store, manifest)
            places = _places(snapshot, self.index, doc_ids, corpus)
            taken: list[dict[str, Any]] = snapshot.documents(places).to_pylist()
            removed = _with(snapshot.removed, removal_entries(taken, doc_ids, corpus))
            if not taken:
                return []
            entry = self._write_removed(removed)
            gone = () if manifest.removed is None else (manifest.removed["name"],)
            segments = _with_dead(snapshot, places)
            after = manifest.after(removed=entry, segments=segments, retired=retire(manifest, gone))
            if publish(self.store, self.index, after):
                self._tidy(after, None)
                return taken
            discard(self.store, self._folder("removed"), entry)

    def info(self) -> dict[str, Any]:
        """What the index holds, and in how many segments."""
        manifest = get(self.store, self.index)
        corpora: Counter[str] = Counter()
        for segment in manifest.segments:
            corpora.update(segment["corpora"])
        files = [f for s in manifest.segments for f in s["files"]]
        return {
            "documents": sum(corpora.values()),
            "corpora": {c: n for c, n in sorted(corpora.items()) if n},
            "taken_down": 0 if manifest.removed is None else manifest.removed["count"],
            "segments": len(manifest.segments),
            "bytes": sum(f["bytes"] for f in files),
        }

    def _folder(self, name: str) -> str:
        return f"indexes/{self.index}/{name}"

    def _write_removed(self, removed: pa.Table) -> dict[str, Any]:
        name = fresh_name()
        with Attempt(self.store, self._folder("removed"), name) as attempt:
            with attempt.file(".arrow") as path, pa.ipc.new_file(str(path), REMOVED) as file:
                file.write_table(removed)
            [file_entry] = attempt.commit({"name": name})["files"]
        digest = key(removed.to_pylist())
        return {
            "name": name,
            "path": file_entry["path"],
            "files": [file_entry],
            "count": removed.num_rows,
            "digest": digest,
        }

    def _tidy(self, manifest: Manifest, watch: Watch | None) -> None:
        """Merge while there are too many segments of one size, and delete what nobody needs any more."""
        while chosen := due(manifest.segments):
            if watch is not None:
                watch.say(f"merging {len(chosen)} segments of the index {self.index}")
            merged = merge(self.store, self.index, Snapshot(self.store, manifest), chosen)
            rest = [s for i, s in enumerate(manifest.segments) if i not in chosen]
            gone = [manifest.segments[i]["name"] for i in chosen]
            after = manifest.after(segments=(*rest, *([merged] if merged else [])), retired=retire(manifest, gone))
            if not publish(self.store, self.index, after):
                if merged:
                    discard(self.store, self._folder("segments"), merged)
                return  # the other writer merges what is left
            manifest = after
        sweep(self.store, self.index, manifest)


class _Incoming:
    """The documents of an add that the index does not have, in tables of SEGMENT_ROWS, and the count of the others."""

    def __init__(self, snapshot: Snapshot, coming: Coming) -> None:
        self.known = self.taken_down = 0
        self._snapshot, self._coming = snapshot, coming
        removed = snapshot.removed
        mine = [c is None or c == coming.corpus for c in removed["corpus"].to_pylist()]
        self._removed = set(removed.filter(pa.array(mine, pa.bool_()))["doc_id"].to_pylist())

    def tables(self, watch: Watch) -> Iterator[pa.Table]:
        """New documents with the columns COMING."""
        held: list[pa.Table] = []
        rows = seen = nbytes = 0
        watch.step("index", 0, self._coming.documents)
        for batch in self._coming.batches():
            new = self._new(batch.select(COMING))
            held.append(new)
            rows, seen, nbytes = rows + new.num_rows, seen + batch.num_rows, nbytes + batch.nbytes
            watch.step("index", min(seen, self._coming.documents - 1), self._coming.documents, nbytes)
            while rows >= SEGMENT_ROWS:
                table = pa.concat_tables(held)
                yield table.slice(0, SEGMENT_ROWS)
                held, rows = [table.slice(SEGMENT_ROWS)], rows - SEGMENT_ROWS
        if rows:
            yield pa.concat_tables(held)
        watch.step("index", self._coming.documents, self._coming.documents, nbytes)

    def _new(self, batch: pa.Table) -> pa.Table:
        if self._removed:
            gone = np.array([d in self._removed for d in batch["doc_id"].to_pylist()], bool)
            self.taken_down += int(gone.sum())
            batch = batch.filter(pa.array(~gone))
        there = self._there(batch)
        self.known += int(there.sum())
        return batch.filter(pa.array(~there))

    def _there(self, batch: pa.Table) -> NDArray[np.bool_]:
        """For every row, whether the index has this document of this corpus with this sketch."""
        there = np.zeros(batch.num_rows, bool)
        if not batch.num_rows or not self._snapshot.segments:
            return there
        high, low = halves(batch["doc_id"])
        signatures = sketches(batch["signature"], self._snapshot.configuration.permutations)
        corpora = np.array([a["corpus"] == self._coming.corpus for a in self._snapshot.manifest.adds], bool)
        for segment in self._snapshot.segments:
            asked, rows = segment.having(high, low)
            same = corpora[segment.adds[rows].astype(np.int64)]
            asked, rows = asked[same], rows[same]
            there[asked[(signatures[asked] == segment.signatures[rows]).all(axis=1)]] = True
        return there


def _places(snapshot: Snapshot, index: str, doc_ids: Sequence[str], corpus: str | None) -> NDArray[np.int64]:
    """The places of the living documents that are named.

    Raises:
        SpecError: one names none, and none was ever taken down under that id.
    """
    found = [_place_of(snapshot, name, corpus) for name in doc_ids]
    taken = set(snapshot.removed["doc_id"].to_pylist())
    missing = [name for name, places in zip(doc_ids, found, strict=True) if not len(places) and name not in taken]
    if missing:
        where = f" of the corpus {corpus!r}" if corpus is not None else ""
        raise SpecError(
            f"the index {index!r} has no document{where} {missing[0]!r}; nothing was removed; "
            "give a doc_id (32 hex digits) or the id that the document came with",
            index=index,
            missing=missing,
        )
    return np.unique(np.concatenate([np.empty(0, np.int64), *found]))


def _place_of(snapshot: Snapshot, name: str, corpus: str | None) -> NDArray[np.int64]:
    """Every living document with that doc_id, or else with that id of its own."""
    by_id = len(name) == _DOC_ID_DIGITS and all(c in "0123456789abcdef" for c in name)
    places = [snapshot.having(name) if by_id else np.empty(0, np.int64)]
    if not len(places[0]):
        places.append(snapshot.called(name))
    every = np.concatenate(places)
    return every if corpus is None else every[snapshot.corpora(every) == corpus]


def removal_entries(
    taken: Sequence[dict[str, Any]], named: Sequence[str], corpus: str | None
) -> set[tuple[str, str | None]]:
    """What is taken down with these documents: (doc_id, corpus).

    A doc_id that was named means that id in every corpus (None) unless one is given. Corpora use the same doc_id for
    other documents, though, so a document that was named by its own id goes in its own corpus alone.
    """
    return {(t["doc_id"], corpus if t["doc_id"] in named else t["corpus"]) for t in taken}


def _with(removed: pa.Table, entries: set[tuple[str, str | None]]) -> pa.Table:
    """The table of what was taken down, with these entries, sorted."""
    rows = {(r["doc_id"], r["corpus"]) for r in removed.to_pylist()} | entries
    ordered = sorted(rows, key=lambda r: (r[0], r[1] is not None, r[1] or ""))
    return pa.table({"doc_id": [r[0] for r in ordered], "corpus": [r[1] for r in ordered]}, schema=REMOVED)


def _with_dead(snapshot: Snapshot, places: NDArray[np.int64]) -> tuple[Record, ...]:
    """The segments' entries once the documents at these places are dead."""
    entries = []
    for entry, (begin, end) in zip(snapshot.manifest.segments, snapshot.spans(), strict=True):
        here = places[(places >= begin) & (places < end)]
        corpora: Counter[str] = Counter(entry["corpora"])
        corpora.subtract(Counter(snapshot.corpora(here).tolist()))
        entries.append({**entry, "dead": entry["dead"] + len(here), "corpora": dict(corpora)})
    return tuple(entries)
