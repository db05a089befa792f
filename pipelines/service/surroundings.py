"""What stands around the application: layers that see every request before it and every answer after it, the 500s too.

From the outside in: logs, metrics and traces; headers; the audit log; the Host; the Origin; the size. All are plain ASGI, so a
stream of events flows through them as it comes.
"""

from fastapi import FastAPI
from starlette.types import ASGIApp

from pipelines.service.observe.metrics import Metrics
from pipelines.service.observe.requests import Observed
from pipelines.service.observe.traces import Traces
from pipelines.service.security.audit import Audit, Audited
from pipelines.service.security.authentication import COOKIE
from pipelines.service.security.failures import Failures
from pipelines.service.security.headers import SecurityHeaders
from pipelines.service.security.hosts import KnownHosts
from pipelines.service.security.origins import OwnOrigin
from pipelines.service.security.sizes import Limited
from pipelines.service.service import Service


def surround(app: FastAPI, service: Service) -> None:
    """Put the layers around an application; `app.state.end` is to be called when it ends.

    Raises:
        SpecError: traces are to be sent where they cannot be.
    """
    settings, state = service.settings, app.state
    state.failures, state.audit = Failures(), Audit(service.store)
    state.metrics = Metrics(service, state.failures, state.audit)
    traces = Traces(settings.traces, service.store) if settings.traces else None
    service.hub.hearing.append(state.metrics.heard)
    state.end = lambda: None
    if traces is not None:
        service.hub.hearing.append(traces.heard)
        state.end = traces.close  # at the end of the lifespan: the signal that ends the server ends the process too
    inside = app.build_middleware_stack

    def stack() -> ASGIApp:
        app_: ASGIApp = Limited(inside(), settings.request_bytes)
        app_ = KnownHosts(OwnOrigin(app_, COOKIE), settings.allowed_hosts)
        app_ = SecurityHeaders(Audited(app_, state.audit, COOKIE), COOKIE)
        return Observed(app_, state.metrics, None if traces is None else traces.span)

    app.build_middleware_stack = stack  # type: ignore[method-assign]  # Starlette's own errors are outside of `add_middleware`
