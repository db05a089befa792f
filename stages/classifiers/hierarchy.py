"""fastText models with a hierarchical softmax (lid.176), by the kernels: the library's numbers, several times as fast."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.classifiers.fasttext_file import HIERARCHICAL, broken, read
from stages.classifiers.fasttext_lines import lines_of


@dataclass(frozen=True, slots=True)
class Found:
    """For each text its most likely label, that label's probability, that of one chosen label, and whether it has any.

    Probabilities of the library's single precision can pass 1 by a few millionths.
    """

    labels: NDArray[Any]  # of str
    p: NDArray[np.float32]
    p_chosen: NDArray[np.float32]
    known: NDArray[np.bool_]


def open_hierarchy(path: Path, chosen: str) -> Callable[[pa.StringArray], Found]:
    """What classifies texts, each taken as one line, with the model in a file.

    Raises:
        SpecError: the file is no model with a hierarchical softmax, or does not have the label `chosen`.
    """
    from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
    from stages.kernels.language_scores import languages  # noqa: PLC0415 - the same

    model = read(path)
    if model.arguments["loss"] != HIERARCHICAL or chosen not in model.labels:
        raise broken(path.name, f"it has no hierarchical softmax with the label {chosen!r}")
    lines = lines_of(model, joined=False)
    rows = model.rows(0, model.row_count)
    input_ = np.ascontiguousarray(rows if lines.order is None else rows[lines.order], np.float32)
    output, tree = np.array(model.output), tree_of(model.label_counts)
    labels, place = np.array(model.labels, object), model.labels.index(chosen)

    def classify(texts: pa.StringArray) -> Found:
        data, offsets = buffers(texts)
        scratch = lines.scratch(offsets)
        best, p, p_chosen, known = languages(data, offsets, lines.arguments, input_, output, tree, *scratch, place)
        return Found(labels[best], p, p_chosen, known)

    return classify


def tree_of(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """The two children of every inner node of fastText's Huffman tree: (labels - 1, 2). Nodes 0 to labels - 1 are leaves.

    Args:
        counts: of the labels, falling.

    """
    labels = len(counts)
    total = np.full(2 * labels - 1, 10**15, np.int64)
    total[:labels] = counts
    children = np.zeros((labels - 1, 2), np.int64)
    leaf, node = labels - 1, labels
    for i in range(labels, 2 * labels - 1):
        for side in (0, 1):
            if leaf >= 0 and total[leaf] < total[node]:
                children[i - labels, side], leaf = leaf, leaf - 1
            else:
                children[i - labels, side], node = node, node + 1
        total[i] = total[children[i - labels]].sum()
    return children
