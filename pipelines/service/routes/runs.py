"""`/v1/runs`: accept jobs, list them, cancel, resume, pin."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response

from pipelines.secret_values import redact
from pipelines.service.problems import declared
from pipelines.service.routes.answers import tagged
from pipelines.service.routes.models import NewRun, Pin, Planned, Run, Runs, Steps
from pipelines.service.security.authentication import Reader, Served, Submitter
from pipelines.service.states import State

router = APIRouter(prefix="/v1/runs", tags=["runs"])

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
#: Job ids, run ids, prefixes of them, and names of specs.
RunId = Annotated[
    str, Path(pattern=NAME, max_length=160, description="A job's or run's id, a unique prefix, or a spec's name.")
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=200,
        pattern=r"^[\x21-\x7e]+$",
        description="The same key and body make one job, however often they come.",
    ),
]


@router.post("", status_code=202, response_model=Run, responses={200: {"model": Run}, **declared(409, 410, 413)})
def submit(request: Request, asked: NewRun, service: Served, token: Submitter, key: Key = None) -> Response:
    """Accept a spec as a job: 202, or 200 where its Idempotency-Key came before with the same body."""
    options = {name: getattr(asked, name) for name in ("priority", "workers", "engine", "forked_from")}
    row, created = service.submit(token, asked.spec, key=key, **options)
    return tagged(request, Run.of(row), 202 if created else 200, {"Location": f"/v1/runs/{row.id}"})


@router.get("", response_model=Runs, responses=declared(304))
def runs(
    request: Request,
    service: Served,
    token: Reader,
    state: Annotated[list[State] | None, Query(description="Only these states; may be repeated.")] = None,
    name: Annotated[
        str | None, Query(pattern=NAME, max_length=100, description="Only runs of the spec of that name.")
    ] = None,
    after: Annotated[str | None, Query(max_length=400, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List runs, newest first, a page at a time."""
    del token
    page = service.rows(state=[str(s) for s in state or ()], name=name, after=after, limit=limit)
    return tagged(request, Runs(runs=[Run.of(row) for row in page.rows], next=page.next))


@router.get("/{run}", response_model=Run, responses=declared(304, 404, 410))
def run(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """Tell where one run stands."""
    del token
    return tagged(request, Run.of(service.row(run)))


@router.post("/{run}/cancel", status_code=202, response_model=Run, responses=declared(404, 409, 410))
def cancel(request: Request, run: RunId, service: Served, token: Submitter) -> Response:
    """End a job without its result; what is committed stays. Cancelling twice is cancelling once."""
    return tagged(request, Run.of(service.cancel(token, run)), 202)


@router.post("/{run}/resume", status_code=202, response_model=Run, responses=declared(404, 409, 410))
def resume(request: Request, run: RunId, service: Served, token: Submitter) -> Response:
    """Let a job that failed, crashed or was cancelled go on from what is committed."""
    return tagged(request, Run.of(service.resume(token, run)), 202)


@router.post("/{run}/pin", response_model=Run, responses=declared(404, 410))
def pin(request: Request, run: RunId, asked: Pin, service: Served, token: Submitter) -> Response:
    """Keep a job from retention, or stop keeping it."""
    return tagged(request, Run.of(service.pin(token, run, asked.pinned)))


@router.get("/{run}/plan", response_model=Planned, responses=declared(304, 404, 409, 410))
def plan(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """Tell the steps of a run with their keys."""
    del token
    return tagged(request, service.plan(run))


@router.get("/{run}/steps", response_model=Steps, responses=declared(304, 404, 410))
def steps(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """Tell where each step of a run stands."""
    del token
    return tagged(request, {"steps": service.steps(run)})


@router.get("/{run}/spec", response_model=dict, responses=declared(304, 404, 410))
def spec(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """Give the spec of a run, to look at or to fork."""
    del token
    return tagged(request, service.reading.spec(run))


@router.get(
    "/{run}/log", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **declared(404, 410)}
)
def log(run: RunId, service: Served, token: Reader) -> Response:
    """Give the end of what the latest process of a job printed."""
    del token
    text = redact(service.log(run).decode("utf-8", "replace"))  # what libraries print passes no filter of ours
    return Response(text, media_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})
