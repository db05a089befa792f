r"""The tokens and buckets of DSIR in plain Python: what importance weights are tested with."""

import hashlib
import re
from collections.abc import Iterator

from stages.kernels.hashed_ngrams import Hash

MASK = 0xFFFFFFFFFFFFFFFF


def tokens_of(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+", text.lower())


def fast_hash(token: str) -> int:
    h = 0x9E3779B97F4A7C15
    raw = token.encode()
    for start in range(0, len(raw), 8):
        h = step(h, int.from_bytes(raw[start : start + 8], "little"))
    return finish(h)


def step(h: int, w: int) -> int:
    h = (h ^ w) * 0xD6E8FEB86659FD93 & MASK
    return h ^ h >> 32


def finish(h: int) -> int:
    h = h * 0xFF51AFD7ED558CCD & MASK
    return h ^ h >> 29


def slow(text: str, ngrams: int, buckets: int, hash_name: Hash) -> Iterator[int]:
    """The bucket of every n-gram, in no order that matters."""
    tokens = tokens_of(text)
    for k in range(1, ngrams + 1):
        for gram in zip(*(tokens[i:] for i in range(k)), strict=False):
            if hash_name == "sha256":
                yield int(hashlib.sha256(" ".join(gram).encode()).hexdigest(), 16) % buckets
            else:
                h = fast_hash(gram[0])
                for token in gram[1:]:
                    h = finish(step(step(0x9E3779B97F4A7C15, h), fast_hash(token)))
                yield (h >> 32) * buckets >> 32
