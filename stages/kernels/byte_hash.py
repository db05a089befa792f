"""A 64-bit hash of each string of an Arrow array, for who meets whom: not for identity."""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.kernels.arrow import buffers
from stages.kernels.peek import kernel, u8, u64

_M = np.uint64(0x9E3779B97F4A7C15)
_N = np.uint64(0xD6E8FEB86659FD93)
_8, _32 = np.uint64(8), np.uint64(32)


@kernel()
def _hashes(data: Any, offsets: Any) -> Any:
    address = data.ctypes.data
    out = np.empty(offsets.shape[0] - 1, np.uint64)
    for s in range(out.shape[0]):
        lo, hi = np.int64(offsets[s]), np.int64(offsets[s + 1])
        h = np.uint64(hi - lo) * _M
        whole = (hi - lo) // 8
        for w in range(whole):
            h = (h ^ u64(address + lo, w)) * _N
            h ^= h >> _32
        last = np.uint64(0)
        for i in range(lo + 8 * whole, hi):
            last = (last << _8) | np.uint64(u8(address, i))
        h = (h ^ last) * _N
        h ^= h >> _32
        h *= _M
        out[s] = h ^ (h >> _32)
    return out


def byte_hashes(values: pa.Array) -> NDArray[np.uint64]:
    """The hash of each string, equal on every machine; nulls are hashed as whatever bytes they have."""
    data, offsets = buffers(values)
    hashes: NDArray[np.uint64] = _hashes(data, offsets)
    return hashes
