"""N-grams of a text in lower case, of every order up to some, hashed into buckets: what importance weights are made of.

`fast` hashes the bytes with a kernel; `sha256` is the hash of the paper's authors, in Python and far slower.
"""

# numba infers the types of its integers and tuples, which mypy takes for Python's
# mypy: ignore-errors

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import copy, inner, kernel
from stages.kernels.sketch_tokens import SEED, finish, step
from stages.kernels.wordpunct_classes import classes
from stages.kernels.wordpunct_tokens import GAP, end_token, scan_tokens

Hash = Literal["fast", "sha256"]
#: Tokens that are hashed at a time; their hashes stay in the first-level cache.
CHUNK = 1024
TOKEN = re.compile(r"\w+|[^\w\s]+")
#: N-grams of which the sha256 mode remembers the bucket.
REMEMBERED = 1 << 20

_0, _32 = np.uint64(0), np.uint64(32)


@dataclass(frozen=True, slots=True)
class Hashed:
    """Buckets of the n-grams of N texts, those of text i from `begins[i]` on, and how many tokens each has."""

    buckets: NDArray[np.int32]
    begins: NDArray[np.int64]  # N + 1
    tokens: NDArray[np.int64]  # N


@inner()
def _grown(values: Any, used: int, room: int) -> Any:
    larger = np.empty(room, np.int32)
    copy(larger, 0, values, 0, used)
    return larger


@inner()
def _bucket(h: int, buckets: int) -> int:
    """The upper 32 bits of a hash as a number below `buckets`."""
    return np.int32(((h >> _32) * buckets) >> _32)


@inner()
def _fill(tokens: Any, have: int, count: int, ngrams: int, buckets: int, found: Any, n: int) -> int:
    """Write the buckets of the n-grams that begin at the first `count` of `have` tokens; gives the place after them."""
    for i in range(count):
        h = tokens[i]
        found[n] = _bucket(h, buckets)
        n += 1
        for k in range(i + 1, min(i + ngrams, have)):
            h = finish(step(step(SEED, h), tokens[k]))
            found[n] = _bucket(h, buckets)
            n += 1
    return n


@kernel()
def _hash_all(data: Any, offsets: Any, block: Any, ngrams: int, buckets: int) -> tuple[Any, Any, Any]:
    address, t = data.ctypes.data, block.ctypes.data
    tokens = np.empty(CHUNK + ngrams, np.uint64)
    out = tokens.ctypes.data
    documents = offsets.shape[0] - 1
    begins, counts = np.zeros(documents + 1, np.int64), np.zeros(documents, np.int64)
    found, n = np.empty(4 * CHUNK * ngrams, np.int32), np.int64(0)
    for d in range(documents):
        lo, hi = np.int64(offsets[d]), np.int64(offsets[d + 1])
        i, have, total = lo, np.int64(0), np.int64(0)
        token = (SEED, _0, _0, np.int64(GAP))
        going = lo < hi
        while going:
            before = have
            i, have, token = scan_tokens(address, i, lo, hi, t, token, out, have, np.int64(CHUNK))
            going = i < hi
            if not going and token[3] != GAP:
                tokens[have] = end_token(token[0], token[1], token[2])
                have += 1
            total += have - before
            count = max(have - ngrams + 1, 0) if going else have
            if n + count * ngrams > found.shape[0]:
                found = _grown(found, n, 2 * found.shape[0])
            n = _fill(tokens, have, count, ngrams, np.uint64(buckets), found, n)
            copy(tokens, 0, tokens, count, have - count)
            have -= count
        begins[d + 1], counts[d] = n, total
    tokens[0] = 0  # its last use is here: numba frees an array after that, whoever still holds the address
    return found[:n], begins, counts


def hashed_ngrams(texts: pa.Array, ngrams: int, buckets: int, hash: Hash) -> Hashed:  # noqa: A002 - the field's own name
    r"""The bucket of every n-gram of 1 to `ngrams` tokens `\w+|[^\w\s]+` of the text in lower case.

    Fast: at each token the n-grams that begin there, shortest first; a token's hash is that of its UTF-8, an n-gram's is
    mixed from its tokens', and its upper 32 bits are scaled to the number of buckets. sha256: all of one order after the
    other; SHA-256 of the tokens joined by one space, modulo the number of buckets. Memory: four bytes an n-gram.
    """
    if hash == "sha256":
        return _with_sha256(texts, ngrams, buckets)
    data, offsets = buffers(texts)
    return Hashed(*_hash_all(data, offsets, classes(), ngrams, buckets))


def _with_sha256(texts: pa.Array, ngrams: int, buckets: int) -> Hashed:
    known: dict[str, int] = {}
    parts, tokens = [], []
    for text in texts.to_pylist():
        words = TOKEN.findall(text.lower())
        grams = [" ".join(words[i : i + k]) for k in range(1, ngrams + 1) for i in range(len(words) - k + 1)]
        if len(known) > REMEMBERED:
            known.clear()
        for gram in grams:
            if gram not in known:
                known[gram] = int.from_bytes(hashlib.sha256(gram.encode()).digest(), "big") % buckets
        parts.append(np.fromiter((known[g] for g in grams), np.int32, len(grams)))
        tokens.append(len(words))
    begins = np.zeros(len(parts) + 1, np.int64)
    np.cumsum([len(p) for p in parts], out=begins[1:])
    return Hashed(np.concatenate([np.empty(0, np.int32), *parts]), begins, np.array(tokens, np.int64))
