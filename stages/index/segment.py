"""One segment of a near-duplicate index: documents sorted by id, and for each band their keys, sorted.

    {segment}.ids          doc_id's high half, its low half, the number of the add: three planes of uint64
    {segment}.keys         for each band, the documents' keys in ascending order: uint64
    {segment}.rows         for each band, whose keys these are (in a bucket ascending): uint32
    {segment}.signatures   the sketches: uint32 [document, permutation]
    {segment}.documents    id, source, path and url: Arrow, without compression, 16,384 documents a batch

Files are mapped, so that a lookup reads the pages that it needs. A segment never changes.
"""

from collections.abc import Mapping
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.base import Files
from stages.errors import StorageError
from stages.index.manifest import Configuration

U64 = NDArray[np.uint64]
U32 = NDArray[np.uint32]
I64 = NDArray[np.int64]

SUFFIXES = (".ids", ".keys", ".rows", ".signatures", ".documents")
#: What is known of a document beside its id, its sketch and the add it came with.
DOCUMENTS = pa.schema([(name, pa.string()) for name in ("id", "source", "path", "url")])
BATCH_BITS = 14
BATCH_ROWS = 1 << BATCH_BITS


class Segment:
    """A segment opened for reading.

    Raises:
        StorageError: a file is missing or is not as long as the manifest says.
    """

    def __init__(self, files: Files, entry: Mapping[str, Any], configuration: Configuration) -> None:
        self.name: str = entry["name"]
        self.rows = int(entry["rows"])
        n, bands = self.rows, configuration.bands
        self._paths = {f["path"].rpartition(".")[2]: files.local(f["path"]) for f in entry["files"]}
        for known in entry["files"]:
            found = self._paths[known["path"].rpartition(".")[2]].stat().st_size
            if found != known["bytes"]:
                raise StorageError(
                    f"{known['path']!r} has {found} bytes, but the index was written with {known['bytes']}; "
                    "restore it or build the index again",
                    path=known["path"],
                )
        ids = self._mapped("ids", np.uint64, (3, n))
        self.high: U64 = ids[0]
        self.low: U64 = ids[1]
        self.adds: U64 = ids[2]
        self.keys: U64 = self._mapped("keys", np.uint64, (bands, n))
        self.owners: U32 = self._mapped("rows", np.uint32, (bands, n))
        self.signatures: U32 = self._mapped("signatures", np.uint32, (n, configuration.permutations))

    def _mapped(self, name: str, kind: Any, shape: tuple[int, int]) -> Any:
        return np.memmap(self._paths[name], kind, mode="r", shape=shape).view(np.ndarray)

    @cached_property
    def _documents(self) -> pa.RecordBatchFileReader:
        return pa.ipc.open_file(pa.memory_map(str(self._paths["documents"])))

    def document_batch(self, number: int) -> pa.RecordBatch:
        """The documents from row `number` * 16,384 on."""
        return self._documents.get_batch(number)

    def documents(self, rows: I64) -> pa.Table:
        """The documents of these rows, in this order."""
        order = np.argsort(rows, kind="stable")
        numbers = rows[order] >> BATCH_BITS
        cuts = np.flatnonzero(np.diff(numbers, prepend=-1))
        parts = [DOCUMENTS.empty_table()]
        for begin, end in pairwise([*cuts, len(rows)]):
            batch = self.document_batch(int(numbers[begin]))
            inside = rows[order[begin:end]] & (BATCH_ROWS - 1)
            parts.append(pa.Table.from_batches([batch.take(pa.array(inside))]))
        back = np.empty(len(rows), np.int64)
        back[order] = np.arange(len(rows))
        return pa.concat_tables(parts).take(pa.array(back))

    def called(self, name: str) -> I64:
        """The rows of the documents with that id of their own; reads all of them."""
        batches = range(self._documents.num_record_batches)
        found = [np.flatnonzero(pc.equal(self.document_batch(i)["id"], name)) + i * BATCH_ROWS for i in batches]
        return np.concatenate([np.empty(0, np.int64), *found])

    def having(self, high: U64, low: U64) -> tuple[I64, I64]:
        """Which of the ids asked for are here, and in which rows: (number of the id, row), several rows an id."""
        asked, rows = ranges(*bounds(self.high, high))
        same = self.low[rows] == low[asked]
        return asked[same], rows[same]


def bounds(ordered: U64, sought: U64) -> tuple[I64, I64]:
    """For every sought value, where its equals begin and end in `ordered`."""
    # In ascending order the search walks the mapped pages once.
    order = np.argsort(sought, kind="stable")
    begin, end = np.empty(len(sought), np.int64), np.empty(len(sought), np.int64)
    begin[order] = np.searchsorted(ordered, sought[order], "left")
    end[order] = np.searchsorted(ordered, sought[order], "right")
    return begin, end


def ranges(begin: I64, end: I64) -> tuple[I64, I64]:
    """Every position of every range, with the range's number: [2, 7], [4, 8] -> [0, 0, 1], [2, 3, 7]."""
    lengths = end - begin
    owners = np.repeat(np.arange(len(begin)), lengths)
    starts = np.cumsum(lengths) - lengths
    return owners, np.arange(int(lengths.sum())) - starts[owners] + begin[owners]


def contains(ordered: I64, values: I64) -> NDArray[np.bool_]:
    """For every value, whether it is among the ordered ones."""
    if not len(ordered):
        return np.zeros(len(values), bool)
    return np.asarray(ordered[np.minimum(np.searchsorted(ordered, values), len(ordered) - 1)] == values)


def halves(doc_ids: pa.Array | pa.ChunkedArray) -> tuple[U64, U64]:
    """The high and the low 64 bits of ids of 32 hex digits."""
    digits = "".join(doc_ids.to_pylist())
    halves_N2 = np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64).reshape(-1, 2)
    return halves_N2[:, 0].copy(), halves_N2[:, 1].copy()


def hexadecimal(high: U64, low: U64) -> list[str]:
    """Ids of 32 hex digits from their halves."""
    digits = np.stack([high, low], axis=1).astype(">u8").tobytes().hex()
    return [digits[i : i + 32] for i in range(0, len(digits), 32)]


def sketches(signatures: pa.Array | pa.ChunkedArray, permutations: int) -> U32:
    """A column of sketches, none of them null, as an array [document, permutation]."""
    whole = signatures.combine_chunks() if isinstance(signatures, pa.ChunkedArray) else signatures
    if isinstance(whole, pa.ChunkedArray):
        whole = whole.chunk(0) if whole.num_chunks else pa.array([], signatures.type)
    values = np.frombuffer(whole.buffers()[1] or b"", np.uint8)
    width = 4 * permutations
    held = values[whole.offset * width : (whole.offset + len(whole)) * width]
    return held.view("<u4").reshape(len(whole), permutations)
