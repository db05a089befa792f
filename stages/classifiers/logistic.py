"""Logistic regression over embeddings of texts (the FineWeb-Edu recipe: the encoder stays as it is)."""

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.base import Kernel
from stages.classifiers.scorer import Given, softmax
from stages.embeddings.encoding import vectors_of
from stages.errors import SpecError
from stages.text.embedding import Embedding

FILE = "weights.npz"


class LogisticScorer:
    """Probabilities of labels by weights over a text's vector of the stage `embedding`.

    Args:
        labels: sorted.
        embedding: the stage that gives the vectors, resolved.
        weights_CD: for each label; of two labels the first has zeros.
        intercepts_C: for each label.

    """

    def __init__(
        self,
        labels: tuple[str, ...],
        embedding: Embedding,
        weights_CD: NDArray[np.float64],
        intercepts_C: NDArray[np.float64],
    ) -> None:
        self.labels, self._embedding = labels, embedding
        self._weights_CD, self._intercepts_C = weights_CD, intercepts_C

    @classmethod
    def at(cls, path: Path, labels: tuple[str, ...], embedding: Embedding) -> "LogisticScorer":
        """The scorer of a file of weights.

        Raises:
            SpecError: the file holds no weights for these labels.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                weights_CD, intercepts_C = file["weights"], file["intercepts"]
        except (ValueError, KeyError, OSError) as error:
            raise SpecError(f"{path.name!r} holds no weights of a classifier; fit it again", path=path.name) from error
        return cls(labels, embedding, weights_CD, intercepts_C)

    @cached_property
    def _kernel(self) -> Kernel:
        return self._embedding.open()

    def vectors(self, texts: pa.StringArray) -> pa.Array:
        """The column `vector` of texts."""
        if not len(texts):
            return pa.array([], self._embedding.schema().field("vector").type)
        return self._kernel(pa.record_batch({self._embedding.text: texts}))["vector"]

    def predict(self, given: Given) -> NDArray[np.float64]:
        """See `Scorer`: probabilities of texts, of a column of vectors, or of vectors (N, D)."""
        from stages.kernels.line_logits import products  # noqa: PLC0415 - numba is slow to import

        if isinstance(given, pa.Array):
            column = self.vectors(given) if pa.types.is_string(given.type) else given
            x_ND, known_N = vectors_of(column).astype(np.float32), column.is_valid().to_numpy(zero_copy_only=False)
        else:
            x_ND = np.asarray(given, np.float32)
            known_N = np.isfinite(x_ND).all(axis=1)
        logits_NC = products(np.ascontiguousarray(x_ND), self._weights_CD) + self._intercepts_C
        return softmax(logits_NC, known_N)

    def write(self, folder: Path) -> dict[str, Path]:
        """Write the weights."""
        path = folder / FILE
        np.savez(path, weights=self._weights_CD, intercepts=self._intercepts_C)
        return {"model": path}

    def identity(self) -> dict[str, Any]:
        """The encoder, by content."""
        return {"kind": "embedding", "embedding": embedding_identity(self._embedding)}


def embedding_identity(stage: Embedding) -> dict[str, Any]:
    """Name, tokens read, and content of an encoder; its device is the reader's."""
    own = stage.parameters()
    return {
        "model": stage.model,
        "version": stage.version,
        "encoder": own["encoder"],
        "max_tokens": own["max_tokens"],
        "artifacts": stage.artifacts(),
    }
