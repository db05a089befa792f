"""Who answers what a document is: the seam between rounds and a labelled file, a language model or a person.

An oracle never guesses. What it cannot label is skipped with a reason, counted and named. What was paid for, with money
or with a person's time, is written to the store before the next question is asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

#: Why a document has no label.
REASONS: Mapping[str, str] = {
    "unknown": "the file has no label for it",
    "timeout": "no answer came in time",
    "unreachable": "the endpoint could not be reached",
    "busy": "the endpoint was overloaded or failed",
    "malformed": "the answer was not what the protocol says",
    "rejected": "the endpoint rejected the question",
    "refused": "the model refused to answer",
    "nonsense": "the answer is none of the labels",
    "skipped": "the person skipped it",
}


@dataclass(frozen=True, slots=True)
class Question:
    """A document that wants a label. `text` is the one that the scorer learns from."""

    doc_id: str
    id: str | None
    text: str


@dataclass(frozen=True, slots=True)
class Batch:
    """What came of some questions, by doc_id: labels, or the reason why there is none. `stop` ends the rounds early."""

    labels: Mapping[str, str]
    skipped: Mapping[str, str] = field(default_factory=dict)
    stop: str | None = None


class Oracle(Protocol):
    """Labels documents."""

    def identity(self) -> Mapping[str, Any]:
        """What its answers depend on: never where something is, and no secret."""

    def knows(self, doc_ids: pa.Array, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Which documents it can be asked about."""

    def ask(self, questions: Sequence[Question]) -> Batch:
        """The labels of documents; each is durable before the next is asked for.

        Raises:
            SpecError: it cannot be asked at all: a wrong key, a wrong address, an unknown model.
            StorageError: it does not answer, or an answer cannot be kept.
        """

    def facts(self) -> Mapping[str, Any]:
        """What a card says of it: what was asked anew, what was known, what it cost."""


def everything(doc_ids: pa.Array) -> npt.NDArray[np.bool_]:
    """Every document: an oracle that can be asked about all."""
    return np.ones(len(doc_ids), bool)
