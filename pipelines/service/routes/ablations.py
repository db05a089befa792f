"""`/v1/ablations` and `/v1/artifacts`: what was proved and what was learned."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from pipelines.service import ablations
from pipelines.service.problems import declared
from pipelines.service.routes.answers import tagged
from pipelines.service.routes.models import Told
from pipelines.service.routes.outcomes import page
from pipelines.service.security.authentication import Reader, Served

router = APIRouter(prefix="/v1", tags=["ablations"])

AblationId = Annotated[str, Path(min_length=1, max_length=300, description="An ablation's id or a unique prefix.")]
ArtifactName = Annotated[str, Path(min_length=1, max_length=120, description="NAME or NAME-KEY.")]
Kind = Annotated[Literal["html", "json"], Query()]
_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {}, "application/json": {}}}}


class Ablation(Told):
    """A finished ablation."""

    id: str
    run: str
    baseline: str
    arms: list[str]
    budgets: list[int]
    seeds: list[int]


class Ablations(Told):
    """The finished ablations of a store."""

    ablations: list[Ablation]


class Artifact(Told):
    """What was learned last under a name; `problem` where its record is damaged."""

    name: str
    id: str | None
    kind: str | None
    what: str | None
    created: float | None
    problem: str | None


class Artifacts(Told):
    """The artifacts of a store by name."""

    artifacts: list[Artifact]


@router.get("/ablations", response_model=Ablations, responses=declared(304))
def listed(request: Request, service: Served, token: Reader) -> Response:
    """List finished ablations."""
    del token
    return tagged(request, {"ablations": service.ablations()})


@router.get("/ablations/{ablation}", response_model=Told, responses=declared(304, 404))
def result(request: Request, ablation: AblationId, service: Served, token: Reader) -> Response:
    """Give what came of an ablation: arms, curves, multipliers with intervals."""
    del token
    return tagged(request, ablations.result(service.store, ablation))


@router.get("/ablations/{ablation}/report", response_class=Response, responses={**_PAGE, **declared(304, 404)})
def report(
    request: Request,
    ablation: AblationId,
    service: Served,
    token: Reader,
    format: Kind = "html",  # noqa: A002 - the option's word
) -> Response:
    """Give an ablation's report as one self-contained page, or its numbers as JSON."""
    del token
    return page(request, ablations.report(service.store, ablation, format), format)


@router.get("/artifacts", response_model=Artifacts, responses=declared(304))
def artifacts(request: Request, service: Served, token: Reader) -> Response:
    """List artifacts by name."""
    del token
    return tagged(request, {"artifacts": service.artifacts()})


@router.get("/artifacts/{artifact}", response_model=Told, responses=declared(304, 404))
def artifact(request: Request, artifact: ArtifactName, service: Served, token: Reader) -> Response:
    """Give an artifact's record: kind, identity, files with hashes, and its card."""
    del token
    return tagged(request, service.reading.artifact(artifact))
