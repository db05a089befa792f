"""Writing one segment: documents in the order of their ids, and for each band their keys in order."""

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any, BinaryIO, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipelines.commit import Attempt
from pipelines.index.chain import fresh_name
from pipelines.store import Store
from stages.index.manifest import Configuration
from stages.index.segment import BATCH_ROWS, DOCUMENTS, U32, U64, halves, sketches

#: Sketches whose band keys are computed together.
_KEYED = 1 << 16


class SegmentWriter:
    """Writes a segment whose number of documents is known. Use it in a `with` block; `commit` ends it.

    Raises:
        StorageError: the store cannot be written.
    """

    def __init__(self, store: Store, index: str, rows: int, configuration: Configuration) -> None:
        self.rows = rows
        self._name = fresh_name()
        self._attempt = Attempt(store, f"indexes/{index}/segments", self._name)
        self._stack, self._files = ExitStack(), ExitStack()
        self._configuration = configuration
        self._identified = self._documented = 0
        self._banded = [0] * configuration.bands
        self._pending: list[pa.Table] = []

    def __enter__(self) -> Self:
        self._stack.enter_context(self._attempt)
        self._ids, self._keys, self._owners, self._signatures = (
            self._open(suffix) for suffix in (".ids", ".keys", ".rows", ".signatures")
        )
        documents = self._files.enter_context(self._attempt.file(".documents"))
        self._documents = self._files.enter_context(pa.ipc.new_file(str(documents), DOCUMENTS))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._files.__exit__(kind, error, trace)
        self._stack.__exit__(kind, error, trace)

    def _open(self, suffix: str) -> BinaryIO:
        path = self._files.enter_context(self._attempt.file(suffix))
        return self._files.enter_context(path.open("wb"))

    def documents(self, ids: tuple[U64, U64, U64], signatures: U32, known: pa.Table) -> None:
        """Append documents: both halves of the id and the number of the add, the sketches, and what is known."""
        for plane, values in enumerate(ids):
            _write_at(self._ids, 8 * (plane * self.rows + self._identified), values.astype("<u8", copy=False))
        self._identified += len(ids[0])
        self._signatures.write(np.ascontiguousarray(signatures, "<u4").data)
        self._pending.append(known.select(DOCUMENTS.names).cast(DOCUMENTS))
        self._documented += known.num_rows
        if self._documented >= BATCH_ROWS:
            self._flush(whole=False)

    def band(self, band: int, keys: U64, rows: NDArray[np.integer[Any]]) -> None:
        """Append keys of a band, in ascending order, and whose they are."""
        at = band * self.rows + self._banded[band]
        _write_at(self._keys, 8 * at, keys.astype("<u8", copy=False))
        _write_at(self._owners, 4 * at, rows.astype("<u4"))
        self._banded[band] += len(keys)

    def commit(self, corpora: Mapping[str, int]) -> dict[str, Any]:
        """Finish the files; gives what a manifest says of the segment. `corpora` counts its documents."""
        assert self._identified == self.rows, "as many documents as were promised"
        assert all(n == self.rows for n in self._banded), "every document is in every band"
        self._flush(whole=True)
        self._files.close()
        record = self._attempt.commit({"name": self._name, "rows": self.rows})
        return {n: record[n] for n in ("name", "rows", "files")} | {"dead": 0, "corpora": dict(corpora)}

    def _flush(self, *, whole: bool) -> None:
        """Write full batches, so that a row's batch follows from its number."""
        table = pa.concat_tables(self._pending).combine_chunks() if self._pending else DOCUMENTS.empty_table()
        full = table.num_rows if whole else table.num_rows // BATCH_ROWS * BATCH_ROWS
        for batch in table.slice(0, full).to_batches(max_chunksize=BATCH_ROWS):
            self._documents.write_batch(batch)
        rest = table.slice(full)
        self._pending, self._documented = ([rest] if rest.num_rows else []), rest.num_rows


def write_segment(
    store: Store, index: str, documents: pa.Table, add: tuple[int, str], configuration: Configuration
) -> dict[str, Any]:
    """Write documents (columns COMING) that come with an add (its number and corpus) as a segment; gives its entry."""
    high, low = halves(documents["doc_id"])
    order = np.lexsort((low, high))
    documents = documents.take(pa.array(order))
    signatures = sketches(documents["signature"], configuration.permutations)
    ids = high[order], low[order], np.full(len(order), add[0], np.uint64)
    with SegmentWriter(store, index, len(order), configuration) as writer:
        writer.documents(ids, signatures, documents)
        keys = keys_of(signatures, configuration)
        for band in range(configuration.bands):
            by_key = np.argsort(keys[:, band], kind="stable")
            writer.band(band, keys[by_key, band], by_key)
        return writer.commit({add[1]: len(order)})


def keys_of(signatures: U32, configuration: Configuration) -> U64:
    """The key of every sketch in every band: [document, band]."""
    from stages.kernels.minhash import band_keys  # noqa: PLC0415 - numba is for those who write

    bands, rows = configuration.bands, configuration.rows
    keys = np.empty((len(signatures), bands), np.uint64, order="F")
    for a in range(0, len(signatures), _KEYED):
        keys[a : a + _KEYED] = band_keys(np.array(signatures[a : a + _KEYED], order="C"), bands, rows)
    return keys


def _write_at(file: BinaryIO, offset: int, values: NDArray[Any]) -> None:
    file.seek(offset)
    file.write(np.ascontiguousarray(values).data)
