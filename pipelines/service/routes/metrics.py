"""`/metrics`: numbers for Prometheus. Needs a token that may read, on loopback too: Prometheus sends one (`credentials_file`)."""

from fastapi import APIRouter, Request, Response

from pipelines.service.observe.metrics import MEDIA_TYPE, Metrics
from pipelines.service.problems import declared
from pipelines.service.security.authentication import Reader

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}, **declared()})
def metrics(request: Request, token: Reader) -> Response:
    """Give numbers of the service as Prometheus reads them."""
    del token
    found: Metrics = request.app.state.metrics
    return Response(found.text(), headers={"Cache-Control": "no-store"}, media_type=MEDIA_TYPE)
