"""Static embeddings: the mean of the vectors of a text's tokens. No attention, so hundreds of times as fast on a CPU.

Tokens of BERT's kind do not reach over white space, so a text's tokens are those of its chunks, and most chunks have
been seen before: each different chunk is split once. Tokenizers of other kinds are asked for whole texts.
"""

import json
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stages.embeddings.distillation import TABLE, TOKENIZER, static_folder
from stages.embeddings.encoding import Encoded, Encoder
from stages.embeddings.models import Model
from stages.errors import SpecError

if TYPE_CHECKING:
    from stages.kernels.wordpiece import Pieces

#: Characters of a prefix that nearly always holds the tokens wanted, for each of them.
PREFIX = 8
SPACES = " \t\n\r"
#: Chunks that are looked up at once, and twice as many that are remembered at most (16 bytes each, and their tokens).
CHUNKS = 1 << 19
SLOTS = 4 * CHUNKS
#: Tokens that are remembered at most before all is forgotten.
TOKENS = 1 << 23


def open_static(model: Model, max_tokens: int) -> Encoder:
    """The encoder of a static model; the distilled one is made first where this machine lacks it."""
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a worker is one thread of work
    tokenizer, table_VD = _distilled() if model.distilled else _given(model.folder)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return StaticEncoder(tokenizer, table_VD, max_tokens)


class StaticEncoder:
    """The mean vector of the first `max_tokens` tokens of each text, unknown tokens left out, as model2vec has it."""

    def __init__(self, tokenizer: Any, table_VD: NDArray[np.float32], max_tokens: int) -> None:
        unknown = getattr(tokenizer.model, "unk_token", None)
        found = tokenizer.token_to_id(unknown) if unknown else None
        self._unknown = -1 if found is None else int(found)
        self._tokenizer, self._table_VD, self._max = tokenizer, np.ascontiguousarray(table_VD), max_tokens
        known = pieces(tokenizer)
        self._memory = _Memory(tokenizer, known) if known is not None else None
        self._lock = threading.Lock()

    def __call__(self, texts: pa.StringArray) -> Encoded:
        """See `Encoded`."""
        if self._memory is None:
            return self._whole(texts)
        step = max(1, CHUNKS // (self._max + 1))
        with self._lock:
            parts = [self._chunked(texts.slice(start, step)) for start in range(0, len(texts), step)]
        return Encoded(
            np.concatenate([p.vectors for p in parts] or [np.zeros((0, self._table_VD.shape[1]), np.float32)]),
            np.concatenate([p.tokens for p in parts] or [np.zeros(0, np.int64)]),
            np.concatenate([p.truncated for p in parts] or [np.zeros(0, bool)]),
        )

    def _chunked(self, texts: pa.StringArray) -> Encoded:
        """By chunks; a text whose many chunks have few tokens (control characters have none) is tokenized whole."""
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.token_means import chunks, means  # noqa: PLC0415 - the same

        assert self._memory is not None
        data, offsets = buffers(texts)
        hashes, begins, ends, first, more = chunks(data, offsets, self._max + 1)
        found, starts, ids = self._memory.tokens(data, hashes, begins, ends)
        vectors, known, tokens = means(found, first, starts, ids, self._table_VD, self._max, self._unknown)
        answer = Encoded(vectors, known, tokens > self._max)
        odd = np.flatnonzero(more & (tokens <= self._max))
        if len(odd):
            whole = self._whole(texts.take(pa.array(odd)))
            vectors[odd], known[odd], answer.truncated[odd] = whole.vectors, whole.tokens, whole.truncated
        return answer

    def _whole(self, texts: pa.StringArray) -> Encoded:
        """By whole texts, or as much of them as holds the tokens."""
        from stages.kernels.token_means import means  # noqa: PLC0415 - numba is slow to import

        every = self._ids(texts.to_pylist())
        starts, ids = _flat(every)
        each = np.arange(len(every) + 1)
        vectors, known, tokens = means(
            each[:-1].astype(np.int32), each, starts, ids, self._table_VD, self._max, self._unknown
        )
        return Encoded(vectors, known, tokens > self._max)

    def _ids(self, texts: list[str]) -> list[list[int]]:
        """The tokens of each text, or more than `max_tokens` of them."""
        every = _encode(self._tokenizer, [_prefix(text, PREFIX * self._max) for text in texts])
        # a prefix ends at white space, where few tokens go on; one with too few tokens says nothing of the rest
        short = [i for i, ids in enumerate(every) if len(ids) <= self._max and len(texts[i]) > PREFIX * self._max]
        for i, ids in zip(short, _encode(self._tokenizer, [texts[i] for i in short]), strict=True):
            every[i] = ids
        return every


class _Memory:
    """The tokens of every chunk seen lately. What it remembers changes no answer, only the time that it takes."""

    def __init__(self, tokenizer: Any, pieces: "Pieces") -> None:
        self._tokenizer, self._pieces = tokenizer, pieces
        self._forget()

    def _forget(self) -> None:
        self._keys, self._entries = np.zeros(SLOTS, np.uint64), np.zeros(SLOTS, np.int32)
        self._starts, self._ids = np.zeros(1, np.int64), np.zeros(0, np.int32)

    def tokens(
        self, data: NDArray[np.uint8], hashes: NDArray[np.uint64], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int32]]:
        """The entry of each chunk; where each entry's tokens begin; the tokens."""
        from stages.kernels.token_means import find  # noqa: PLC0415 - numba is slow to import

        if len(self._starts) > CHUNKS or len(self._ids) > TOKENS:
            self._forget()
        found = find(self._keys, self._entries, hashes)
        missing = np.flatnonzero(found < 0)
        if len(missing):
            new, places = np.unique(hashes[missing], return_index=True)
            spans = missing[places]
            self._learn(new, data, begins[spans], ends[spans])
            found = find(self._keys, self._entries, hashes)
        return found, self._starts, self._ids

    def _learn(
        self, new: NDArray[np.uint64], data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> None:
        """Remember chunks: plain ASCII ones are split here, the tokenizer is asked for the others."""
        from stages.kernels.wordpiece import split_chunks  # noqa: PLC0415 - numba is slow to import

        p = self._pieces
        starts, ids, odd = split_chunks(data, begins, ends, p.keys, p.ids, p.kinds, p.lower, p.limits)
        self._add(new[~odd], np.append(starts[:-1][~odd], starts[-1]), ids)
        words = [data[a:b].tobytes().decode() for a, b in zip(begins[odd], ends[odd], strict=True)]
        self._add(new[odd], *_flat(_encode(self._tokenizer, words)))

    def _add(self, new: NDArray[np.uint64], starts: NDArray[np.int64], ids: NDArray[np.int32]) -> None:
        from stages.kernels.token_means import insert  # noqa: PLC0415 - numba is slow to import

        insert(self._keys, self._entries, new, len(self._starts) - 1)
        self._starts = np.concatenate([self._starts, starts[1:] + len(self._ids)])
        self._ids = np.concatenate([self._ids, ids])


def pieces(tokenizer: Any) -> "Pieces | None":
    """The tables of a tokenizer of BERT's kind, whose tokens never reach over white space; None for another kind."""
    from stages.kernels.wordpiece import pieces_of  # noqa: PLC0415 - numba is slow to import

    parts = json.loads(tokenizer.to_str())
    kinds = [(parts.get(name) or {}).get("type") for name in ("normalizer", "pre_tokenizer", "model")]
    if kinds != ["BertNormalizer", "BertPreTokenizer", "WordPiece"] or not parts["normalizer"]["clean_text"]:
        return None
    added = [token["content"] for token in parts["added_tokens"]]
    spaced = any(t["lstrip"] or t["rstrip"] for t in parts["added_tokens"]) or any(len(a.split()) != 1 for a in added)
    model = parts["model"]
    unknown = model["vocab"].get(model["unk_token"])
    if spaced or unknown is None:
        return None
    limits = (int(model["max_input_chars_per_word"]), int(unknown))
    return pieces_of(
        model["vocab"], added, model["continuing_subword_prefix"], limits, fold=bool(parts["normalizer"]["lowercase"])
    )


def _encode(tokenizer: Any, texts: list[str]) -> list[list[int]]:
    return [e.ids for e in tokenizer.encode_batch_fast(texts, add_special_tokens=False)]


def _flat(lists: list[list[int]]) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
    """Where each list begins (one place more), and all of them in one."""
    starts = np.zeros(len(lists) + 1, np.int64)
    np.cumsum([len(some) for some in lists], out=starts[1:])
    return starts, np.fromiter((i for some in lists for i in some), np.int32, int(starts[-1]))


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
