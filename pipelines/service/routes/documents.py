"""Looking into a finished run: its documents, why each stayed or went, what other thresholds would keep, its clusters."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response

from pipelines.service.problems import declared
from pipelines.service.routes.answers import tagged
from pipelines.service.routes.models import Told
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served

router = APIRouter(prefix="/v1/runs", tags=["documents"])

MAX_OFFSET = 2**53
MAX_PAGE = 200
MAX_CHARACTERS = 100_000
Column = Annotated[str, Query(min_length=1, max_length=200, description="A column by its full name: stats.words.")]
Offset = Annotated[int, Query(ge=0, le=MAX_OFFSET)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE)]
FateName = Annotated[Literal["kept", "rejected", "quarantined"] | None, Query(description="Only these; without: all.")]
_UNFINISHED = declared(304, 404, 409, 410)


class Documents(Told):
    """A page of documents, and what all that were found come to."""

    total: int
    bytes: int | None
    tokens: int | None
    offset: int
    documents: list[dict[str, Any]]


@router.get("/{run}/documents", response_model=Documents, responses=_UNFINISHED)
def documents(  # noqa: PLR0913, PLR0917 - one parameter of the query each
    request: Request,
    run: RunId,
    service: Served,
    token: Reader,
    fate: FateName = None,
    reason: Annotated[str | None, Query(max_length=200, description="Only those with this reason.")] = None,
    where: Annotated[list[str] | None, Query(max_length=20, description="Tests such as stats.words>=50.")] = None,
    columns: Annotated[list[str] | None, Query(max_length=50, description="Columns to show beside the rules'.")] = None,
    sort: Annotated[str | None, Query(max_length=200, description="A column; with - before it: largest first.")] = None,
    text: Annotated[int, Query(ge=0, le=MAX_CHARACTERS, description="Characters of each text; 0: none.")] = 0,
    offset: Offset = 0,
    limit: Limit = 50,
) -> Response:
    """List documents of a run by fate, reason and tests of columns."""
    del token
    explorer = service.explorer(run)
    shown = tuple(columns or ())
    found = explorer.documents(fate, reason, tuple(where or ()), offset=offset, limit=limit, sort=sort, columns=shown)
    rows = [{k: v for k, v in row.items() if k != "place"} for row in found.rows]
    if text and found.places:
        rows = [{**row, **read} for row, read in zip(rows, explorer.read(found.places, text), strict=True)]
    told = {"total": found.total, "bytes": found.bytes, "tokens": found.tokens, "offset": offset, "documents": rows}
    return tagged(request, told)


@router.get("/{run}/documents/{document:path}", response_model=Told, responses=_UNFINISHED)
def document(
    request: Request,
    run: RunId,
    document: Annotated[
        str, Path(min_length=1, max_length=2_000, description="A doc_id, its beginning, or your own id.")
    ],
    service: Served,
    token: Reader,
) -> Response:
    """Tell why a document stayed or went: every rule with value and threshold, its twins, where it came from."""
    del token
    return tagged(request, service.explain(run, document))


@router.get("/{run}/what-if", response_model=Told, responses=_UNFINISHED)
def what_if(
    request: Request,
    run: RunId,
    rule: Annotated[
        list[str], Query(min_length=1, max_length=20, description="Such as stats.words>=50; may be repeated.")
    ],
    service: Served,
    token: Reader,
) -> Response:
    """Tell what other thresholds would keep; no text is read."""
    del token
    return tagged(request, service.explorer(run).what_if(rule))


@router.get("/{run}/clusters", response_model=Told, responses=_UNFINISHED)
def clusters(  # noqa: PLR0913, PLR0917 - one parameter of the query each
    request: Request,
    run: RunId,
    column: Column,
    service: Served,
    token: Reader,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    members: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """List the clusters of a column such as copies.cluster, the largest first, each with its first members."""
    del token
    return tagged(request, service.explorer(run).clusters(column, offset, limit, members))


@router.get("/{run}/histogram", response_model=Told, responses=_UNFINISHED)
def histogram(
    request: Request,
    run: RunId,
    column: Column,
    service: Served,
    token: Reader,
    bins: Annotated[int, Query(ge=1, le=500)] = 60,
    fate: FateName = None,
) -> Response:
    """Count documents by value of a column and by fate."""
    del token
    return tagged(request, service.explorer(run).histogram(column, bins, fate))


@router.get("/{run}/borderline", response_model=Told, responses=_UNFINISHED)
def borderline(
    request: Request,
    run: RunId,
    column: Column,
    value: Annotated[float, Query(allow_inf_nan=False)],
    service: Served,
    token: Reader,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
) -> Response:
    """Show the documents nearest to a threshold, on both sides."""
    del token
    found = service.explorer(run).borderline(column, value, limit)
    for side in ("below", "above"):
        found[side] = [{k: v for k, v in row.items() if k != "place"} for row in found[side]]
    return tagged(request, found)
