"""All pages, and how the application gets them."""

from fastapi import APIRouter, FastAPI

from pipelines.service.pages import assets, runs, trouble

router = APIRouter(include_in_schema=False)
for part in (assets.router, runs.router):
    router.include_router(part)


def install(app: FastAPI) -> None:
    """Give an application the pages, and pages as errors for browsers."""
    trouble.install(app)
    app.include_router(router)
