"""The labelling queue: one document at a time, a key for each label; answers go to the store's journal at once."""

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Form, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipelines.service.errors import NotFoundError
from pipelines.service.history import ConflictError
from pipelines.service.pages.forms import FromHere
from pipelines.service.pages.rendering import page
from pipelines.service.pages.trouble import is_part
from pipelines.service.routes.labels import LONGEST
from pipelines.service.security.authentication import Reader, Served, Submitter
from pipelines.service.service import Service
from pipelines.service.tokens import Scope, Token

router = APIRouter(include_in_schema=False)

QueueName = Annotated[str | None, Query(max_length=LONGEST)]


@router.get("/labels")
def labels(request: Request, service: Served, token: Reader, queue: QueueName = None) -> Response:
    """What waits for a label, and the next document."""
    return page(request, "labels.html.j2", here="labels", **_standing(service, token, queue))


@router.get("/labels/next")
def following(request: Request, service: Served, token: Reader, queue: QueueName = None) -> Response:
    """The part of the page that changes: the next document, or that none waits."""
    return page(request, "labels_next.html.j2", **_standing(service, token, queue))


@router.post("/labels", dependencies=[FromHere])
def answered(
    request: Request,
    service: Served,
    token: Submitter,
    queue: Annotated[str, Form(max_length=LONGEST)],
    doc_id: Annotated[str | None, Form(max_length=LONGEST)] = None,
    label: Annotated[str | None, Form(max_length=LONGEST)] = None,
    does: Annotated[str, Form(pattern="^(label|skip|undo)$")] = "label",
) -> Response:
    """Keep a label or a skip, or take the last answer back; then the next document."""
    said, wrong = None, None
    try:
        said = _kept(service, queue, doc_id, label, does)
    except (ConflictError, NotFoundError) as error:  # somebody else was faster: say so beside what is next
        wrong = error.message
    if is_part(request):
        standing = _standing(service, token, queue)
        return page(request, "labels_next.html.j2", **{**standing, "said": said, "wrong": wrong})
    if wrong is not None:
        standing = _standing(service, token, queue) | {"wrong": wrong}
        return page(request, "labels.html.j2", status=HTTPStatus.CONFLICT, here="labels", **standing)
    return RedirectResponse(f"/labels?{urlencode({'queue': queue})}", 303)


def _kept(service: Service, queue: str, doc_id: str | None, label: str | None, does: str) -> str:
    if does == "undo":
        service.labelling.undo(queue)
        return "The last answer was taken back."
    given = label if does == "label" else None
    service.labelling.answer(queue, doc_id or "", given)
    return "Skipped." if given is None else f"Labelled {given}."


def _standing(service: Service, token: Token, queue: str | None) -> dict[str, Any]:
    """How far the labellings are, and what is next in one of them: the one that is asked for, else the first."""
    every = service.labelling.waiting(None, 0)["queues"]
    chosen = queue if queue is not None else next((q["queue"] for q in every if q["waiting"]), None)
    chosen = chosen or next((q["queue"] for q in every), None)
    found = service.labelling.waiting(chosen, 1) if chosen else {"queues": [], "questions": []}
    return {
        "queues": every,
        "queue": next(iter(found["queues"]), None),
        "chosen": chosen,
        "question": next(iter(found["questions"]), None),
        "agreement": service.agreement.told(chosen) if chosen and chosen in {q["queue"] for q in every} else None,
        "may": token.allows(Scope.submit),
        "said": None,
        "wrong": None,
    }
