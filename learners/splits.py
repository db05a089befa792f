"""Parts of labelled documents by a hash of the normalized text: equal texts are never in two parts."""

import hashlib
import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

TRAIN, CALIBRATE, HELD_OUT = 0, 1, 2


def normalized(text: str) -> str:
    """NFKC, case-folded, white space as one space: texts that differ in less are one text."""
    return " ".join(unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()).split())


def digests(texts: Sequence[str], *, seed: int) -> NDArray[np.uint64]:
    """A uniform 64-bit number for each text, the same for equal normalized texts."""
    key = seed.to_bytes(16, "big", signed=True)
    hashes = [hashlib.blake2b(normalized(t).encode("utf-8", "surrogatepass"), digest_size=8, key=key) for t in texts]
    return np.array([int.from_bytes(h.digest(), "big") for h in hashes], np.uint64)


def parts(digests_N: NDArray[np.uint64], *, calibrate: float, held_out: float) -> NDArray[np.int8]:
    """TRAIN, CALIBRATE or HELD_OUT for each document: those shares of the range of hashes."""
    u_N = digests_N.astype(np.float64) / 2.0**64
    answer = np.where(u_N < held_out, HELD_OUT, np.where(u_N < held_out + calibrate, CALIBRATE, TRAIN))
    return answer.astype(np.int8)
