"""What people label next, over all runs that wait for it, and what they answer. The store's journal is the truth."""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from pipelines.labelling.human_oracle import Queue
from pipelines.labelling.waiting_oracle import FOLDER
from pipelines.service.errors import NotFoundError
from pipelines.service.history import ConflictError
from pipelines.store import Store
from stages.errors import SpecError

_DONE = ".done.json"


class LabelQueue:
    """The batches that runs wait for."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()  # two people who press a key at once: the second is told
        self._queues: dict[str, Queue] = {}

    def waiting(self, queue: str | None = None, limit: int = 20) -> dict[str, Any]:
        """The open batches by queue with how far they are, and the next documents to label."""
        with self._lock:
            queues: dict[str, dict[str, Any]] = {}
            questions: list[dict[str, Any]] = []
            for name, batch in self._open(queue):
                answers = self._queue(name).answers()
                left = [q for q in batch["questions"] if q["doc_id"] not in answers]
                told = queues.setdefault(name, self._told(name, batch))
                told["asked"] += len(batch["questions"])
                told["waiting"] += len(left)
                questions += [{"queue": name, "labels": batch["labels"], **q} for q in left[: limit - len(questions)]]
        return {"queues": list(queues.values()), "questions": questions}

    def answer(self, queue: str, doc_id: str, label: str | None) -> None:
        """Keep the label of a document; None: it was skipped.

        Raises:
            NotFoundError: nobody waits for that document's label.
            SpecError: it is none of the labels.
            ConflictError: it was labelled otherwise meanwhile.
        """
        with self._lock:
            batch = self._asking(queue, doc_id)
            if label is not None and label not in batch["labels"]:
                raise SpecError(f"{label!r} is none of the labels {', '.join(batch['labels'])}", label=label)
            answers = self._queue(queue).answers()
            if doc_id in answers:
                if answers[doc_id] != label:
                    raise ConflictError(
                        f"the document {doc_id} was labelled {answers[doc_id]!r} meanwhile; undo that first",
                        doc_id=doc_id,
                    )
            elif label is None:
                self._queue(queue).skip(doc_id)
            else:
                self._queue(queue).label(doc_id, label)

    def undo(self, queue: str) -> str:
        """Take the last answer back; gives its document.

        Raises:
            NotFoundError: there is no such queue.
            ConflictError: there is nothing to take back, or a round was learned from it already.
        """
        with self._lock:
            batches = [batch for _, batch in self._open(queue)]
            if not batches:
                raise NotFoundError(
                    f"nobody waits for labels in {queue!r}; `GET /v1/labels/queue` lists who does", queue=queue
                )
            last = self._queue(queue).last()
            if last is None or not any(q["doc_id"] == last for batch in batches for q in batch["questions"]):
                raise ConflictError(
                    "there is no answer that could be taken back: earlier rounds were learned from", queue=queue
                )
            self._queue(queue).undo()
            return last

    def _told(self, name: str, batch: Mapping[str, Any]) -> dict[str, Any]:
        last = self._queue(name).last()
        return {
            "queue": name,
            "learner": batch["learner"],
            "labels": batch["labels"],
            "asked": 0,
            "waiting": 0,
            "last": last,
        }

    def _asking(self, queue: str, doc_id: str) -> Mapping[str, Any]:
        for _, batch in self._open(queue):
            if any(q["doc_id"] == doc_id for q in batch["questions"]):
                return batch
        raise NotFoundError(f"nobody waits for the label of {doc_id!r} in {queue!r}", queue=queue, doc_id=doc_id)

    def _open(self, queue: str | None) -> Iterator[tuple[str, Mapping[str, Any]]]:
        paths = set(self._store.list(FOLDER))
        for path in sorted(paths):
            name = path.split("/")[2]
            ended = path.endswith(_DONE) or path.removesuffix(".json") + _DONE in paths
            if not ended and queue in (None, name):
                yield name, self._store.get_json(path)

    def _queue(self, name: str) -> Queue:
        return self._queues.setdefault(name, Queue(self._store, name))
