"""Embeddings of a sentence-transformers model, the same for a text whatever is beside it in a batch.

Sums in floating point depend on the shape of what is computed. On a CPU each text is therefore computed alone, without
padding, on one thread: with texts cut at 256 tokens that is as fast as batches are. On a GPU texts of the same number
of tokens make batches of one fixed size, filled up with copies.
"""

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from logging import ERROR
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.embeddings.encoding import Encoded, Encoder
from stages.embeddings.models import Model
from stages.errors import SpecError

Device = Literal["cpu", "cuda"]
#: Texts in a batch, by device; part of what the numbers depend on.
BATCH: dict[Device, int] = {"cpu": 1, "cuda": 64}
#: Characters that are read for each token: enough for any words but very long ones.
PREFIX = 16


def device_here() -> Device:
    """`cuda` where there is an NVIDIA GPU that torch can use, else `cpu`; asked without importing torch."""
    try:
        for_cpu = version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return "cpu"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", "all") in {"", "-1"}
    there = any(Path("/dev").glob("nvidia[0-9]*"))
    return "cuda" if there and not hidden and not for_cpu else "cpu"


def open_transformer(model: Model, max_tokens: int, device: Device) -> Encoder:
    """The encoder of a sentence-transformers model.

    Raises:
        SpecError: sentence-transformers is not installed, or the device is not there.
    """
    if importlib.util.find_spec("sentence_transformers") is None:
        raise SpecError(
            "embeddings of this model need sentence-transformers, which is not installed; "
            "run: pip install sentence-transformers, or give `model: static`"
        )
    if device == "cuda" and device_here() != "cuda":
        raise SpecError("the step was planned for a GPU, and this machine has none; give `device: cpu`")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a worker is one thread of work
    from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - imports torch, which takes seconds

    with _quiet():
        loaded = SentenceTransformer(str(model.folder), device=device, local_files_only=True)
        loaded.max_seq_length = max_tokens
    return TransformerEncoder(loaded, model.dimensions, max_tokens, device)


class TransformerEncoder:
    """Vectors of a loaded model."""

    def __init__(self, model: Any, dimensions: int, max_tokens: int, device: Device) -> None:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]  # no stubs  # noqa: PLC0415 - sees what is loaded by now

        self._model, self._dimensions, self._batch, self._max = model, dimensions, BATCH[device], max_tokens
        self._room = max_tokens - model.tokenizer.num_special_tokens_to_add()
        self._threads = ThreadpoolController()

    def __call__(self, texts: pa.StringArray) -> Encoded:
        """See `Encoded`."""
        whole = texts.to_pylist()
        read = [text[: PREFIX * self._max] for text in whole]
        with _quiet():
            ids = self._model.tokenizer(read, add_special_tokens=False)["input_ids"] if read else []
        count_N = np.array([len(i) for i in ids], np.int64)
        longer = np.array([len(t) > len(r) for t, r in zip(whole, read, strict=True)], bool)
        tokens_N = np.minimum(count_N, self._room)
        with self._threads.limit(limits=1):
            vectors_ND = self._vectors(read, tokens_N)
        return Encoded(vectors_ND, tokens_N, (count_N > self._room) | longer)

    def _vectors(self, texts: list[str], tokens_N: NDArray[np.int64]) -> NDArray[np.float32]:
        """A vector for every text that has tokens, in batches of texts with the same number of them."""
        vectors_ND = np.zeros((len(texts), self._dimensions), np.float32)
        for tokens in np.unique(tokens_N[tokens_N > 0]).tolist():
            mine = np.flatnonzero(tokens_N == tokens)
            filled = np.concatenate([mine, np.repeat(mine[:1], -len(mine) % self._batch)])
            some = [texts[i] for i in filled]
            answer = self._model.encode(some, batch_size=self._batch, show_progress_bar=False)
            vectors_ND[mine] = answer[: len(mine)]
        return vectors_ND


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No reports and progress bars of transformers on standard error."""
    from transformers.utils import logging  # noqa: PLC0415 - imports torch

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(ERROR)
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
