"""What an artifact of kind `tokenizer` holds, and how texts become the ids of its tokens.

    tokenizer.json      as the library `tokenizers` writes it
    identity            `end_of_text`: the id that stands between documents; `vocabulary`: ids are below it

A document's ids are of its own text alone: nothing is added, cut off or padded, and what looks like a special token in a
text is text.
"""

import array
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from stages.artifacts import Artifact
from stages.base import Files
from stages.errors import SpecError, StorageError

if TYPE_CHECKING:
    from tokenizers import Tokenizer  # type: ignore[import-untyped]  # it has no stubs

    from stages.kernels.byte_pairs import Pairs

KIND = "tokenizer"
FILE = "tokenizer.json"
#: What the special token between documents is called where this package makes one.
END_OF_TEXT = "<|endoftext|>"
#: Bytes of text that the library is given at once: it holds some 200 times as many.
TOGETHER = 1 << 18
#: Pieces of a text end at the first border of two words beyond so many bytes, where no white space comes before.
LONG = 1 << 16
#: Pieces and bytes of pieces that are remembered at most, before all is forgotten; slots of their table.
PIECES, PIECE_BYTES = 1 << 19, 1 << 25
SLOTS = 4 * PIECES
#: Pieces that are looked up at once.
ROUND = PIECES // 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a tokenizer without opening it."""

    end_of_text: int
    vocabulary: int

    @classmethod
    def of(cls, artifact: Artifact) -> Self:
        """The facts that an artifact states.

        Raises:
            StorageError: it states none.
        """
        try:
            return cls(int(artifact.identity["end_of_text"]), int(artifact.identity["vocabulary"]))
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"the tokenizer {artifact.id!r} does not say its `end_of_text` and `vocabulary`; make it again with: "
                "tamis learn tokenizer",
                artifact=artifact.id,
            ) from error


def opened(files: Files, artifact: Artifact) -> "Tokenizer":
    """The tokenizer of an artifact.

    Raises:
        SpecError: the library is missing.
        StorageError: the file is missing or damaged.
    """
    return parsed(artifact.path(files, FILE).read_text("utf-8"), artifact.id)


def parsed(content: str, name: str) -> "Tokenizer":
    """The tokenizer of a `tokenizer.json`, which takes every text as plain text and gives all of its tokens, always the same.

    Raises:
        SpecError: the library is missing.
        StorageError: it is none.
    """
    tokenizer = _library().Tokenizer
    try:
        found = tokenizer.from_str(content)
    except Exception as error:
        if type(error) is Exception:  # the library raises nothing narrower
            raise StorageError(
                f"the tokenizer {name!r} cannot be read ({error}); restore it or make it again", tokenizer=name
            ) from error
        raise
    found.no_padding()
    found.no_truncation()
    found.encode_special_tokens = True
    if hasattr(found.model, "dropout"):
        found.model.dropout = None  # merges left out by chance, for training with several cuts of a word
    return found


def _library() -> Any:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a worker is one thread of work
    try:
        import tokenizers  # noqa: PLC0415 - where texts become tokens only
    except ModuleNotFoundError as error:
        raise SpecError("texts become tokens with the library tokenizers; run: pip install tokenizers") from error
    return tokenizers


def alphabet() -> dict[str, int]:
    """Ids of the end of a text, and of the 256 bytes as GPT-2 writes them, in the order of the characters."""
    letters = sorted(_library().pre_tokenizers.ByteLevel.alphabet())
    return {END_OF_TEXT: 0} | {letter: number for number, letter in enumerate(letters, 1)}


def bytes_alone() -> str:
    """The `tokenizer.json` of a byte-level tokenizer without a merge: a token for each byte."""
    pieces = _library()
    made = pieces.Tokenizer(pieces.models.BPE(alphabet(), []))
    made.pre_tokenizer = pieces.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = pieces.decoders.ByteLevel()
    made.add_special_tokens([END_OF_TEXT])
    return str(made.to_str())


class Encoder:
    """Ids of texts, in one flat array. Not for several threads at once."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._memory = _Memory(tokenizer) if cuts_at_spaces(tokenizer) else None

    def __call__(self, texts: pa.StringArray) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """How many tokens each text has (N), and the ids of all of them (flat). No text is null."""
        if self._memory is not None:
            return self._memory(texts)
        return _encoded(self._tokenizer, texts)


def cuts_at_spaces(tokenizer: "Tokenizer") -> bool:
    """Whether a text's tokens are those of its pieces of `stages.kernels.token_memory`: BPE over GPT-2's words alone."""
    parts = json.loads(tokenizer.to_str())
    words, model = parts["pre_tokenizer"] or {}, parts["model"]
    known = (words.get("type"), words.get("use_regex"), words.get("add_prefix_space")) == ("ByteLevel", True, False)
    plain = parts["normalizer"] is None and all(token["special"] for token in parts["added_tokens"])
    return known and plain and model["type"] == "BPE"


class _Memory:
    """The ids of every piece seen lately. What it remembers changes no answer, only the time that it takes."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer
        self._pairs = _pairs(tokenizer)
        self._forget()

    def _forget(self) -> None:
        self._table = np.zeros((SLOTS, 2), np.uint64)
        self._known, self._held = np.zeros(0, np.uint8), np.zeros(1, np.int64)
        self._ids, self._starts = np.zeros(0, np.uint32), np.zeros(1, np.int64)

    def __call__(self, texts: pa.StringArray) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        """See `Encoder`."""
        from stages.kernels.arrow import buffers  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.token_memory import joined, pieces  # noqa: PLC0415 - the same

        data, offsets = buffers(texts)
        lengths, parts = np.zeros(len(texts), np.int64), [np.empty(0, np.uint32)]
        document, at = 0, int(offsets[0])
        while document < len(texts):
            hashes, begins, ends, owners, document, at = pieces(data, offsets, document, at, ROUND, LONG)
            found = self._entries(data, hashes, begins, ends)
            parts.append(joined(found, owners, self._starts, self._ids, lengths))
        return lengths, np.concatenate(parts)

    def _entries(
        self, data: NDArray[np.uint8], hashes: NDArray[np.uint64], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> NDArray[np.int32]:
        """What is remembered of each piece; new ones are learned."""
        from stages.kernels.arrow import frozen  # noqa: PLC0415 - numba is slow to import
        from stages.kernels.token_memory import find  # noqa: PLC0415 - the same

        if len(self._held) > PIECES or len(self._known) > PIECE_BYTES:
            self._forget()
        found: NDArray[np.int32] = find(self._table, frozen(self._known), self._held, data, hashes, begins, ends)
        while len(missing := np.flatnonzero(found < 0)):  # again where two pieces have one hash
            new, places = np.unique(hashes[missing], return_index=True)
            spans = missing[places]
            self._learn(new, data, begins[spans], ends[spans])
            of = (hashes[missing], begins[missing], ends[missing])
            found[missing] = find(self._table, frozen(self._known), self._held, data, *of)
        return found

    def _learn(
        self, new: NDArray[np.uint64], data: NDArray[np.uint8], begins: NDArray[np.int64], ends: NDArray[np.int64]
    ) -> None:
        """Remember pieces: those of plain ASCII are merged here, the tokenizer is asked for the others."""
        from stages.kernels.byte_pairs import gathered, plain  # noqa: PLC0415 - numba is slow to import

        odd = np.ones(len(new), np.bool_)
        if (p := self._pairs) is not None:
            lengths, ids, odd = plain(data, begins, ends, p.keys, p.values, p.bytes, p.kinds)
            self._add(new[~odd], gathered(data, begins[~odd], ends[~odd]), (ends - begins)[~odd], lengths[~odd], ids)
        sizes = (ends - begins)[odd]
        known = gathered(data, begins[odd], ends[odd])
        cuts = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        texts = pa.StringArray.from_buffers(len(sizes), pa.py_buffer(cuts), pa.py_buffer(known))
        self._add(new[odd], known, sizes, *_encoded(self._tokenizer, texts))

    def _add(
        self,
        new: NDArray[np.uint64],
        known: NDArray[np.uint8],
        sizes: NDArray[np.int64],
        lengths: NDArray[np.int64],
        ids: NDArray[np.uint32],
    ) -> None:
        from stages.kernels.token_memory import insert  # noqa: PLC0415 - numba is slow to import

        insert(self._table, new, len(self._held) - 1)
        self._known = np.concatenate([self._known, known])
        self._held = np.concatenate([self._held, self._held[-1] + np.cumsum(sizes)])
        self._ids = np.concatenate([self._ids, ids])
        self._starts = np.concatenate([self._starts, self._starts[-1] + np.cumsum(lengths)])


def _pairs(tokenizer: "Tokenizer") -> "Pairs | None":
    """The merges, where they are all that makes a word's tokens."""
    from stages.kernels.byte_pairs import pairs_of  # noqa: PLC0415 - numba is slow to import

    model = json.loads(tokenizer.to_str())["model"]
    if model["ignore_merges"] or model["continuing_subword_prefix"] or model["end_of_word_suffix"]:
        return None
    return pairs_of(model["vocab"], model["merges"])


def _encoded(tokenizer: "Tokenizer", texts: pa.StringArray) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """How many tokens each text has, and the ids of all of them, of the library, which is given some at a time."""
    lengths = np.empty(len(texts), np.int64)
    ids = array.array("I")
    row = 0
    for some in _portions(texts):
        for found in tokenizer.encode_batch(some.to_pylist(), add_special_tokens=False):
            own = found.ids
            lengths[row] = len(own)
            ids.extend(own)
            row += 1
    return lengths, np.frombuffer(ids, np.uint32) if ids else np.empty(0, np.uint32)


def _portions(texts: pa.StringArray) -> Iterator[pa.StringArray]:
    """Neighbouring texts of about `TOGETHER` bytes."""
    ends = np.cumsum(pc.binary_length(texts).to_numpy(zero_copy_only=False), dtype=np.int64)
    start = 0
    while start < len(texts):
        before = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, before + TOGETHER, "right")))
        yield texts.slice(start, stop - start)
        start = stop


def size_of(tokenizer: "Tokenizer") -> int:
    """How many ids there are: one more than the highest, which may be more than there are tokens."""
    known: Mapping[str, int] = tokenizer.get_vocab(with_added_tokens=True)
    return max(known.values()) + 1


def special_tokens(content: str) -> dict[str, int]:
    """The special tokens of a `tokenizer.json`, with their ids."""
    added = json.loads(content).get("added_tokens") or []
    return {str(token["content"]): int(token["id"]) for token in added if token.get("special")}
