"""The HTTP application over a service: routes, errors as problems, and the service's life with the server's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import Depends, FastAPI
from fastapi.concurrency import run_in_threadpool

from pipelines.service import problems
from pipelines.service.pages import router as pages
from pipelines.service.routes import (
    ablations,
    audit,
    documents,
    events,
    health,
    labels,
    metrics,
    outcomes,
    runs,
    session,
    specs,
)
from pipelines.service.routes.parameters import once
from pipelines.service.service import Service
from pipelines.service.surroundings import surround

ROUTERS = (
    health.router,
    metrics.router,
    audit.router,
    session.router,
    events.router,
    documents.router,
    outcomes.router,
    outcomes.exports,
    runs.router,
    specs.router,
    labels.router,
    ablations.router,
)


def create_app(service: Service, *, reindex: bool = False) -> FastAPI:
    """The application; it starts the service with itself (`reindex`: making the database anew) and closes it."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        service.hub.bind(asyncio.get_running_loop())
        await run_in_threadpool(lambda: service.start(again=reindex))
        try:
            yield
        finally:
            await run_in_threadpool(service.close)
            await run_in_threadpool(app.state.end)

    app = FastAPI(
        title="tamis",
        version=version("tamis"),
        description="Curates pretraining corpora for language models: submit specs, watch them, look inside.",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
    )
    app.state.service = service
    problems.install(app)
    surround(app, service)
    for router in ROUTERS:
        app.include_router(router, dependencies=[Depends(once)])
    pages.install(app)
    _describe_problems(app)
    return app


def _describe_problems(app: FastAPI) -> None:
    """Put the schema of problems into OpenAPI: every route refers to it."""
    plain = app.openapi

    def described() -> dict[str, object]:
        found = plain()
        schema = problems.Problem.model_json_schema(ref_template="#/components/schemas/{model}")
        found.setdefault("components", {}).setdefault("schemas", {})["Problem"] = schema
        return found

    app.openapi = described  # type: ignore[method-assign]
