"""`/v1/specs`: what is wrong with a spec, what it would do, what becomes of its first documents."""

from typing import Any

from fastapi import APIRouter, Request, Response

from pipelines.service.problems import declared
from pipelines.service.routes.answers import tagged
from pipelines.service.routes.models import Checked, GivenPreview, GivenSpec, Preview
from pipelines.service.security.authentication import Reader, Served, Submitter
from pipelines.stage_table import stage_table

router = APIRouter(prefix="/v1", tags=["specs"])


@router.post("/specs/validate", response_model=Checked, responses=declared())
def validate(request: Request, asked: GivenSpec, service: Served, token: Reader) -> Response:
    """Say what is wrong with a spec, or else its plan: steps, hits and misses, time and bytes. Writes nothing."""
    del token
    return tagged(request, service.validate(asked.spec))


@router.post("/specs/preview", response_model=Preview, responses=declared(409))
def preview(request: Request, asked: GivenPreview, service: Served, token: Submitter) -> Response:
    """Run a spec on its first documents in a folder that is thrown away."""
    del token
    return tagged(request, service.preview(asked.spec, asked.documents))


@router.get("/stages", response_model=list[dict[str, Any]], responses=declared(304))
def stages(request: Request, token: Reader) -> Response:
    """List every stage with its fields, columns, units and examples: what a spec may name."""
    del token
    return tagged(request, stage_table(None))
