"""Random choices that depend on the document alone: u = hash(seed, kind, doc_id).

The same document gets the same number whatever the order, the shards and the workers.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def draw(seed: int, kind: str, doc_ids: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """A uniform 64-bit number for every document id (32 hex digits each).

    The id is itself a hash, so mixing its two halves with a key made of (seed, kind) is enough:
    the finalizer of SplitMix64 (Steele, Lea, Flood 2014), once for each half.
    """
    key = int.from_bytes(hashlib.blake2b(f"{seed}\0{kind}".encode(), digest_size=8).digest(), "big")
    high, low = _halves(doc_ids)
    return _mix(_mix(high ^ np.uint64(key)) ^ low)


def lowest(numbers: npt.NDArray[np.uint64], n: int) -> npt.NDArray[np.int64]:
    """Positions of the `n` smallest numbers, smallest first."""
    if len(numbers) > n:
        near = np.argpartition(numbers, n - 1)[:n] if n else np.empty(0, np.int64)
    else:
        near = np.arange(len(numbers))
    chosen: npt.NDArray[np.int64] = near[np.argsort(numbers[near], kind="stable")].astype(np.int64)
    return chosen


def _halves(doc_ids: pa.Array | pa.ChunkedArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    digits = "".join(doc_ids.to_pylist())
    halves_N2 = np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64).reshape(-1, 2)
    return halves_N2[:, 0], halves_N2[:, 1]


def _mix(x_N: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    x_N = x_N + np.uint64(0x9E3779B97F4A7C15)
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))
