"""Static embeddings: the mean of the vectors of a text's tokens. No attention, so hundreds of times as fast on a CPU."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.embeddings.distillation import TABLE, TOKENIZER, static_folder
from stages.embeddings.encoding import Encoded, Encoder
from stages.embeddings.models import Model
from stages.errors import SpecError

#: Characters of a prefix that nearly always holds the tokens wanted, for each of them.
PREFIX = 8
SPACES = " \t\n\r"


def open_static(model: Model, max_tokens: int) -> Encoder:
    """The encoder of a static model; the distilled one is made first where this machine lacks it."""
    tokenizer, table_VD = _distilled() if model.distilled else _given(model.folder)
    return StaticEncoder(tokenizer, table_VD, max_tokens)


class StaticEncoder:
    """The mean vector of the first `max_tokens` tokens of each text, unknown tokens left out, as model2vec has it."""

    def __init__(self, tokenizer: Any, table_VD: NDArray[np.float32], max_tokens: int) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a worker is one thread of work
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer, self._table_VD, self._max = tokenizer, table_VD, max_tokens
        unknown = getattr(tokenizer.model, "unk_token", None)
        self._unknown = tokenizer.token_to_id(unknown) if unknown else None

    def __call__(self, texts: pa.StringArray) -> Encoded:
        """See `Encoded`."""
        ids, cut = self._ids(texts.to_pylist())
        return Encoded(self._means(ids), np.array([len(i) for i in ids], np.int64), cut)

    def _ids(self, texts: list[str]) -> tuple[list[list[int]], NDArray[np.bool_]]:
        """Known tokens among the first `max_tokens` of each text, and whether the text has more."""
        prefixes = [_prefix(text, PREFIX * self._max) for text in texts]
        every = self._encode(prefixes)
        # a prefix ends at white space, where no token goes on; one with too few tokens says nothing of the rest
        short = [i for i, ids in enumerate(every) if len(ids) <= self._max and len(prefixes[i]) < len(texts[i])]
        for i, ids in zip(short, self._encode([texts[i] for i in short]), strict=True):
            every[i] = ids
        cut = np.array([len(ids) > self._max for ids in every], bool)
        return [[i for i in ids[: self._max] if i != self._unknown] for ids in every], cut

    def _encode(self, texts: list[str]) -> list[list[int]]:
        return [e.ids for e in self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)]

    def _means(self, ids: list[list[int]]) -> NDArray[np.float32]:
        """Mean vectors, each summed in the order of its text's tokens, whatever is beside it."""
        from scipy.sparse import csr_array  # type: ignore[import-untyped]  # it has no stubs  # noqa: PLC0415 - heavy

        count_N = np.array([len(i) for i in ids], np.int64)
        start_N = np.concatenate([[0], np.cumsum(count_N)])
        flat = np.fromiter((i for some in ids for i in some), np.int64, int(start_N[-1]))
        ones = np.ones(len(flat), np.float32)
        sums = csr_array((ones, flat, start_N), shape=(len(ids), len(self._table_VD))) @ self._table_VD
        return np.asarray(sums / np.maximum(count_N, 1)[:, None].astype(np.float32), np.float32)


def _prefix(text: str, characters: int) -> str:
    """About that many characters, up to white space; the whole text where there is none."""
    if len(text) <= characters:
        return text
    end = max(text.rfind(space, 0, characters) for space in SPACES)
    return text[:end] if end > 0 else text


def _distilled() -> tuple[Any, NDArray[np.float32]]:
    from tokenizers import Tokenizer  # type: ignore[import-untyped]  # it has no stubs  # noqa: PLC0415 - for workers

    folder = static_folder()
    return Tokenizer.from_file(str(folder / TOKENIZER)), np.load(folder / TABLE).astype(np.float32)


def _given(folder: Path) -> tuple[Any, NDArray[np.float32]]:
    """A model2vec model; one whose vocabulary was quantised gets its table for all tokens back."""
    try:
        from model2vec import StaticModel  # noqa: PLC0415 - where an encoder is opened only
    except ModuleNotFoundError as error:
        raise SpecError(f"the model in {folder} is read with model2vec; run: pip install model2vec") from error
    model = StaticModel.from_pretrained(str(folder))
    table = np.asarray(model.embedding, np.float32)
    if model.token_mapping is not None:
        table = table[model.token_mapping]
    return model.tokenizer, table * (1 if model.weights is None else np.asarray(model.weights, np.float32)[:, None])
