"""A person as an oracle: a queue of documents, and every key that was pressed kept before the next document is shown.

    labels/people/{name}/{number}.json    one event; the numbers have no gaps

An event is a label, a skip, or an undo of the last event that is not undone. The labels are what the events come to, so
several people, or a terminal and a web page, may work on one queue: each event takes the next free number.
"""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.labelling.oracle import Batch, Question, everything
from pipelines.store import Store
from stages.failpoints import failpoint
from stages.fingerprint import key
from stages.versions import newest

FOLDER = "labels/people"
MOST_LABELS = 9  # a key each


class Key(Enum):
    """What a person may do instead of labelling."""

    skip = "s"
    undo = "u"
    quit = "q"


class Person(Protocol):
    """Shows documents and takes answers."""

    def show(self, question: Question, labels: Sequence[str], done: int, total: int) -> str | Key:
        """The label of a document, or what else the person wants."""


class Queue:
    """The labels that people gave in a store under one name."""

    def __init__(self, store: Store, name: str) -> None:
        self._store, self._folder = store, f"{FOLDER}/{name}"
        self._read = 0
        self._stack: list[tuple[str, str | None]] = []

    def answers(self) -> dict[str, str | None]:
        """The label by doc_id; None for what was skipped."""
        self._catch_up()
        return dict(self._stack)

    def last(self) -> str | None:
        """The document that an undo would take back."""
        self._catch_up()
        return self._stack[-1][0] if self._stack else None

    def label(self, doc_id: str, label: str) -> None:
        """Keep a label durably."""
        self._append({"doc_id": doc_id, "label": label})

    def skip(self, doc_id: str) -> None:
        """Keep durably that a document was skipped."""
        self._append({"doc_id": doc_id, "label": None})

    def undo(self) -> None:
        """Take back the last label or skip."""
        self._append({"undo": True})

    def _append(self, event: Mapping[str, Any]) -> None:
        self._catch_up()
        while not self._store.create_json(self._path(self._read + 1), event):
            self._catch_up()  # somebody else was faster
        failpoint("label.after_answer")
        self._catch_up()

    def _catch_up(self) -> None:
        """Read the events that are new."""
        last = newest(lambda n: n <= self._read or self._store.size(self._path(n)) is not None)
        for number in range(self._read + 1, last + 1):
            event = self._store.get_json(self._path(number))
            if "undo" not in event:
                self._stack.append((event["doc_id"], event["label"]))
            elif self._stack:
                self._stack.pop()
        self._read = max(self._read, last)

    def _path(self, number: int) -> str:
        return f"{self._folder}/{number:08d}.json"


class HumanOracle:
    """Asks a person, through a terminal or a page."""

    def __init__(self, store: Store, name: str, labels: Sequence[str], person: Person) -> None:
        self._labels, self._person = tuple(labels), person
        self._queue = Queue(store, f"{name}-{key(sorted(self._labels))[:8]}")
        self._asked = 0

    def identity(self) -> Mapping[str, Any]:
        """The labels to choose from."""
        return {"kind": "human", "labels": sorted(self._labels)}

    def knows(self, doc_ids: pa.Array, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Every document."""
        del ids
        return everything(doc_ids)

    def ask(self, questions: Sequence[Question]) -> Batch:
        """The labels of documents; those that were given before are not asked for again.

        Raises:
            KeyboardInterrupt: the person ends it for now; every label given is kept.
        """
        by_id = {q.doc_id: q for q in questions}
        while waiting := [q for q in questions if q.doc_id not in self._queue.answers()]:
            reply = self._person.show(waiting[0], self._labels, len(questions) - len(waiting), len(questions))
            if reply is Key.quit:
                raise KeyboardInterrupt
            if reply is Key.undo:
                if self._queue.last() in by_id:  # what is in an earlier round was learned from
                    self._queue.undo()
            elif reply is Key.skip:
                self._queue.skip(waiting[0].doc_id)
            else:
                self._queue.label(waiting[0].doc_id, str(reply))
                self._asked += 1
        found = {d: label for d, label in self._queue.answers().items() if d in by_id}
        return Batch(
            {d: label for d, label in found.items() if label is not None},
            {d: "skipped" for d, label in found.items() if label is None},
        )

    def facts(self) -> Mapping[str, Any]:
        """How many labels were given now."""
        return {"oracle": "human", "asked": self._asked}
