"""Answers that clients may keep: an ETag of the content, and 304 where they have it."""

import hashlib
import json
from typing import Any

import orjson
from fastapi import Request, Response
from pydantic import BaseModel

#: What never changes may be kept, but only by who was allowed to read it.
PRIVATE = "private, no-cache"


def tagged(
    request: Request, value: BaseModel | Any, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """A JSON answer with its ETag; 304 where the client has the same."""
    data = value.model_dump(mode="json") if isinstance(value, BaseModel) else value
    return content(request, encoded(data), "application/json", status, headers)


def encoded(data: Any) -> bytes:
    """JSON in UTF-8; in ASCII where the data holds lone surrogates or large integers, which orjson refuses."""
    try:
        return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY)
    except TypeError:
        return json.dumps(data, default=str).encode()


def content(
    request: Request, body: bytes, media_type: str, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """An answer with its ETag; 304 where the client has the same."""
    tag = f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'
    own = {"ETag": tag, "Cache-Control": PRIVATE, **(headers or {})}
    if request.method in {"GET", "HEAD"} and matches(request.headers.get("If-None-Match"), tag):
        return Response(status_code=304, headers=own)
    return Response(body, status, own, media_type)


def matches(given: str | None, tag: str) -> bool:
    """Whether the header If-None-Match names the tag."""
    if given is None:
        return False
    known = {part.strip().removeprefix("W/") for part in given.split(",")}
    return "*" in known or tag in known
