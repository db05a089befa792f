"""A Bloom index: for each band one Bloom filter of datasketch's `MinHashLSHBloom`. It knows members, and nothing of them.

For a web of documents that no sorted file can hold: 14 bands at a rate of 1e-6 take some 60 bytes a document. It
names no twin, forgets nothing, and holds as many documents as it was made for.

datasketch identifies a band by the *sum* of its values. Minima over many n-grams are small numbers, so the sums of
long documents crowd: by measurement the filters then answer wrongly orders of magnitude more often than they were made
for. What is put in here is therefore our 64-bit key of each band, as the one value of its band. `info` has the rate of
wrong answers as it was asked for and as it was measured.
"""

import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipelines.commit import Attempt
from pipelines.index.backend import TWINS, Added, Coming
from pipelines.index.chain import discard, find, fresh_name, get, publish, retire, sweep
from pipelines.index.writing import keys_of
from pipelines.progress import Watch
from pipelines.store import Store
from stages.errors import SpecError
from stages.fingerprint import key
from stages.index.filters import PRIME, BandFilters, filter_facts, filter_file, holds
from stages.index.manifest import Configuration, Manifest
from stages.index.segment import U32, halves, sketches

#: Invented sketches that the rate of wrong answers is measured with, and the sketches that they are made of.
PROBES = 100_000
SAMPLE = 1_024
#: Fewer sketches give probes that may be true members.
LEAST_SAMPLE = 64
_SAMPLE_FILE = "sample.npz"


class Bloom:
    """An index of members in a store.

    Args:
        store: where it is.
        index: its name.
        begun: the manifest before the first, where the index does not exist yet; see `begin`.
    """

    def __init__(self, store: Store, index: str, begun: Manifest | None = None) -> None:
        self.store, self.index, self._begun = store, index, begun

    def add(self, coming: Coming, watch: Watch) -> Added:
        """Put documents in; those whose every band is in already are known.

        Raises:
            SpecError: there are more than the index was made for.
        """
        while True:
            manifest = find(self.store, self.index) or self._begun or get(self.store, self.index)
            if any(add["key"] == coming.key for add in manifest.adds):
                return Added(0, coming.documents, 0)
            with tempfile.TemporaryDirectory(dir=self.store.scratch(), prefix="bloom-") as folder:
                filters = _Filters(self.store, manifest, Path(folder))
                added, known = filters.fill(coming, watch)
                if not added and manifest.number:
                    return Added(0, known, 0)
                place = self._stored(manifest, filters, added)
            gone = (manifest.place["name"],) if "name" in manifest.place else ()
            entry = coming.add(added, key([f["sha256"] for f in place["files"]]))
            after = manifest.after(adds=(*manifest.adds, entry), place=place, retired=retire(manifest, gone))
            if publish(self.store, self.index, after):
                sweep(self.store, self.index, after)
                return Added(added, known, 0)
            discard(self.store, f"indexes/{self.index}/filters", place)

    def query(self, signatures: U32, most: int, threshold: float) -> pa.Table:  # noqa: ARG002 - a member is one, once
        """The sketches that share a band with a member; no twin is named.

        Raises:
            SpecError: a similarity was asked for.
        """
        if threshold > 0:
            raise SpecError(
                f"the Bloom index {self.index!r} cannot tell how alike documents are; leave out --threshold",
                index=self.index,
            )
        member = BandFilters(self.store, get(self.store, self.index)).members(signatures)
        asked = pa.array(np.flatnonzero(member), pa.int64())
        nothing = [pa.nulls(len(asked), field.type) for field in list(TWINS)[1:]]
        return pa.Table.from_arrays([asked, *nothing], schema=TWINS)

    def remove(self, doc_ids: Sequence[str], corpus: str | None) -> list[dict[str, Any]]:  # noqa: ARG002 - it never can
        """Refuse: the bits of a document are those of others too.

        Raises:
            SpecError: always.
        """
        raise SpecError(
            f"the Bloom index {self.index!r} cannot forget a document; build it again without it, "
            "or keep the index in the store, where documents can be removed",
            index=self.index,
        )

    def info(self) -> dict[str, Any]:
        """How many documents are in, how many fit, and how often an answer is wrong."""
        manifest = get(self.store, self.index)
        return {
            **filter_facts(manifest),
            "taken_down": 0,
            "bytes": sum(f["bytes"] for f in manifest.place["files"]),
        }

    def _stored(self, manifest: Manifest, filters: "_Filters", added: int) -> dict[str, Any]:
        """Store the filters under a new name; gives what the manifest says of them."""
        measured, probes = filters.measure()
        name = fresh_name()
        with Attempt(self.store, f"indexes/{self.index}/filters", name) as attempt:
            for path in filters.close():
                with ExitStack() as stack:
                    shutil.move(path, stack.enter_context(attempt.file(f".{path.name}")))
            files = attempt.commit({"name": name})["files"]
        known = {n: manifest.place[n] for n in ("capacity", "false_positive_rate")}
        documents = manifest.place.get("documents", 0) + added
        return {**known, "name": name, "files": files, "documents": documents, "measured": measured, "probes": probes}


def begin(configuration: Configuration, capacity: int | None, false_positive_rate: float) -> Manifest:
    """The manifest before the first of a new index.

    Raises:
        SpecError: it is not said how many documents the index will hold, or the rate is no rate.
    """
    if capacity is None:
        raise SpecError("a Bloom index cannot grow: say with --capacity how many documents it will hold")
    if not 0 < false_positive_rate < 1:
        raise SpecError(f"the rate of false positives is {false_positive_rate}; give one between 0 and 1")
    place = {"capacity": capacity, "false_positive_rate": false_positive_rate}
    return Manifest(0, "bloom", configuration, place=place)


class _Filters:
    """The filters of a manifest as local files that can be written."""

    def __init__(self, store: Store, manifest: Manifest, folder: Path) -> None:
        from datasketch import MinHashLSHBloom  # noqa: PLC0415 - optional until an index is a Bloom index

        self._configuration, self._folder = manifest.configuration, folder
        self._capacity = manifest.place["capacity"]
        self._free = self._capacity - manifest.place.get("documents", 0)
        bands = manifest.configuration.bands
        for name in (f"band-{band}.bf" for band in range(bands)) if "files" in manifest.place else ():
            shutil.copyfile(filter_file(store, manifest, f".{name}"), folder / name)
        # A lookup asks every band, so each band may err less often.
        rate = -np.expm1(np.log1p(-manifest.place["false_positive_rate"]) / bands)
        self._lsh = MinHashLSHBloom(
            num_perm=bands, params=(bands, 1), n=self._capacity, fp=float(rate), save_dir=str(folder)
        )
        self._sample = _Sample(self._configuration.permutations)
        if "files" in manifest.place:
            self._sample.load(filter_file(store, manifest, f".{_SAMPLE_FILE}"))

    @property
    def _tables(self) -> list[Any]:
        return [table.bloom_filter for table in self._lsh.hashtables]

    def fill(self, coming: Coming, watch: Watch) -> tuple[int, int]:
        """Put documents in; gives how many were not in, and how many were."""
        added = known = seen = nbytes = 0
        watch.step("index", 0, coming.documents)
        for batch in coming.batches():
            signatures = sketches(batch["signature"], self._configuration.permutations)
            keys = keys_of(signatures, self._configuration)
            there = np.ones(len(keys), bool)
            for band, table in enumerate(self._tables):
                there &= holds(table, keys[:, band])
            known, added = known + int(there.sum()), added + int((~there).sum())
            if added > self._free:
                raise SpecError(
                    f"the Bloom index was made for {self._capacity} documents, and these are more; nothing was added; "
                    "make another one with a larger --capacity"
                )
            for band, table in enumerate(self._tables):
                table.update((keys[~there, band] % PRIME).tolist())
            self._sample.offer(batch["doc_id"].filter(pa.array(~there)), signatures[~there])
            seen, nbytes = seen + batch.num_rows, nbytes + batch.nbytes
            watch.step("index", min(seen, coming.documents - 1), coming.documents, nbytes)
        watch.step("index", coming.documents, coming.documents, nbytes)
        return added, known

    def measure(self) -> tuple[float | None, int]:
        """The share of invented sketches that are taken for members, and how many there were; None: too few members."""
        probes = self._sample.probes()
        if probes is None:
            return None, 0
        keys = keys_of(probes, self._configuration)
        wrong = np.zeros(len(keys), bool)
        for band, table in enumerate(self._tables):
            wrong |= holds(table, keys[:, band])
        return float(wrong.mean()), len(probes)

    def close(self) -> list[Path]:
        """Write everything out; gives the files."""
        self._lsh.sync()
        for table in self._tables:
            table.close()
        self._sample.save(self._folder / _SAMPLE_FILE)
        return sorted(self._folder.iterdir())


class _Sample:
    """The sketches of the documents with the lowest ids: ids are hashes, so these are drawn at random."""

    def __init__(self, permutations: int) -> None:
        self._high = np.empty(0, np.uint64)
        self._signatures: U32 = np.empty((0, permutations), np.uint32)

    def offer(self, doc_ids: pa.ChunkedArray, signatures: U32) -> None:
        """Consider documents."""
        if not len(doc_ids):
            return
        high = np.concatenate([self._high, halves(doc_ids)[0]])
        best = np.argsort(high, kind="stable")[:SAMPLE]
        self._high, self._signatures = high[best], np.concatenate([self._signatures, signatures])[best]

    def probes(self) -> U32 | None:
        """Sketches with values as documents have them, of which no band is a document's; None: too few documents.

        Every value is that of another document, so eight in a row are one document's by chance only.
        """
        if len(self._signatures) < LEAST_SAMPLE:
            return None
        permutations = self._signatures.shape[1]
        random = np.random.default_rng(0)
        rows = random.integers(0, len(self._signatures), (PROBES, permutations))
        return self._signatures[rows, np.arange(permutations)]

    def load(self, path: Path) -> None:
        """Take up a sample again."""
        with np.load(path) as file:
            self._high, self._signatures = file["high"], file["signatures"]

    def save(self, path: Path) -> None:
        """Write the sample."""
        np.savez(path, high=self._high, signatures=self._signatures)
