"""A person somewhere else: questions are put up in the store, and a run waits until somebody has answered them.

    labels/asked/{queue}/{batch}.json         {"learner", "labels", "questions": [{"doc_id", "id", "text"}], "at"}
    labels/asked/{queue}/{batch}.done.json    nobody waits for the batch any more

`queue` is the name of the `Queue` that takes the answers (human_oracle.py), so a terminal and a page may work on one labelling.
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipelines.labelling.human_oracle import Queue
from pipelines.labelling.oracle import Batch, Question, everything
from pipelines.progress import Watch
from pipelines.store import Store
from stages.fingerprint import key

FOLDER = "labels/asked"
#: Seconds between two looks for answers.
LOOK_SECONDS = 0.5
TEXT_CHARACTERS = 20_000


def queue_name(learner: str, labels: Sequence[str]) -> str:
    """The name of the queue in which people label for a learner."""
    return f"{learner}-{key(sorted(labels))[:8]}"


class WaitingOracle:
    """Asks whoever looks at the store's queue. What was answered before is not asked again."""

    def __init__(self, store: Store, name: str, labels: Sequence[str], watch: Watch) -> None:
        self._store, self._name, self._labels, self._watch = store, name, tuple(labels), watch
        self._queue = Queue(store, queue_name(name, labels))
        self._asked = 0

    def identity(self) -> Mapping[str, Any]:
        """The labels to choose from; the same as of a person at a terminal."""
        return {"kind": "human", "labels": sorted(self._labels)}

    def knows(self, doc_ids: pa.Array, ids: pa.Array) -> npt.NDArray[np.bool_]:
        """Every document."""
        del ids
        return everything(doc_ids)

    def ask(self, questions: Sequence[Question]) -> Batch:
        """The labels of documents, when the last of them was given or skipped."""
        wanted = {q.doc_id for q in questions}
        place = f"{FOLDER}/{queue_name(self._name, self._labels)}/{key(sorted(wanted))}"
        waiting = len(wanted - self._queue.answers().keys())
        if waiting:
            listed = [{"doc_id": q.doc_id, "id": q.id, "text": q.text[:TEXT_CHARACTERS]} for q in questions]
            asked = {"learner": self._name, "labels": list(self._labels), "questions": listed}
            self._store.create_json(f"{place}.json", {**asked, "at": round(time.time(), 3)})
            self._watch.say(f"label {self._name}: {waiting} documents wait for a person's label")
        self._asked += waiting
        told = -1
        while left := len(wanted - self._queue.answers().keys()):
            if left != told:  # a person may take days, and every telling is kept
                self._watch.step(f"label {self._name}", len(wanted) - left, len(wanted))
                told = left
            time.sleep(LOOK_SECONDS)
        if waiting:
            self._store.create_json(f"{place}.done.json", {"at": round(time.time(), 3)})
        found = {d: label for d, label in self._queue.answers().items() if d in wanted}
        return Batch(
            {d: label for d, label in found.items() if label is not None},
            {d: "skipped" for d, label in found.items() if label is None},
        )

    def facts(self) -> Mapping[str, Any]:
        """How many labels were given now."""
        return {"oracle": "human", "asked": self._asked}
