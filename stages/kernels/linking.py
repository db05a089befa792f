"""Union-find over links between numbered documents."""

# numba infers the types of its integers, which mypy takes for Python's
# mypy: ignore-errors

from typing import Any

import numpy as np

from stages.kernels.peek import inner, kernel


@inner()
def _root(parent: Any, i: int) -> int:
    """The root of a document's tree; the path to it is halved."""
    while parent[i] != i:
        parent[i] = parent[parent[i]]
        i = parent[i]
    return i


@kernel()
def roots(a: Any, b: Any, documents: int) -> Any:
    """The smallest number of each document's component, int64 of shape (documents,), for links a[i] - b[i]."""
    parent = np.arange(documents)
    for i in range(a.shape[0]):
        x, y = _root(parent, a[i]), _root(parent, b[i])
        if x < y:
            parent[y] = x
        else:
            parent[x] = y
    for i in range(documents):
        parent[i] = _root(parent, i)
    return parent
