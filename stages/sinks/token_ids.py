"""Token ids on their way into files: their coding, their width, and where documents end."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic import Field

from stages.base import Sink
from stages.catalog import did_you_mean
from stages.errors import DataError, SpecError

#: The column of an export that holds token ids.
TOKENS = "tokens"
IDS = pa.list_(pa.uint32())
#: The largest vocabulary whose ids fit into 16 bits.
MAX_NARROW = 1 << 16


@dataclass(frozen=True, slots=True)
class Coding:
    """The ids that a tokenizer gives: below `vocabulary`; `end_of_text` is the one that separates documents.

    Both are None where the tokenizer is not known yet: a spec that is planned without its store.
    """

    vocabulary: int | None
    end_of_text: int | None

    def field(self, name: str) -> pa.Field:
        """A column of ids in this coding."""
        notes = {"vocabulary": self.vocabulary, "end_of_text": self.end_of_text}
        return pa.field(name, IDS, metadata={key: str(value) for key, value in notes.items() if value is not None})

    @classmethod
    def of(cls, schema: pa.Schema) -> "Coding":
        """The coding of the tokens of documents with that schema."""
        notes = schema.field(TOKENS).metadata or {}
        return cls(*(int(notes[name]) if name in notes else None for name in (b"vocabulary", b"end_of_text")))


class TokenSink(Sink):
    """A format that holds token ids.

    Documents are their own tokens and, unless `end_of_text` is off, the tokenizer's end-of-text token after them. Ids have
    16 bits where the vocabulary fits (65,536 entries), and else 32, unless `dtype` says otherwise.
    """

    #: The type of ids where the vocabulary needs more than 16 bits.
    wide: ClassVar[str] = "int32"

    tokens: str | None = Field(default=None, description="the step whose tokens are written, where there are several")
    end_of_text: bool = Field(default=True, description="whether the end-of-text token follows each document")

    def own(self, ids: Sequence[str]) -> str:
        """The column of ids that is written.

        Raises:
            SpecError: the run has none, or several and `tokens` does not say which.
        """
        steps = [name.rpartition(".")[0] for name in ids]
        if not steps:
            raise SpecError(
                f"the format {self.kind!r} holds tokens, and the spec measures none; add a step such as "
                "`tokens: {kind: tokens, tokenizer: artifact:NAME}` to `measure` and run the spec again",
                format=self.kind,
            )
        if self.tokens is not None and self.tokens not in steps:
            raise SpecError(
                f"`tokens` names {self.tokens!r}, which is no step of tokens{did_you_mean(self.tokens, steps)}",
                format=self.kind,
            )
        if self.tokens is None and len(steps) > 1:
            raise SpecError(
                f"the format {self.kind!r} holds tokens, and the steps {', '.join(steps)} all give some; "
                f"choose one with `tokens: {steps[0]}`",
                format=self.kind,
            )
        return f"{self.tokens or steps[0]}.ids"

    def wanted(self, documents: Sequence[str], ids: Sequence[str]) -> tuple[str, ...]:  # noqa: ARG002 - tokens alone
        """The tokens alone."""
        return (self.own(ids),)

    def check(self, schema: pa.Schema) -> None:
        """Refuse ids that do not fit and an end-of-text token that the tokenizer does not have."""
        if TOKENS in schema.names:
            coding = Coding.of(schema)
            if coding.vocabulary is not None:
                self._end(coding)
                self.width(schema)

    def told(self, schema: pa.Schema) -> dict[str, Any]:
        """The type of ids, and whether the end-of-text token follows each document."""
        return {"dtype": self.width(schema).name, "ended": self.end_of_text} if TOKENS in schema.names else {}

    def width(self, schema: pa.Schema) -> np.dtype[Any]:
        """The type of ids in the files, little-endian.

        Raises:
            SpecError: the vocabulary does not fit into the type that was asked for.
        """
        asked: str | None = getattr(self, "dtype", None)
        size = Coding.of(schema).vocabulary
        narrow = size is not None and size <= MAX_NARROW
        found = np.dtype(asked or ("uint16" if narrow else self.wide))
        if size is not None and size - 1 > np.iinfo(found).max:
            raise SpecError(
                f"a vocabulary of {size} does not fit into {asked}; leave `dtype` out, or write {self.wide}",
                format=self.kind,
            )
        return found.newbyteorder("<")

    def _end(self, coding: Coding) -> int | None:
        """The id that follows each document."""
        if not self.end_of_text:
            return None
        if coding.end_of_text is None:
            raise SpecError(
                "the tokenizer has no end-of-text token to put between documents; write `end_of_text: false`, or learn "
                "a tokenizer that has one",
                format=self.kind,
            )
        return coding.end_of_text

    def coded(
        self, batches: Iterable[pa.RecordBatch], schema: pa.Schema
    ) -> Iterator[tuple[pa.RecordBatch, NDArray[np.int64], NDArray[Any]]]:
        """Each batch with the length of every document and all ids in a row, as they are written.

        Raises:
            DataError: a document has no tokens, or an id that is not in the vocabulary.
        """
        coding = Coding.of(schema)
        end, dtype = self._end(coding), self.width(schema)
        for batch in batches:
            ids = batch[TOKENS]
            if ids.null_count:
                missing = (
                    batch["doc_id"][int(np.argmax(ids.is_null()))] if "doc_id" in batch.schema.names else "a document"
                )
                raise DataError(
                    f"{missing} is kept and its tokens are unknown; reject such documents with a rule on the tokens' count "
                    "and `on_null: drop`"
                )
            lengths, flat = ended(ids, end)
            if coding.vocabulary is not None and len(flat) and int(flat.max()) >= coding.vocabulary:
                raise DataError(
                    f"a document has the token {int(flat.max())}, beyond the vocabulary of {coding.vocabulary}; measure the "
                    "tokens again with the tokenizer that the spec names"
                )
            yield batch, lengths, flat.astype(dtype, copy=False)


def ended(ids: pa.ListArray, end: int | None) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Lengths and ids of documents (none null) in a row, each with `end` after it, or as they are.

    Returns:
        int64 of shape (documents,) and uint32 of shape (sum of lengths,).
    """
    lengths = pc.list_value_length(ids).to_numpy(zero_copy_only=False).astype(np.int64)
    values = ids.flatten().to_numpy(zero_copy_only=False)
    if end is None:
        return lengths, values
    places = np.cumsum(lengths + 1) - 1
    own = np.ones(len(values) + len(lengths), np.bool_)
    own[places] = False
    flat = np.empty(len(own), np.uint32)
    flat[own] = values
    flat[places] = end
    return lengths + 1, flat


def beyond(kind: str, nbytes: int) -> SpecError:
    """What to say of a file whose parts the format cannot number in 32 bits."""
    return SpecError(
        f"a file of {nbytes} bytes is more than the format {kind!r} can hold (4 GiB); write smaller files with "
        "`shard_bytes`",
        format=kind,
    )
