"""The list of runs, and the way there."""

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

router = APIRouter(include_in_schema=False)


@router.get("/")
def first() -> Response:
    """Go to the runs."""
    return RedirectResponse("/runs", 303)
