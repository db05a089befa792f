"""The list of runs: by state and name, a page at a time, live."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.service.listing import Page
from pipelines.service.pages.rendering import page
from pipelines.service.pages.trouble import is_part
from pipelines.service.security.authentication import Reader, Served
from pipelines.service.service import Service
from pipelines.service.states import ACTIVE, State
from stages.errors import SpecError

router = APIRouter(include_in_schema=False)

LIMIT = 50
#: Choices of the filter by state: what is asked for, what it is called, the states.
CHOICES: Mapping[str, tuple[str, tuple[State, ...]]] = {
    "waiting": ("waiting", (State.QUEUED,)),
    "going-on": ("going on", (State.STARTING, State.RUNNING, State.CANCELLING)),
    "succeeded": ("succeeded", (State.SUCCEEDED,)),
    "failed": ("failed or crashed", (State.FAILED, State.CRASHED)),
    "cancelled": ("cancelled", (State.CANCELLED,)),
}
#: Seconds between two looks at the list while something goes on, and while nothing does.
BUSY_SECONDS, IDLE_SECONDS = 3, 15


@router.get("/")
def first() -> Response:
    """Go to the runs."""
    return RedirectResponse("/runs", 303)


@router.get("/runs")
def runs(
    request: Request,
    service: Served,
    token: Reader,
    state: Annotated[str, Query(max_length=20)] = "",
    name: Annotated[str, Query(max_length=160)] = "",
    after: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """The list; as a part, its table."""
    del token
    name = name.strip()
    found = _found(service, CHOICES[state][1] if state in CHOICES else (), name, after)
    busy = any(row.state in ACTIVE or row.state == State.QUEUED for row in found.rows)
    return page(
        request,
        "part_runs.html.j2" if is_part(request) else "runs.html.j2",
        here="runs",
        rows=found.rows,
        choices=[(key, called) for key, (called, _) in CHOICES.items()],
        state=state,
        name=name,
        first=not after,
        again=_address(state, name, after),
        next=None if found.next is None else _address(state, name, found.next),
        seconds=BUSY_SECONDS if busy else IDLE_SECONDS,
    )


def _found(service: Service, states: Sequence[str], name: str, after: str) -> Page:
    """The runs of that name; where there is none, the run with that id or beginning of an id."""
    found = service.rows(state=[str(s) for s in states], name=name or None, after=after or None, limit=LIMIT)
    if found.rows or not name or after:
        return found
    with suppress(SpecError):  # there is none, it is gone, or several begin so: the list stays empty
        row = service.row(name)
        return Page((row,) if not states or row.state in states else (), None)
    return found


def _address(state: str, name: str, after: str) -> str:
    asked = {"state": state, "name": name, "after": after}
    return "/runs?" + urlencode({key: value for key, value in asked.items() if value})
