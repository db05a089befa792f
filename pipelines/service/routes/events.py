"""`/v1/runs/{run}/events`: what happens to a job, as server-sent events with replay."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse

from pipelines.service.database.tables import RunRow
from pipelines.service.history import Event
from pipelines.service.problems import declared
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from pipelines.service.service import Service
from pipelines.service.states import ENDED, RESTARTS, State

router = APIRouter(prefix="/v1/runs", tags=["runs"])

#: Seconds of silence after which a comment says that the connection lives.
HEARTBEAT_SECONDS = 15.0
#: Milliseconds after which a browser connects again.
RETRY_MS = 1_000
#: Seconds between two looks at a run that nobody submitted: nothing rings for it.
UNMANAGED_SECONDS = 2.0

_STREAM: dict[int | str, dict[str, Any]] = {
    200: {"description": "Events; `id` is the event's number, `data` its JSON.", "content": {"text/event-stream": {}}}
}


@router.get(
    "/{run}/events",
    response_class=StreamingResponse,
    responses={**_STREAM, 204: {"description": "There is nothing more to come."}, **declared(404, 410)},
)
def events(
    run: RunId,
    service: Served,
    token: Reader,
    last: Annotated[
        int | None, Header(alias="Last-Event-ID", ge=0, le=2**53, description="Go on after this event.")
    ] = None,
    after: Annotated[int | None, Query(ge=0, le=2**53, description="The same, for who cannot set headers.")] = None,
) -> Response:
    """Stream what happened to a job and what happens; ends with the job. A browser that connects again then gets 204."""
    del token
    row = service.row(run)
    number = last if last is not None else after or 0
    if over(row) and number >= row.number and not service.reading.events(row, number):
        return Response(status_code=204)
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_stream(service, row.id, number), media_type="text/event-stream", headers=headers)


def over(row: RunRow) -> bool:
    """Whether nothing happens to the job by itself any more."""
    return row.state in ENDED or (row.state == State.CRASHED and (row.restarts > RESTARTS or not row.managed))


async def _stream(service: Service, job: str, after: int) -> AsyncIterator[str]:
    """Every event after a number, until the job is over or the service ends."""
    yield f"retry: {RETRY_MS}\n\n"
    with service.hub.listen(job) as bell:
        while not service.hub.closed:
            bell.clear()
            row = await run_in_threadpool(service.row, job)  # before its events: what ends it is among them
            for event in await run_in_threadpool(service.reading.events, row, after):
                yield told(event)
                after = event.number
            if over(row) and after >= row.number:
                return
            try:
                await asyncio.wait_for(bell.wait(), HEARTBEAT_SECONDS if row.managed else UNMANAGED_SECONDS)
            except TimeoutError:
                yield ": still there\n\n"


def told(event: Event) -> str:
    """An event as the stream has it."""
    return f"id: {event.number}\nevent: {event.type}\ndata: {json.dumps(event.json(), ensure_ascii=False)}\n\n"
