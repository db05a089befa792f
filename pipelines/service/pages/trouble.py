"""Errors as pages: what programs get as problems, browsers get as a page that says the same and what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from pipelines.service.pages.rendering import page
from stages.errors import TamisError

#: Below these nobody reads pages.
PROGRAMS = ("/v1/", "/openapi.json", "/metrics", "/healthz", "/readyz", "/static/")


def wants_page(request: Request) -> bool:
    """Whether a person asks: a browser that goes somewhere, or the script of a page for a part of it."""
    if request.url.path.startswith(PROGRAMS):
        return False
    return "text/html" in request.headers.get("Accept", "") or is_part(request)


def is_part(request: Request) -> bool:
    """Whether a page's script asks for a part of the page."""
    return request.headers.get("HX-Request") == "true" and request.headers.get("HX-Boosted") != "true"


def install(app: FastAPI) -> None:
    """Let an app answer browsers with pages; programs still get what the handlers until now answer."""
    for kind in (TamisError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _either(app.exception_handlers[kind]))


def _either(plain: Any) -> Any:
    async def answer(request: Request, error: Exception) -> Response:
        told: Response = await plain(request, error)
        if not wants_page(request):
            return told
        return drawn(request, orjson.loads(told.body), told.status_code)

    return answer


def drawn(request: Request, problem: Mapping[str, Any], status: int) -> Response:
    """A problem as a page; as a part of one where a part was asked for."""
    if status == HTTPStatus.UNAUTHORIZED and not is_part(request):
        said = problem["title"] if request.url.path == "/sign-in" else None
        return page(request, "sign_in.html.j2", status=status, here=None, said=said)
    phrase = HTTPStatus(status).phrase
    template = "part_problem.html.j2" if is_part(request) else "problem.html.j2"
    waits = status == HTTPStatus.SERVICE_UNAVAILABLE and "part" in problem  # it is on its way: look again by itself
    headers = {"Refresh": str(problem["retry_after"])} if waits else None
    phrase = "Not ready yet" if waits else phrase
    return page(request, template, status=status, headers=headers, here=None, problem=dict(problem), phrase=phrase)
