"""Random choices that depend on the document alone: u = hash(seed, kind, doc_id).

The same document gets the same number whatever the order, the shards and the workers, and the same to the last bit on
every processor: only operations that IEEE 754 rounds exactly are used, no library's logarithm.
"""

import hashlib

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from stages.document import packed

Numbers = npt.NDArray[np.uint64]
Real = npt.NDArray[np.float64]
#: Below it ln(1 - u) is taken from the series in u, which loses nothing.
_SMALL = 0.25
#: Permutations of numbers of so few bits take more rounds: from 7 bits on four are as good as any number.
_FEW_BITS = 6


def draw(seed: int, kind: str, doc_ids: pa.Array | pa.ChunkedArray) -> Numbers:
    """A uniform 64-bit number for every document id (32 hex digits each)."""
    return mixed(seed, kind, *halves(doc_ids))


def mixed(seed: int, kind: str, high: Numbers, low: Numbers | np.uint64) -> Numbers:
    """A uniform 64-bit number for every document id, given as two halves.

    The id is itself a hash, so mixing its two halves with a key made of (seed, kind) is enough:
    the finalizer of SplitMix64 (Steele, Lea, Flood 2014), once for each half.
    """
    key = int.from_bytes(hashlib.blake2b(f"{seed}\0{kind}".encode(), digest_size=8).digest(), "big")
    return _mix(_mix(high ^ np.uint64(key)) ^ low)


def halves(doc_ids: pa.Array | pa.ChunkedArray) -> tuple[Numbers, Numbers]:
    """The first and the last 64 bits of every document id; compared in turn they have the order of the ids."""
    chunked = doc_ids if isinstance(doc_ids, pa.ChunkedArray) else pa.chunked_array([doc_ids])
    halves_N2 = np.ascontiguousarray(packed(chunked)).view(">u8").astype(np.uint64).reshape(-1, 2)
    return halves_N2[:, 0].copy(), halves_N2[:, 1].copy()


def uniform(numbers: Numbers) -> Real:
    """Fractions in the open interval (0, 1), fine near 0."""
    return np.minimum((numbers.astype(np.float64) + 0.5) * 2.0**-64, 1 - 2.0**-53)


def gumbel(numbers: Numbers) -> Real:
    """Standard Gumbel variates -ln(-ln(1 - u)), for uniform numbers; between -3.7 and 45.1.

    Adding them to log-weights and taking the largest samples without replacement in proportion to the weights
    (Yellott 1977; Kool, van Hoof, Welling 2019, arXiv:1903.06059).
    """
    return -log(-_log_1_minus(uniform(numbers)))


def log(x: Real) -> Real:
    """The natural logarithm of positive finite numbers, within 2 units in the last place or 1e-16, equal everywhere."""
    fraction, exponent = np.frexp(x)
    small = fraction < np.sqrt(0.5)
    fraction = np.where(small, 2 * fraction, fraction)
    whole: Real = (exponent - small) * np.log(2.0) + _twice_atanh((fraction - 1) / (fraction + 1))
    return whole


def lowest(numbers: Numbers, n: int) -> npt.NDArray[np.int64]:
    """Positions of the `n` smallest numbers, smallest first."""
    if len(numbers) > n:
        near = np.argpartition(numbers, n - 1)[:n] if n else np.empty(0, np.int64)
    else:
        near = np.arange(len(numbers))
    chosen: npt.NDArray[np.int64] = near[np.argsort(numbers[near], kind="stable")].astype(np.int64)
    return chosen


def permuted(seed: int, kind: str, n: int, positions: Numbers) -> Numbers:
    """Where a random permutation of 0 to n - 1 takes positions: the same permutation for the same seed, kind and n.

    No list is drawn up, so n costs nothing: four Feistel rounds over the smallest power of two that holds n (Luby and Rackoff
    1988), gone through again by what comes out beyond n (cycle walking; Black and Rogaway 2002), less than twice on average.
    Halves of a few bits mix badly, so there more rounds are made.
    """
    if n <= 1:
        return positions.copy()
    bits = (n - 1).bit_length()
    moved = _feistel(seed, kind, bits, positions)
    beyond = np.flatnonzero(moved >= n)
    while len(beyond):
        moved[beyond] = _feistel(seed, kind, bits, moved[beyond])
        beyond = beyond[moved[beyond] >= n]
    return moved


def _feistel(seed: int, kind: str, bits: int, x_N: Numbers) -> Numbers:
    """A permutation of the numbers of so many bits: each round swaps the halves and mixes one into the other."""
    low, high = bits // 2, bits - bits // 2
    for number in range(4 if bits > _FEW_BITS else 16):
        left, right = x_N >> np.uint64(low), x_N & np.uint64((1 << low) - 1)
        left ^= mixed(seed, kind, right, np.uint64(number)) & np.uint64((1 << high) - 1)
        x_N = right << np.uint64(high) | left
        low, high = high, low
    return x_N


def _log_1_minus(u: Real) -> Real:
    """ln(1 - u), exact for small u too."""
    small = np.minimum(u, _SMALL)
    return np.where(u < _SMALL, _twice_atanh(small / (small - 2)), log(1 - u))


def _twice_atanh(s: Real) -> Real:
    """2 artanh(s) for |s| <= 0.18, by its series: 2 (s + s^3/3 + ... + s^21/21)."""
    square = s * s
    total = np.zeros_like(s)
    for odd in range(21, 0, -2):
        total = total * square + 1 / odd
    return 2 * s * total


def _mix(x_N: Numbers) -> Numbers:
    x_N = x_N + np.uint64(0x9E3779B97F4A7C15)
    x_N = (x_N ^ (x_N >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x_N = (x_N ^ (x_N >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x_N ^ (x_N >> np.uint64(31))
