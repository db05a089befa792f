"""All pages, and how the application gets them."""

from fastapi import APIRouter, FastAPI

from pipelines.service.pages import artifacts, assets, editing, finished, run, runs, trouble
from pipelines.service.pages.flow import Flows

router = APIRouter(include_in_schema=False)
for part in (assets.router, runs.router, run.router, editing.router, artifacts.router, finished.router):
    router.include_router(part)


def install(app: FastAPI) -> None:
    """Give an application the pages, and pages as errors for browsers."""
    trouble.install(app)
    app.state.flows = Flows()
    app.include_router(router)
