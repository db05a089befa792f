"""Errors as answers: every one is `application/problem+json` (RFC 9457)."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from pipelines.secret_values import redact
from stages.errors import TamisError

MEDIA_TYPE = "application/problem+json"
ERRORS = 400
_LOG = logging.getLogger("tamis.service")


class Problem(BaseModel):
    """What went wrong, in one sentence, with fields for machines."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Which kind of error: spec-error, not-found-error, ...")
    status: int
    title: str = Field(description="One sentence: what, where, why, what to do.")


def declared(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The answers of a route that are problems, for OpenAPI, beside those that any route may give."""
    content = {"content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
    every = sorted({400, 401, 403, 413, 421, 422, 429, 503, *statuses})
    return {s: {"description": HTTPStatus(s).phrase, **(content if s >= ERRORS else {})} for s in every}


def problem(status: int, kind: str, title: str, headers: dict[str, str] | None = None, **fields: Any) -> JSONResponse:
    """An answer that is a problem."""
    content = {**fields, "type": kind, "status": status, "title": title}
    return JSONResponse(_plain(content), status, headers, MEDIA_TYPE)


def answer_to(error: TamisError) -> JSONResponse:
    """The answer that an error of ours becomes."""
    content, headers = error.problem(), {}
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    if "retry_after" in error.fields:
        headers["Retry-After"] = str(error.fields["retry_after"])
    elif error.status == HTTPStatus.SERVICE_UNAVAILABLE:
        headers["Retry-After"] = "5"
    return JSONResponse(_plain(content), error.status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Let an app answer errors this way."""
    app.add_exception_handler(TamisError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unforeseen)


async def _ours(request: Request, error: Exception) -> Response:
    assert isinstance(error, TamisError)
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        _LOG.error("%s %s: %s", request.method, request.url.path, error.message)
    return answer_to(error)


async def _invalid(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, RequestValidationError)
    found = [{"where": ".".join(map(str, e["loc"])), "what": e["msg"]} for e in error.errors()]
    title = "; ".join(f"{e['where']}: {e['what']}" for e in found[:3]) or "the request is malformed"
    return problem(422, "request-error", f"the request cannot be understood: {title}", errors=_plain(found))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    titles = {
        400: f"the body of {request.method} {request.url.path} cannot be read ({error.detail}); send what `/openapi.json` describes",
        404: f"there is nothing at {request.url.path}; `/openapi.json` lists what there is",
        405: f"{request.url.path} does not take {request.method}; `/openapi.json` lists what it takes",
    }
    title = titles.get(error.status_code, str(error.detail))
    headers = dict(error.headers or {})
    return problem(error.status_code, phrase.lower().replace(" ", "-"), title, headers)


async def _unforeseen(request: Request, error: Exception) -> Response:
    _LOG.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return problem(500, "internal-error", "the service failed at this; its log says where, and it is a bug to report")


def _plain(value: Any) -> Any:
    """The value as JSON can hold it, without secrets; lone surrogates, which HTTP cannot carry, are written out."""
    if isinstance(value, str):
        return redact(value).encode("utf-8", "backslashreplace").decode()
    if isinstance(value, dict):
        return {_plain(str(k)): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)
