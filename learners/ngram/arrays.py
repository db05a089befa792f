"""Arrays in one file, read in place: between the rounds of a count, tasks read slices of what others wrote."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 64
Array = NDArray[Any]


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays by name."""
    facts, place = {}, 0
    for name, array in arrays.items():
        facts[name] = {"dtype": array.dtype.str, "shape": list(array.shape), "at": place}
        place += -(-array.nbytes // _ALIGNED) * _ALIGNED
    head = json.dumps(facts).encode()
    first = -(-(8 + len(head)) // _ALIGNED) * _ALIGNED
    with path.open("wb") as file:
        file.write((len(head).to_bytes(8, "little") + head).ljust(first, b"\0"))
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes().ljust(-(-array.nbytes // _ALIGNED) * _ALIGNED, b"\0"))


def read(path: Path) -> dict[str, Array]:
    """The arrays of a file, mapped: only what is looked at is read."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        facts = json.loads(file.read(length))
    first = -(-(8 + length) // _ALIGNED) * _ALIGNED
    whole = np.asarray(np.memmap(path, np.uint8, "r"))
    found = {}
    for name, fact in facts.items():
        dtype = np.dtype(fact["dtype"])
        start = first + fact["at"]
        size = dtype.itemsize * int(np.prod(fact["shape"]))
        found[name] = whole[start : start + size].view(dtype).reshape(fact["shape"])
    return found
