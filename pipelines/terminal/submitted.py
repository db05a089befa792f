"""A job of a service on a terminal: what happens to it while it does, and what came of it."""

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from pipelines.client.models import Event, Run
from pipelines.progress import Watch
from pipelines.service.states import State
from pipelines.terminal.outcome import funnel
from pipelines.terminal.parts import SOFT, plain

#: States that a bar says better, or that the end says.
_UNSAID = frozenset({State.SUCCEEDED, State.FAILED})


def telling(job: str, watch: Watch) -> Callable[[Event], None]:
    """What hears a job's events and passes them on to a watch."""

    def hear(event: Event) -> None:
        data = event.data
        if event.type == "progress":
            watch.step(data["step"], data["done"], data["total"], data.get("bytes") or 0)
        elif event.type == "note":
            watch.say(data["note"])
        elif event.state is not None and event.state not in _UNSAID:
            again = f" (attempt {event.attempt})" if event.attempt > 1 else ""
            why = f": {data['note']}" if data.get("note") else ""
            watch.say(f"job {job} is {event.state}{again}{why}")

    return hear


def accepted(run: Run, url: str) -> RenderableType:
    """Where a job that was just accepted stands, and where it can be watched."""
    return Text.assemble("job ", plain(run.id, "bold"), f": {run.state} at ", plain(f"{url}/runs/{run.id}", SOFT))


def came_of(run: Run, report: Mapping[str, Any], url: str) -> RenderableType:
    """What a run that succeeded came to; `report` is its report as data."""
    reasons = {line["reason"]: line for line in report.get("reasons", ())}
    ledger = {
        "total": run.total,
        "reasons": {name: line["documents"] for name, line in reasons.items()},
        "verdict": {"reasons": {n: {"alone": line["only"], "bytes": line["bytes"]} for n, line in reasons.items()}},
    }
    return funnel(str(run.run), ledger, export=run.export, report=f"{url}/v1/runs/{run.id}/report")
