"""`/v1/labels`: what people label next, and their answers."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field, model_validator

from pipelines.service.problems import declared
from pipelines.service.routes.answers import tagged
from pipelines.service.routes.models import Given, Told
from pipelines.service.security.authentication import Reader, Served, Submitter

router = APIRouter(prefix="/v1/labels", tags=["labels"])

LONGEST = 200


class LabelQueues(Told):
    """The labellings that wait for people, and the next documents."""

    queues: list[dict[str, Any]] = Field(
        description="queue, learner, labels, asked, waiting, last (what an undo takes back)."
    )
    questions: list[dict[str, Any]] = Field(description="queue, labels, doc_id, id, text.")


class Answer(Given):
    """A label, a skip (`label` null) or, with `undo`, the last answer taken back."""

    queue: str = Field(min_length=1, max_length=LONGEST)
    doc_id: str | None = Field(default=None, min_length=1, max_length=LONGEST)
    label: str | None = Field(default=None, max_length=LONGEST)
    undo: bool = False

    @model_validator(mode="after")
    def _says_one_thing(self) -> "Answer":
        if self.undo == (self.doc_id is not None) or (self.undo and self.label is not None):
            raise ValueError("give doc_id with a label (null: skip it), or undo alone")
        return self


class Answered(Told):
    """Where the queue stands now; `undone` is the document whose answer was taken back."""

    queues: list[dict[str, Any]]
    undone: str | None


@router.get("/queue", response_model=LabelQueues, responses=declared(304))
def queue(
    request: Request,
    service: Served,
    token: Reader,
    queue: Annotated[str | None, Query(max_length=LONGEST, description="Only this one.")] = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Response:
    """List what to label next."""
    del token
    return tagged(request, service.labelling.waiting(queue, limit))


@router.post("", response_model=Answered, responses=declared(404, 409))
def answer(request: Request, asked: Answer, service: Served, token: Submitter) -> Response:
    """Label a document, skip it, or take the last answer back. A run that waits goes on after the last one."""
    del token
    undone = None
    if asked.undo:
        undone = service.labelling.undo(asked.queue)
    else:
        service.labelling.answer(asked.queue, str(asked.doc_id), asked.label)
    return tagged(request, {"queues": service.labelling.waiting(asked.queue, 0)["queues"], "undone": undone})
