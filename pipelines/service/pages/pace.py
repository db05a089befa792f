"""How fast the steps of a run go, and how long they will yet take: from what was told of them."""

from collections.abc import Iterable
from dataclasses import replace

from pipelines.progress import Meter, Progress
from pipelines.service.history import PROGRESS, Event


def paces(events: Iterable[Event], attempt: int, now: float) -> dict[str, Progress]:
    """Where each step of an attempt stood when it was last told of; the time left is counted from `now`.

    What an earlier attempt did counts as done, and not towards the rate.
    """
    at = 0.0
    heard: dict[str, float] = {}
    found: dict[str, Progress] = {}
    meter = Meter(lambda: at)
    for event in events:
        if event.type != PROGRESS or event.attempt != attempt:
            continue
        at = event.at
        step = event.data["step"]
        heard[step] = at
        found[step] = meter.step(step, event.data["done"], event.data["total"], event.data.get("bytes") or 0)
    return {name: _aged(progress, now - heard[name]) for name, progress in found.items()}


def _aged(progress: Progress, seconds: float) -> Progress:
    if not progress.seconds_left:
        return progress
    return replace(progress, seconds_left=max(0.0, progress.seconds_left - max(0.0, seconds)))
