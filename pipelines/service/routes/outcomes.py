"""What a finished run leaves: its export and its report."""

import re
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse
from pydantic import Field

from pipelines.service.errors import NoSuchPartError, NotFoundError
from pipelines.service.problems import declared
from pipelines.service.routes.answers import PRIVATE, content, matches, tagged
from pipelines.service.routes.models import Given, Told
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served, Submitter
from pipelines.store import checked
from stages.fingerprint import key

router = APIRouter(prefix="/v1/runs", tags=["outcomes"])

_UNFINISHED = declared(304, 404, 409, 410)
_RANGES = re.compile(r"bytes=\s*(?:\d+-\d*|-\d+)(?:\s*,\s*(?:\d+-\d*|-\d+))*\Z", re.ASCII)
#: Reports are pages of their own: they have inline styles and no scripts, and nothing of them may reach further.
REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'; sandbox"
)


class Export(Told):
    """Where an export is, and its manifest."""

    run: str
    path: str
    manifest: dict[str, Any]


class NewExport(Given):
    """Another export of a finished run."""

    format: Literal["parquet", "jsonl", "litdata", "mds", "megatron", "webdataset"]
    out: str = Field(min_length=1, max_length=1_000, description="A folder below a root, absent or empty.")
    settings: dict[str, Any] = Field(default_factory=dict, description="Fields of the format, and shard_bytes.")


class Exporting(Told):
    """Where another export stands."""

    id: str
    state: Literal["RUNNING", "SUCCEEDED", "FAILED"]
    out: str
    result: dict[str, Any] | None
    error: dict[str, Any] | None


@router.get("/{run}/export", response_model=Export, responses=_UNFINISHED)
def export(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """Tell where a run's export is, with its manifest: files, checksums, counts."""
    del token
    found = service.exports(run)
    return tagged(request, {name: found[name] for name in ("run", "path", "manifest")})


@router.get(
    "/{run}/export/{file:path}",
    response_class=FileResponse,
    responses={
        200: {"content": {"application/octet-stream": {}}},
        206: {"description": "A part"},
        **_UNFINISHED,
        **declared(416),
    },
)
def export_file(
    request: Request,
    run: RunId,
    file: Annotated[str, Path(min_length=1, max_length=400, description="A file's name, as the manifest has it.")],
    service: Served,
    token: Reader,
) -> Response:
    """Download a file of a run's export; takes Range."""
    del token
    found = service.exports(run)
    path = f"{found['below']}/{file}"
    try:
        size = service.store.size(checked(path))
    except ValueError:
        size = None
    if size is None:
        raise NotFoundError(
            f"the export of {found['run']} has no file {file!r}; its manifest lists them", run=found["run"]
        )
    _check_range(request.headers.get("Range"), size)
    tag = f'"{key([found["run"], path, size])}"'  # a file of an export never changes
    headers = {"X-Content-Type-Options": "nosniff", "ETag": tag, "Cache-Control": PRIVATE}
    if matches(request.headers.get("If-None-Match"), tag):
        return Response(status_code=304, headers=headers)
    local = service.store.local(path)
    return FileResponse(local, headers=headers, media_type="application/octet-stream", filename=file.rsplit("/", 1)[-1])


def _check_range(asked: str | None, size: int) -> None:
    """See whether a part of a file can be sent.

    Raises:
        NoSuchPartError: it is malformed, or begins beyond the end.
    """
    if asked is None:
        return
    parts = _RANGES.match(asked)
    begins = [int(b) for b in re.findall(r"(\d+)-", asked)] if parts else []
    if parts is None or (begins and min(begins) >= size):
        raise NoSuchPartError(
            f"the file has {size} bytes and no part {asked[:100]!r}; ask for one such as bytes=0-{size - 1}", bytes=size
        )


@router.post("/{run}/export", status_code=202, response_model=Exporting, responses=declared(404, 409, 410))
def new_export(request: Request, run: RunId, asked: NewExport, service: Served, token: Submitter) -> Response:
    """Write a run in another format to a folder below a root, in the background."""
    del token
    found = service.exporting.start(service.view(run).run, asked.format, asked.out, asked.settings)
    return tagged(request, found, 202, {"Location": f"/v1/exports/{found['id']}"})


exports = APIRouter(prefix="/v1/exports", tags=["outcomes"])


@exports.get("/{export}", response_model=Exporting, responses=declared(304, 404))
def exporting(
    request: Request, export: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")], service: Served, token: Reader
) -> Response:
    """Tell where another export stands."""
    del token
    return tagged(request, service.exporting.status(export))


@router.get(
    "/{run}/report",
    response_class=Response,
    responses={200: {"content": {"text/html": {}, "application/json": {}}}, **_UNFINISHED},
)
def report(
    request: Request,
    run: RunId,
    service: Served,
    token: Reader,
    format: Annotated[Literal["html", "json"], Query()] = "html",  # noqa: A002 - the option's word
) -> Response:
    """Give a run's report as one self-contained page, or its numbers as JSON."""
    del token
    return page(request, service.report(run, format), format)


def page(request: Request, body: bytes, kind: str) -> Response:
    """A report as an answer."""
    if kind == "json":
        return content(request, body, "application/json")
    headers = {"Content-Security-Policy": REPORT_POLICY, "X-Content-Type-Options": "nosniff"}
    return content(request, body, "text/html; charset=utf-8", headers=headers)
