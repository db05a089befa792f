"""`/healthz` and `/readyz`: whether the service lives, and whether it can do its work. Anybody may ask."""

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter, Response

from pipelines.service.problems import declared, problem
from pipelines.service.routes.models import Health
from pipelines.service.security.authentication import Served

router = APIRouter(tags=["health"])
_SICK: dict[int | str, dict[str, Any]] = {503: declared()[503]}


def _well() -> Health:
    return Health(status="ok", version=version("tamis"))


@router.get("/healthz", response_model=Health, responses=_SICK)
def healthz(service: Served) -> Response | Health:
    """Tell whether what moves jobs on is at work; else restart the service."""
    if not service.alive:
        return problem(503, "unhealthy", "the supervisor is not running; restart the service")
    return _well()


@router.get("/readyz", response_model=Health, responses=_SICK)
def readyz(service: Served) -> Response | Health:
    """Tell whether the store and the database answer."""
    trouble = service.problem()
    if trouble is not None:
        return problem(503, "not-ready", trouble, {"Retry-After": "5"})
    return _well()
