"""Signing a browser in with a one-time link, and out again."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from pipelines.service import tokens
from pipelines.service.pages.rendering import page
from pipelines.service.pages.trouble import wants_page
from pipelines.service.problems import declared
from pipelines.service.security.authentication import COOKIE, SESSION_SECONDS, Reader, Served, sign_in

router = APIRouter(tags=["session"])


_HOW: dict[int | str, dict[str, Any]] = {200: {"description": "How to sign in.", "content": {"text/html": {}}}}


@router.get("/sign-in", status_code=303, response_class=HTMLResponse, responses={**_HOW, **declared()})
def signed_in(
    request: Request,
    service: Served,
    link: Annotated[str | None, Query(max_length=100, description="What `tamis serve` printed.")] = None,
) -> Response:
    """Make a session of a one-time link and go to the first page; without a link, tell how to sign in."""
    if link is None:
        return page(request, "sign_in.html.j2", here=None, said=None)
    value, request.state.token = sign_in(request, service, link)
    answer = RedirectResponse("/", 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})
    # a proxy that ends TLS says so; who lies about it keeps only his own cookie from plain HTTP
    secure = "https" in {request.url.scheme, request.headers.get("X-Forwarded-Proto")}
    answer.set_cookie(COOKIE, value, SESSION_SECONDS, httponly=True, samesite="strict", secure=secure)
    return answer


@router.post("/sign-out", status_code=204, responses={303: {"description": "A page asked."}, **declared()})
def signed_out(request: Request, service: Served, token: Reader) -> Response:
    """End the session of the browser that asks; a page then says how to sign in again."""
    if token.kind == "session":
        tokens.revoke(service.store, token.id)
    answer = RedirectResponse("/sign-in", 303) if wants_page(request) else Response(status_code=204)
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer
