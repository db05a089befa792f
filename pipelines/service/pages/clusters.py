"""Duplicate clusters: the largest first, who stayed of each, and the texts of members side by side."""

from collections.abc import Sequence
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from pipelines.duplicate_steps import NGRAM, duplicate_steps
from pipelines.report.shared_spans import COMPARED, compared, pieces
from pipelines.service.errors import NotFoundError
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.pages.asking import MAX_OFFSET, cluster_columns
from pipelines.service.pages.rendering import page
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from pipelines.view import RunView

router = APIRouter(include_in_schema=False)

#: Clusters a page, members that a list names, members side by side, and the last member that can be looked at.
PAGE, NAMED, BESIDE, MOST = 20, 4, 4, 10_000


@router.get("/runs/{run}/clusters")
def clusters(  # noqa: PLR0913, PLR0917 - what the address says
    request: Request,
    run: RunId,
    service: Served,
    token: Reader,
    column: Annotated[str | None, Query(max_length=200)] = None,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
    cluster: Annotated[int | None, Query(ge=1, le=MAX_OFFSET)] = None,
    first: Annotated[int, Query(ge=0, le=MOST)] = 0,
) -> Response:
    """The clusters of a column by size; with `cluster` (its place in that order, from 1) its members side by side."""
    del token
    row = service.row(run)
    explorer: Explorer = service.explorer(run)
    columns = cluster_columns(explorer.view)
    column = column or (columns[0] if columns else None)
    values: dict[str, Any] = {"here": "runs", "row": row, "columns": columns, "column": column}
    if column is None:
        return page(request, "clusters.html.j2", **values, found=None, offset=0, page_size=PAGE)
    if cluster is None:
        found = explorer.clusters(column, offset, PAGE, NAMED)
        return page(request, "clusters.html.j2", **values, found=found, offset=offset, page_size=PAGE)
    found = explorer.clusters(column, cluster - 1, 1, first + BESIDE)
    if not found["clusters"]:
        raise NotFoundError(
            f"{column!r} has {found['total']} clusters of more than one document, so there is no {cluster}."
        )
    one = found["clusters"][0]
    return page(
        request,
        "cluster.html.j2",
        **values,
        found=found,
        one=one,
        number=cluster,
        first=first,
        beside=BESIDE,
        members=_side_by_side(explorer, column, one["members"][first:]),
        address=lambda **changes: urlencode({"column": column, "cluster": cluster, "first": first} | changes),
    )


def _side_by_side(explorer: Explorer, column: str, members: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Members with their texts in pieces: what another of those shown has too, and what each has alone."""
    documents = explorer.read([m["place"] for m in members], COMPARED)
    texts = [d["text"] or "" for d in documents]
    ngram = _ngram(explorer.view, column)
    found = []
    for i, document in enumerate(documents):
        others = texts[:i] + texts[i + 1 :]
        beyond = (document["text_characters"] or 0) - len(texts[i])
        runs = compared(texts[i], others, ngram)
        found.append({**document, "pieces": pieces(texts[i], runs, beyond), "identical": set(texts) == {texts[0]}})
    return found


def _ngram(view: RunView, column: str) -> int:
    return next((s.ngram for s in duplicate_steps(view) if s.column("cluster") == column), NGRAM)
