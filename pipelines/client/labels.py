"""The calls of who labels documents for a run that waits for people."""

from pipelines.client.effects import Ask, At, Flow, call
from pipelines.client.models import Answered, LabelQueues
from pipelines.client.retries import told


class Labels(At):
    """Asking what to label next, and answering."""

    @call
    def labels(self, queue: str | None = None, *, limit: int = 20) -> Flow[LabelQueues]:
        """What waits for a label: the queues, and the next documents with their texts."""
        asked = {"queue": queue, "limit": limit}
        return LabelQueues.model_validate((yield from told(self, Ask("GET", "/v1/labels/queue", asked))))

    @call
    def label(self, queue: str, doc_id: str, label: str | None) -> Flow[Answered]:
        """Label a document; None skips it. The run goes on after the last one.

        Raises:
            NotFoundError: nobody waits for it.
            ConflictError: it was labelled otherwise meanwhile.
        """
        body = {"queue": queue, "doc_id": doc_id, "label": label}
        return Answered.model_validate((yield from told(self, Ask("POST", "/v1/labels", body=body))))

    @call
    def undo_label(self, queue: str) -> Flow[Answered]:
        """Take the last answer back; `undone` is its document.

        Raises:
            ConflictError: there is none, or a round was learned from it.
        """
        ask = Ask("POST", "/v1/labels", body={"queue": queue, "undo": True}, again=False)
        return Answered.model_validate((yield from told(self, ask)))
