"""The buffers of an Arrow string array as numpy arrays, without a copy."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def buffers(texts: pa.Array) -> tuple[NDArray[Any], NDArray[Any]]:
    """The UTF-8 bytes and the `n + 1` offsets of a string array; slices keep their place in the shared bytes.

    Raises:
        TypeError: the array is not of type `string`.
    """
    if texts.type != pa.string():
        message = f"a kernel reads `string`, not {texts.type}"
        raise TypeError(message)
    _, places, data = texts.buffers()
    if places is None or not len(texts):
        return _empty(), np.frombuffer(bytes(4), np.int32)
    offsets = np.frombuffer(places, np.int32, len(texts) + 1, texts.offset * 4)
    content = np.frombuffer(data, np.uint8) if data is not None and data.size else _empty()
    for array in (content, offsets):
        array.setflags(write=False)  # one type for the kernels, whether or not the buffer can be written to
    return content, offsets


def frozen(values: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to: one type for a kernel, wherever the values come from."""
    view = values.view()
    view.setflags(write=False)
    return view


def _empty() -> NDArray[Any]:
    return np.frombuffer(b"", np.uint8)


def ratio(top: NDArray[Any], bottom: NDArray[Any] | int) -> pa.Array:
    """Element-wise quotient as float64, null where the denominator is zero."""
    bottom = np.broadcast_to(np.asarray(bottom), top.shape)
    unknown = bottom == 0
    return pa.array(top / np.where(unknown, 1, bottom), pa.float64(), mask=unknown)
