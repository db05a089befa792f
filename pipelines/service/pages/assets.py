"""Scripts and styles of the pages: our own, vendored ones, and Plotly's from its installed package.

Addresses carry a digest of the content (`/static/app.css?v=...`), so browsers may keep them for ever.
"""

import functools
import gzip
import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import Response

from pipelines.report.page import TEMPLATES as REPORTS
from pipelines.service.errors import NotFoundError
from pipelines.service.routes.answers import matches

router = APIRouter(include_in_schema=False)

FOLDER = Path(__file__).parent / "static"
FOREVER = "public, max-age=31536000, immutable"
TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
}
PLOTLY = "plotly.js"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent."""

    body: bytes
    packed: bytes
    type: str
    digest: str


@functools.cache
def files() -> dict[str, Path]:
    """Every file that is served, by the name that it is served under. Names come from us, never from who asks."""
    found = {p.relative_to(FOLDER).as_posix(): p for p in FOLDER.rglob("*") if p.suffix in TYPES}
    found["report.css"] = REPORTS / "report.css"  # the look of reports is the look of pages
    spec = find_spec("plotly")
    if spec is not None and spec.origin is not None:
        found[PLOTLY] = Path(spec.origin).parent / "package_data" / "plotly.min.js"
    return found


@functools.cache
def asset(name: str) -> Asset | None:
    """A file by its name; read once. None where there is none."""
    path = files().get(name)
    if path is None or not path.is_file():
        return None
    body = path.read_bytes()
    packed = gzip.compress(body, 6, mtime=0)
    return Asset(body, packed, TYPES[path.suffix], hashlib.blake2b(body, digest_size=8).hexdigest())


def address(name: str) -> str:
    """Where a file is, as pages name it."""
    found = asset(name)
    return f"/static/{name}" if found is None else f"/static/{name}?v={found.digest}"


@router.get("/favicon.ico")
def icon() -> Response:
    """The sieve, for browsers that ask without being told where it is."""
    return static("icon.svg")


@router.get("/static/{name:path}")
def static(
    name: str,
    v: Annotated[str | None, Query(max_length=40)] = None,
    known: Annotated[str | None, Header(alias="If-None-Match")] = None,
    encodings: Annotated[str, Header(alias="Accept-Encoding")] = "",
) -> Response:
    """A script or style; anybody may read these."""
    found = asset(name) if name in files() else None
    if found is None:
        hint = "; install the package `plotly`" if name == PLOTLY else ""
        raise NotFoundError(f"there is no file {name[:100]!r} among those that pages are made of{hint}")
    tag = f'"{found.digest}"'
    headers = {
        "ETag": tag,
        "Cache-Control": FOREVER if v == found.digest else "no-cache",
        "X-Content-Type-Options": "nosniff",
        "Vary": "Accept-Encoding",
    }
    if matches(known, tag):
        return Response(status_code=304, headers=headers)
    if "gzip" in encodings:
        return Response(found.packed, 200, {**headers, "Content-Encoding": "gzip"}, found.type)
    return Response(found.body, 200, headers, found.type)
