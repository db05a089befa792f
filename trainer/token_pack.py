"""The token column as flat files that every arm maps: documents one after the other, no text, no copy for an arm.

A pack is one file a shard. It holds each document's own tokens (no specials), its id, its UTF-8 bytes and where it begins.
A document whose tokens are unknown has the length -1, and no tokens. Rows count through the files in the order given.

    with PackWriter(path, vocabulary=4096, end_of_text=0, tokenizer="bpe-1f2e...") as writer:
        writer.append(doc_ids, lengths, ids, byte_counts)       # as often as there are batches
        writer.close()
    pack = TokenPack.open([path, ...])
    pack.ids(7)                                                 # uint16 or uint32, a view of the file

Opening reads headers alone. Files are mapped when they are read; half as many at once as the process may open, those used
last (with the usual limit of 1,024, a corpus of more than 512 shards in random order is read faster after `ulimit -n 65536`).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property, lru_cache
from itertools import pairwise
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Any, Self, cast

import numpy as np
from numpy.typing import NDArray

from stages import fingerprint
from stages.errors import DataError
from trainer.flat_file import FlatFile, FlatWriter

Numbers = NDArray[np.int64]

MAGIC = b"tamisTP1"
WHAT = "a pack of tokens"
#: Files that are mapped at once at most, and what part of the open files that a process may have; see `ulimit -n`.
OPEN_FILES = 16_384
OPEN_SHARE = 0.5
#: Vocabularies up to here have ids of two bytes.
SMALL_VOCABULARY = 1 << 16
_ID_BYTES = 16


class PackWriter:
    """Writes one shard's tokens. Nothing is seen under `path` before `close`, and nothing stays after an error.

    vocabulary: ids are 0 to vocabulary - 1; end_of_text: the id put before each document in a stream; tokenizer: the
    artifact's id, which must agree among files that are opened together.

    Raises:
        StorageError: the file cannot be written, say because the disk is full.
    """

    def __init__(self, path: Path, *, vocabulary: int, end_of_text: int, tokenizer: str) -> None:
        if not 0 <= end_of_text < vocabulary:
            raise ValueError(f"end of text {end_of_text} is not an id of a vocabulary of {vocabulary} entries")
        self._facts = {"vocabulary": vocabulary, "end_of_text": end_of_text, "tokenizer": tokenizer}
        self._vocabulary = vocabulary
        self._kind = np.uint16 if vocabulary <= SMALL_VOCABULARY else np.uint32
        self._narrow: list[tuple[NDArray[np.uint8], Numbers, Numbers]] = []
        self._writer = FlatWriter(path, MAGIC)
        self._writer.array("ids", np.empty(0, self._kind))

    def append(
        self, doc_ids: NDArray[Any], lengths: NDArray[np.integer], ids: NDArray[np.integer], byte_counts: NDArray[Any]
    ) -> None:
        """Add documents.

        doc_ids: 16 bytes each, as [N, 16] of uint8 or [N] of S16; lengths: tokens of each, [N], -1 where unknown;
        ids: the tokens of all documents, one after the other; byte_counts: UTF-8 bytes of each text, [N], -1 if unknown.

        Raises:
            ValueError: the arrays do not fit together.
            DataError: an id is not in the vocabulary.
        """
        names = np.ascontiguousarray(doc_ids).view(np.uint8).reshape(-1, _ID_BYTES)
        held = np.maximum(lengths, 0)
        if (
            not len(names) == len(lengths) == len(byte_counts)
            or held.sum() != len(ids)
            or np.min(lengths, initial=0) < -1
        ):
            raise ValueError(
                f"{len(names)} document ids, {len(lengths)} lengths (of {held.sum()} tokens in all), {len(ids)} tokens "
                f"and {len(byte_counts)} byte counts do not fit together"
            )
        if len(ids) and not (ids.min() >= 0 and ids.max() < self._vocabulary):
            wrong = ids.max() if ids.max() >= self._vocabulary else ids.min()
            raise DataError(
                f"a token for {str(self._writer.path)!r} has the id {wrong}, but the tokenizer "
                f"{self._facts['tokenizer']!r} has {self._vocabulary} entries; tokenize with the tokenizer that is named"
            )
        self._writer.array("ids", ids.astype(self._kind))
        self._narrow.append((names.copy(), lengths.astype(np.int64), byte_counts.astype(np.int64)))

    def close(self) -> None:
        """Give the file its name.

        Raises:
            StorageError: the file cannot be written.
        """
        empty = (np.empty((0, _ID_BYTES), np.uint8), np.empty(0, np.int64), np.empty(0, np.int64))
        names, lengths, counts = (np.concatenate(parts) for parts in zip(empty, *self._narrow, strict=True))
        held = np.maximum(lengths, 0)
        begins = np.concatenate([[0], np.cumsum(held)]).astype(np.int64)
        for name, values in (("doc_ids", names), ("lengths", lengths), ("begins", begins), ("bytes", counts)):
            self._writer.array(name, values)
        facts = {"documents": len(lengths), "tokens": int(held.sum()), "unknown": int((lengths < 0).sum())}
        self._writer.finish({**self._facts, **facts, "format": 1})

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.discard()


class TokenPack:
    """Shards of tokens as one column; see the module for what is in it.

    documents, tokens: of all files, tokens being the documents' own; unknown: documents whose tokens are unknown;
    key: of the contents and their order.
    """

    def __init__(self, files: Sequence[FlatFile]) -> None:
        """A pack of files opened already; `TokenPack.open` opens them."""
        first = files[0].header
        self.vocabulary: int = first["vocabulary"]
        self.end_of_text: int = first["end_of_text"]
        self.tokenizer: str = first["tokenizer"]
        self.documents = sum(f.header["documents"] for f in files)
        self.tokens: int = sum(f.header["tokens"] for f in files)
        self.unknown: int = sum(f.header["unknown"] for f in files)
        facts = {"vocabulary": self.vocabulary, "end_of_text": self.end_of_text, "tokenizer": self.tokenizer}
        self.key = fingerprint.key({**facts, "files": [f.header["digest"] for f in files]})
        self._files = tuple(files)
        self._firsts = np.concatenate([[0], np.cumsum([f.header["documents"] for f in files])])[:-1].astype(np.int64)
        self._first_list: list[int] = self._firsts.tolist()
        self._mapped: Callable[[int], dict[str, NDArray[Any]]] = lru_cache(_open_files())(lambda n: files[n].map())

    @classmethod
    def open(cls, paths: Sequence[Path]) -> Self:
        """Open the shards of a pack, in this order.

        Raises:
            StorageError: a file is missing, cut, damaged in its header or not a pack.
            DataError: there is none, or they come from different tokenizers.
        """
        if not paths:
            raise DataError("there are no packs of tokens to open; tokenize a corpus first")
        files = [FlatFile(Path(path), MAGIC, WHAT) for path in paths]
        facts = ("tokenizer", "vocabulary", "end_of_text")
        for file in files[1:]:
            for fact in facts:
                if file.header[fact] != files[0].header[fact]:
                    raise DataError(
                        f"{str(file.path)!r} has the {fact.replace('_', ' ')} {file.header[fact]!r}, but "
                        f"{str(files[0].path)!r} has {files[0].header[fact]!r}; tokenize all shards with one tokenizer"
                    )
        return cls(files)

    @cached_property
    def lengths(self) -> Numbers:
        """Own tokens of every document, [documents], -1 where unknown; the files' own memory when there is one file."""
        return self._whole("lengths")

    @cached_property
    def bytes(self) -> Numbers:
        """UTF-8 bytes of every document's text, [documents], -1 where unknown."""
        return self._whole("bytes")

    def ids(self, row: int) -> NDArray[np.uint16] | NDArray[np.uint32]:
        """A document's own tokens, a view of the file.

        Raises:
            IndexError: there is no such row.
            ValueError: its tokens are unknown.
        """
        number, local = self._place(row)
        arrays = self._mapped(number)
        if arrays["lengths"][local] < 0:
            raise ValueError(f"the tokens of document {self.doc_id(row)} are unknown")
        begin, end = arrays["begins"][local : local + 2]
        return cast("NDArray[np.uint16] | NDArray[np.uint32]", arrays["ids"][begin:end])

    def doc_id(self, row: int) -> str:
        """A document's id, 32 hex digits.

        Raises:
            IndexError: there is no such row.
        """
        number, local = self._place(row)
        found: str = self._mapped(number)["doc_ids"][local].tobytes().hex()
        return found

    def doc_ids_of(self, rows: Numbers) -> NDArray[np.uint8]:
        """The 16 bytes of each row's document id: [rows, 16]."""
        return self._taken("doc_ids", rows, np.empty((len(rows), _ID_BYTES), np.uint8))

    def lengths_of(self, rows: Numbers) -> Numbers:
        """Own tokens of each row, -1 where unknown."""
        return self._taken("lengths", rows, np.empty(len(rows), np.int64))

    def bytes_of(self, rows: Numbers) -> Numbers:
        """UTF-8 bytes of each row's text, -1 where unknown."""
        return self._taken("bytes", rows, np.empty(len(rows), np.int64))

    def copy(self, rows: Numbers, offsets: Numbers, lengths: Numbers, into: Numbers, at: Numbers) -> None:
        """Copy `lengths[i]` own tokens of `rows[i]` from its token `offsets[i]` on to `into[at[i]]` and after."""
        for number, places in self._by_file(rows):
            arrays = self._mapped(number)
            begins = arrays["begins"][rows[places] - self._firsts[number]] + offsets[places]
            ids = arrays["ids"]
            for begin, count, to in zip(begins.tolist(), lengths[places].tolist(), at[places].tolist(), strict=True):
                into[to : to + count] = ids[begin : begin + count]

    def verify(self) -> None:
        """Read every file whole and compare its digest; opening compares those of the headers alone.

        Raises:
            StorageError: a file is not what was written.
        """
        for file in self._files:
            file.verify()

    def _whole(self, name: str) -> Numbers:
        parts = [self._mapped(number)[name] for number in range(len(self._files))]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _taken(self, name: str, rows: Numbers, into: NDArray[Any]) -> NDArray[Any]:
        for number, places in self._by_file(rows):
            into[places] = self._mapped(number)[name][rows[places] - self._firsts[number]]
        return into

    def _by_file(self, rows: Numbers) -> Iterator[tuple[int, Any]]:
        """Every file that has some of the rows, and which ones: a slice where rows ascend, else places."""
        if not len(rows):
            return
        if rows.min() < 0 or rows.max() >= self.documents:
            raise IndexError(f"rows {rows.min()} to {rows.max()} are not all in a pack of {self.documents} documents")
        if len(self._files) == 1:
            yield 0, slice(None)
            return
        if (rows[1:] >= rows[:-1]).all():
            first, last = np.searchsorted(self._firsts, rows[[0, -1]], side="right") - 1
            cuts = np.searchsorted(rows, self._firsts[first : last + 1]).tolist()
            for number, (begin, end) in enumerate(pairwise([*cuts, len(rows)]), int(first)):
                if begin < end:
                    yield number, slice(begin, end)
            return
        numbers = np.searchsorted(self._firsts, rows, side="right") - 1
        order = np.argsort(numbers, kind="stable")
        held = numbers[order]
        cuts = (np.flatnonzero(held[1:] != held[:-1]) + 1).tolist()
        for begin, end in pairwise([0, *cuts, len(rows)]):
            yield int(held[begin]), order[begin:end]

    def _place(self, row: int) -> tuple[int, int]:
        if not 0 <= row < self.documents:
            raise IndexError(f"row {row} is not in a pack of {self.documents} documents")
        number = bisect_right(self._first_list, row) - 1
        return number, row - self._first_list[number]


def _open_files() -> int:
    limit, _ = getrlimit(RLIMIT_NOFILE)
    return OPEN_FILES if limit == RLIM_INFINITY else min(OPEN_FILES, max(int(OPEN_SHARE * limit), 1))
