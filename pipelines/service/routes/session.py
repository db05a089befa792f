"""Signing a browser in with a one-time link, and out again."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from pipelines.service import tokens
from pipelines.service.problems import declared
from pipelines.service.security.authentication import COOKIE, SESSION_SECONDS, Reader, Served, sign_in

router = APIRouter(tags=["session"])


@router.get("/sign-in", status_code=303, response_class=RedirectResponse, responses=declared())
def signed_in(
    request: Request,
    service: Served,
    link: Annotated[str, Query(max_length=100, description="What `tamis serve` printed.")],
) -> Response:
    """Make a session of a one-time link and go to the first page."""
    value, request.state.token = sign_in(request, service, link)
    answer = RedirectResponse("/", 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    # a proxy that ends TLS says so; who lies about it keeps only his own cookie from plain HTTP
    secure = "https" in {request.url.scheme, request.headers.get("X-Forwarded-Proto")}
    answer.set_cookie(COOKIE, value, SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/sign-out", status_code=204, responses=declared())
def signed_out(service: Served, token: Reader) -> Response:
    """End the session of the browser that asks."""
    if token.kind == "session":
        tokens.revoke(service.store, token.id)
    answer = Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
