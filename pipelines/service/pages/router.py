"""All pages, and how the application gets them."""

from fastapi import APIRouter, FastAPI

from pipelines.service.pages import (
    assets,
    clusters,
    comparing,
    document,
    documents,
    forking,
    labelling,
    reports,
    runs,
    thresholds,
    trouble,
)

router = APIRouter(include_in_schema=False)
for part in (
    assets.router,
    runs.router,
    documents.router,
    document.router,
    thresholds.router,
    forking.router,
    clusters.router,
    comparing.router,
    labelling.router,
    reports.router,
):
    router.include_router(part)


def install(app: FastAPI) -> None:
    """Give an application the pages, and pages as errors for browsers."""
    trouble.install(app)
    app.include_router(router)
