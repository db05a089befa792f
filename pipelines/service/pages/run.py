"""The page of one run: where it stands, live; what came out of it; cancel, resume, pin."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request
from fastapi.responses import RedirectResponse, Response

from pipelines.report.headline import headline
from pipelines.report.page import funnel
from pipelines.report.sankey import sankey
from pipelines.service.database.cache import apply
from pipelines.service.database.tables import RunRow
from pipelines.service.history import PROGRESS, Event
from pipelines.service.pages.flow import Flows
from pipelines.service.pages.forms import FromHere
from pipelines.service.pages.pace import paces
from pipelines.service.pages.rendering import page
from pipelines.service.routes.events import over
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served, Submitter
from pipelines.service.service import Service
from pipelines.service.states import State, cancelled, resumed
from pipelines.service.tokens import Scope, Token
from stages.errors import TamisError

router = APIRouter(include_in_schema=False)

#: Events, and files of an export, that the page lists; the rest is a link away.
EVENTS, FILES = 100, 20
#: What the reading of all sources together is told as.
INGEST = "ingest"
#: Widths of the drawing of the flow: at a desk, on a phone.
WIDE, NARROW = 1010, 330


@router.get("/runs/{run}")
def run(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """The whole page; other names of a run lead to the one by its id."""
    row = service.row(run)
    if run != row.id:
        return RedirectResponse(f"/runs/{row.id}", 303)
    return page(request, "run.html.j2", here="runs", **_seen(request, service, token, row))


@router.get("/runs/{run}/live")
def live(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """What of the page changes while the run goes on."""
    return page(request, "part_run.html.j2", here="runs", **_seen(request, service, token, service.row(run)))


@router.post("/runs/{run}/{action}", dependencies=[FromHere])
def act(
    run: RunId,
    action: Annotated[Literal["cancel", "resume", "pin", "unpin"], Path()],
    service: Served,
    token: Submitter,
) -> Response:
    """Do what a button of the page says."""
    if action in {"pin", "unpin"}:
        row = service.pin(token, run, action == "pin")
    else:
        row = service.cancel(token, run) if action == "cancel" else service.resume(token, run)
    return RedirectResponse(f"/runs/{row.id}", 303)


def _seen(request: Request, service: Service, token: Token, row: RunRow) -> dict[str, Any]:
    events = service.history(row.id)
    if row.managed:
        for event in events:  # the database may be a moment behind the events that woke the page
            apply(row, event)
    now, steps = time.time(), _steps(service, row)
    ended = row.state == State.SUCCEEDED
    flows: Flows = request.app.state.flows
    return {
        "row": row,
        "over": over(row),
        "ended": ended,
        "last": events[-1].number if events else 0,
        "may": _may(token, row),
        "steps": steps,
        "measured": all(step["ledger"] is not None for step in steps),
        "paces": {} if over(row) else paces(events, row.attempt, now),
        "events": _shown(events),
        "flow": None if ended or row.run is None else _flow(flows, service, row.run),
        "outcome": _outcome(service, row) if ended else None,
        "attempted": _began(events, row.attempt),
        "now": now,
        "sankey": sankey,
        "widths": (WIDE, NARROW),
    }


def _may(token: Token, row: RunRow) -> Mapping[str, bool]:
    """Which buttons there are."""
    state, allowed = State(row.state), token.allows(Scope.submit)
    owned = allowed and row.managed
    return {
        "cancel": owned and cancelled(state) not in {None, state},
        "resume": owned and resumed(state) not in {None, state},
        "pin": allowed,
    }


def _steps(service: Service, row: RunRow) -> list[dict[str, Any]]:
    """The steps; while a run reads its sources, all of them are told of as one, and each alone only waits."""
    steps = service.steps(row.id)
    if all(step["name"] != INGEST or step["state"] == "waiting" for step in steps):
        return steps
    return [step for step in steps if step["kind"] != "source" or step["state"] != "waiting"]


def _shown(events: Sequence[Event]) -> list[Event]:
    """The newest events that say something which the steps do not."""
    return [event for event in reversed(events) if event.type != PROGRESS][:EVENTS]


def _began(events: Sequence[Event], attempt: int) -> float | None:
    """When the present attempt began; null where none has."""
    return next((event.at for event in events if attempt and event.attempt == attempt), None)


def _flow(flows: Flows, service: Service, run: str) -> Mapping[str, Any] | None:
    with suppress(TamisError):  # the page shows the run's own error; what a run has read so far is a bonus
        return flows.look(service.store, run)
    return None


def _outcome(service: Service, row: RunRow) -> dict[str, Any]:
    """What a finished run left. What cannot be read any more is said in its place."""
    found: dict[str, Any] = {"problem": None, "report": None, "export": None}
    try:
        report = json.loads(service.report(row.id, "json"))
        found |= {"report": report, "headline": headline(report), "funnel": funnel(report)}
        export = service.exports(row.id)
        files = export["manifest"].get("files", [])
        found |= {"export": export, "files": files[:FILES], "more_files": max(0, len(files) - FILES)}
    except TamisError as error:
        found["problem"] = error.problem()
    return found
