"""Traces for OpenTelemetry, where `tamis serve --traces URL` says where to send them: a span for each request and each job.

A request that brings `traceparent` goes on in its caller's trace. A job's span begins when it was submitted and ends with it; what
happened to it are its events. OpenTelemetry is optional and imported only here.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import Scope

from pipelines.service.history import PROGRESS, STATE, Event, History
from pipelines.service.states import ENDED, State
from pipelines.store import Store
from stages.errors import SpecError, StorageError

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span, Tracer

NANOSECONDS = 1e9
_BROKEN = 500


class Traces:
    """Sends spans to an endpoint that takes OTLP over HTTP.

    Raises:
        SpecError: it is no address, or OpenTelemetry is not installed.
    """

    def __init__(self, endpoint: str, store: Store) -> None:
        self._store = store
        self._provider = _provider(endpoint)
        self._tracer: Tracer = self._provider.get_tracer("tamis", version("tamis"))

    def span(self, scope: Scope) -> AbstractContextManager[Callable[[str, int], None]]:
        """A span for a request; what it gives is told the route and the status."""
        return self._request(scope)

    def heard(self, job: str, event: Event) -> None:
        """Send a job's span when it has ended."""
        if event.type == STATE and State(event.data["state"]) in ENDED:
            try:
                events = History(self._store, job).refresh()
            except StorageError:  # a trace is worth no trouble; the supervisor meets the same
                return
            self._job(job, [e for e in events if e.number <= event.number])

    def close(self) -> None:
        """Send what was not sent yet."""
        self._provider.shutdown()

    @contextmanager
    def _request(self, scope: Scope) -> Iterator[Callable[[str, int], None]]:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - optional
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator  # noqa: PLC0415 - optional

        caller = TraceContextTextMapPropagator().extract(dict(Headers(scope=scope).items()))
        about = {"http.request.method": scope["method"], "tamis.request": scope["state"]["request_id"]}
        name = f"{scope['method']} request"
        with self._tracer.start_as_current_span(name, caller, SpanKind.SERVER, attributes=about) as span:
            yield lambda route, status: _told(span, scope["method"], route, status)

    def _job(self, job: str, events: list[Event]) -> None:
        first, last = events[0], events[-1]
        about: dict[str, str | int] = {
            "tamis.job": job,
            "tamis.state": str(last.data["state"]),
            "tamis.attempts": last.attempt,
        }
        span = self._tracer.start_span("job", attributes=about, start_time=_ns(first.at))
        for event in events:
            if event.type != PROGRESS:
                said: dict[str, str | int] = {
                    k: str(v)[:1000] for k, v in event.data.items() if k in {"state", "run", "note"}
                }
                span.add_event(event.type, {**said, "attempt": event.attempt}, timestamp=_ns(event.at))
        if last.data["state"] == State.FAILED:
            _fail(span, str((last.data.get("error") or {}).get("title", "")))
        span.end(_ns(last.at))


def _told(span: "Span", method: str, route: str, status: int) -> None:
    span.update_name(f"{method} {route}")
    span.set_attributes({"http.route": route, "http.response.status_code": status})
    if status >= _BROKEN:
        _fail(span, "")


def _fail(span: "Span", why: str) -> None:
    from opentelemetry.trace import Status, StatusCode  # noqa: PLC0415 - optional

    span.set_status(Status(StatusCode.ERROR, why))


def _ns(at: float) -> int:
    return int(at * NANOSECONDS)


def _provider(endpoint: str) -> "TracerProvider":
    address = urlsplit(endpoint)
    if address.scheme not in {"http", "https"} or not address.hostname:
        raise SpecError(
            f"{endpoint!r} is no address for traces; write http://HOST:4318, where a collector takes OTLP over HTTP"
        )
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - optional
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - optional
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - optional
    except ImportError as error:
        raise SpecError(f"traces need OpenTelemetry ({error}); say: pip install 'tamis[traces]'") from error
    where = endpoint if address.path.strip("/") else endpoint.rstrip("/") + "/v1/traces"
    provider = TracerProvider(resource=Resource.create({"service.name": "tamis", "service.version": version("tamis")}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=where)))
    return provider
