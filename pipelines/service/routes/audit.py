"""`/v1/audit`: who changed what, and who was refused."""

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from pipelines.service.problems import declared
from pipelines.service.routes.answers import tagged
from pipelines.service.routes.models import Told
from pipelines.service.security.authentication import Admin

if TYPE_CHECKING:
    from pipelines.service.security.audit import Audit

router = APIRouter(prefix="/v1", tags=["audit"])


class Entry(Told):
    """One call. `who` is the id of its token, null where nobody known asked; `left_out` entries before it were too many to keep."""

    id: str
    at: float
    who: str | None
    name: str | None
    scope: str | None
    kind: str | None
    client: str | None
    method: str
    path: str
    status: int
    outcome: Literal["done", "refused", "failed"]
    request: str | None
    left_out: int


class Entries(Told):
    """A page of the audit log, newest first."""

    entries: list[Entry]
    next: str | None


@router.get("/audit", response_model=Entries, responses=declared(304))
def entries(
    request: Request,
    token: Admin,
    after: Annotated[str | None, Query(max_length=100, description="The `next` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> Response:
    """List who changed what and who was refused, newest first. Needs the scope admin."""
    del token
    audit: Audit = request.app.state.audit
    found, following = audit.page(after, limit)
    return tagged(request, {"entries": found, "next": following})
