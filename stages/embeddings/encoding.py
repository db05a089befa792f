"""What every encoder gives, and how its vectors become a column of float16 bytes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

BYTES = 2  # of a float16


@dataclass(frozen=True, slots=True)
class Encoded:
    """A vector for each text (N texts, D dimensions), not yet of length 1, and what it was made of.

    A text without a known token has `tokens` 0, and its vector means nothing.
    """

    vectors: NDArray[np.float32]  # N, D
    tokens: NDArray[np.int64]
    truncated: NDArray[np.bool_]


Encoder = Callable[[pa.StringArray], Encoded]


def column_of(encoded: Encoded) -> pa.FixedSizeBinaryArray:
    """The vectors at length 1, as little-endian float16 bytes; null where there is no vector."""
    x_ND = encoded.vectors
    length_N = np.sqrt(np.add.reduce(np.square(x_ND, dtype=np.float64), axis=1))
    known_N = (encoded.tokens > 0) & (length_N > 0)
    unit_ND = (x_ND / np.where(known_N, length_N, 1.0)[:, None]).astype("<f2")
    unit_ND[~known_N] = 0
    mask = pa.array(known_N).buffers()[1]
    data = pa.py_buffer(np.ascontiguousarray(unit_ND))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(BYTES * x_ND.shape[1]), len(x_ND), [mask, data])


def vectors_of(column: pa.Array) -> NDArray[np.float16]:
    """The float16 vectors (N, D) of a column of `column_of`; what a null holds means nothing."""
    width = column.type.byte_width
    data = column.buffers()[1]
    if not len(column) or data is None:
        return np.zeros((len(column), width // BYTES), np.float16)
    flat = np.frombuffer(data, "<f2", len(column) * (width // BYTES), column.offset * width)
    return flat.reshape(len(column), width // BYTES)
