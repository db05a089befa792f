"""fastText classifiers with a softmax (the DCLM recipe), by the kernels.

The model has no bend between input and output, so a text's logits are the mean of what each of its rows gives alone: the
input is multiplied with the output once, and a text costs as many additions a word as there are labels, instead of `dim`.
"""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.classifiers.fasttext_file import ARGUMENTS, END, SOFTMAX, SUPERVISED, Model, broken, content, parse
from stages.classifiers.fasttext_lines import Lines, lines_of
from stages.classifiers.scorer import Given, softmax

#: Rows that are multiplied at once.
BLOCK = 1 << 16
FILE = "model.bin"


class FasttextScorer:
    """Probabilities of fastText's labels, sorted by name, from the content of a model's file.

    A text is what DCLM makes of it, `" ".join(text.strip().splitlines())`; only its first words up to a word `</s>` count.
    Sums are made in double precision, so that p differs from the library's by rounding (below 1e-6), and by the 1e-5 that
    the library adds to every p that it reports.
    """

    def __init__(self, content: NDArray[np.uint8], name: str = FILE) -> None:
        self._content = content
        self._model = parse(content, name)
        if self._model.arguments["loss"] != SOFTMAX or len(self._model.labels) < 2:  # noqa: PLR2004 - a choice
            raise broken(name, "it was not trained with a softmax over at least two labels")
        self._order = sorted(range(len(self._model.labels)), key=self._model.labels.__getitem__)
        self.labels = tuple(self._model.labels[i] for i in self._order)

    @classmethod
    def at(cls, path: Path) -> "FasttextScorer":
        """The scorer of a model's file.

        Raises:
            SpecError: the file is none of a classifier with a softmax.
        """
        if not path.stat().st_size:
            raise broken(path.name, "it is empty")
        return cls(np.memmap(path, np.uint8, "r"), path.name)

    @classmethod
    def warm(cls) -> None:
        """Compile the kernels, or load them from their cache, on a model that knows nothing."""
        arguments = dict.fromkeys(ARGUMENTS, 0) | {"dim": 1, "word_ngrams": 1, "loss": SOFTMAX, "model": SUPERVISED}
        nothing, two = np.zeros((1, 1), np.float32), np.zeros((2, 1), np.float32)
        inner = content(arguments, [END], np.ones(1, np.int64), ["0", "1"], np.ones(2, np.int64), 1, (nothing, two))
        cls(np.frombuffer(inner, np.uint8)).predict(pa.array(["warm"]))

    @cached_property
    def _tables(self) -> tuple[Lines, NDArray[np.float32]]:
        return lines_of(self._model, joined=True), projected(self._model)[:, self._order].copy()

    def predict(self, given: Given) -> NDArray[np.float64]:
        """See `Scorer`: probabilities of texts (N, C)."""
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.line_logits import line_logits  # noqa: PLC0415 - the same

        lines, table_VC = self._tables
        data, offsets = buffers(_texts(given))
        logits_NC, known_N = line_logits(data, offsets, lines.arguments, table_VC, *lines.scratch(offsets))
        return softmax(logits_NC, known_N)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the model as fastText has it, for other tools to read as well."""
        path = folder / FILE
        path.write_bytes(self._content.data)
        return {"model": path}

    def identity(self) -> dict[str, Any]:
        """Nothing but the file matters."""
        return {"kind": "fasttext"}


def _texts(given: Given) -> pa.StringArray:
    if not isinstance(given, pa.Array):
        message = f"a fastText classifier scores an Arrow array of texts, not {type(given).__name__}"
        raise TypeError(message)
    return given


def projected(model: Model) -> NDArray[np.float32]:
    """What each row of the input gives each label: (rows of the kernels, labels)."""
    from stages.kernels.line_logits import products  # noqa: PLC0415 - numba is slow to import

    output = np.array(model.output, np.float64)
    table = np.empty((model.row_count, len(output)), np.float32)
    for first in range(0, model.row_count, BLOCK):
        rows = np.array(model.rows(first, min(first + BLOCK, model.row_count)))
        table[first : first + BLOCK] = products(rows, output)
    order = lines_of(model, joined=True).order
    return table if order is None else table[order]
