"""The artifacts of the store: what was learned, from what, and what it is worth."""

from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from pipelines.service.pages.rendering import page
from pipelines.service.security.authentication import Reader, Served

router = APIRouter(include_in_schema=False)

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]


@router.get("/artifacts")
def artifacts(request: Request, service: Served, token: Reader) -> Response:
    """Every name with its newest artifact."""
    del token
    return page(request, "artifacts.html.j2", here="artifacts", artifacts=service.artifacts())


@router.get("/artifacts/{name}")
def artifact(request: Request, name: Name, service: Served, token: Reader) -> Response:
    """One artifact's record."""
    del token
    return page(request, "artifact.html.j2", here="artifacts", artifact=service.reading.artifact(name))
