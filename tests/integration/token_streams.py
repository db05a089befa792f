"""What tests of token packs, views and streams are made of: packs of made-up documents, and the slow way of reading them."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from trainer.token_pack import PackWriter, TokenPack

END = 3
VOCABULARY = 500
_MASK = (1 << 64) - 1


def name_of(n: int) -> bytes:
    """The 16 bytes of the id of the n-th document."""
    return hashlib.blake2b(str(n).encode(), digest_size=16).digest()


def written(path: Path, documents: Sequence[list[int] | None], first: int = 0, vocabulary: int = VOCABULARY) -> Path:
    """A pack file of documents (None: tokens unknown); the n-th has the id of `first + n` and n bytes."""
    with PackWriter(path, vocabulary=vocabulary, end_of_text=END, tokenizer="bpe-test") as writer:
        names = np.frombuffer(b"".join(name_of(first + n) for n in range(len(documents))), np.uint8).reshape(-1, 16)
        lengths = np.array([-1 if d is None else len(d) for d in documents], np.int64)
        ids = np.array([t for d in documents for t in d or ()], np.uint32)
        writer.append(names, lengths, ids, np.arange(len(documents)))
        writer.close()
    return path


def packed(folder: Path, shards: Sequence[Sequence[list[int] | None]], vocabulary: int = VOCABULARY) -> TokenPack:
    """A pack of several files; documents are numbered through them."""
    first, paths = 0, []
    for number, documents in enumerate(shards):
        paths.append(written(folder / f"{number:05d}.pack", documents, first, vocabulary))
        first += len(documents)
    return TokenPack.open(paths)


@dataclass(frozen=True)
class Token:
    """A token of a stream: which document of which epoch it is of, and the how manieth in it (0: end-of-text)."""

    id: int
    copy: tuple[int, int]  # epoch, place in the epoch
    row: int
    offset: int


def stream_of(
    documents: Sequence[list[int]], rows: Sequence[int], *, ordered: bool, seed: int, end: int = END
) -> Iterator[Token]:
    """The tokens of all epochs, one after the other, without an end."""
    epoch = 0
    while True:
        for place, row in enumerate(list(rows) if ordered else shuffled(rows, seed, epoch)):
            for offset, token in enumerate([end, *documents[row]]):
                yield Token(token, (epoch, place), row, offset)
        epoch += 1


def shuffled(rows: Sequence[int], seed: int, epoch: int) -> list[int]:
    """Rows by the hash of seed, epoch, document id and how many of the same came before."""
    seen: dict[int, int] = {}
    drawn = []
    for row in sorted(rows):
        drawn.append((_hash(seed, epoch, row, seen.get(row, 0)), row))
        seen[row] = seen.get(row, 0) + 1
    return [row for _, row in sorted(drawn)]


def sequence_order(tokens: int, context: int, *, ordered: bool, seed: int) -> Iterator[int]:
    """Which sequence of the stream comes next, epoch after epoch: drawn by the permutation of each part of each epoch."""
    whole = tokens // context
    part = max(1, whole // 64) if ordered else whole + 1
    epoch, next_one = 0, 0
    while True:
        end = (epoch + 1) * tokens // context
        if next_one < end and next_one * context < epoch * tokens:
            yield next_one
            next_one += 1
        for number, low in enumerate(range(next_one, end, part)):
            size = min(part, end - low)
            yield from (low + i for i in permutation(seed, f"sequences/{epoch}/{number}", size))
        epoch, next_one = epoch + 1, end


def permutation(seed: int, kind: str, size: int) -> list[int]:
    """A permutation, number by number: four rounds that swap two halves of bits, repeated while beyond the size."""
    bits, key, moved = (size - 1).bit_length(), _key(seed, kind), []
    for x in range(size):
        while True:
            low, high = bits // 2, bits - bits // 2
            for number in range(4 if bits > 6 else 16):
                left, right = x >> low, x % (1 << low)
                left ^= _split_mix(_split_mix(right ^ key) ^ number) % (1 << high)
                x, low, high = right << high | left, high, low  # noqa: PLW2901 - walks until it is inside
            if x < size:
                break
        moved.append(x)
    return moved


def _key(seed: int, kind: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}\0{kind}".encode(), digest_size=8).digest(), "big")


def _hash(seed: int, epoch: int, row: int, before: int) -> int:
    key = _key(seed, f"order/{epoch}")
    high, low = int.from_bytes(name_of(row)[:8], "big"), int.from_bytes(name_of(row)[8:], "big")
    return _split_mix(_split_mix(high ^ key) ^ (low + before) & _MASK)


def _split_mix(x: int) -> int:
    x = (x + 0x9E3779B97F4A7C15) & _MASK
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9 & _MASK
    x = (x ^ (x >> 27)) * 0x94D049BB133111EB & _MASK
    return x ^ (x >> 31)
