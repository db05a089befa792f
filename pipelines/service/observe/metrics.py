"""Numbers for Prometheus, in `/metrics`.

What happens is counted as it happens, from when this process began; what stands somewhere (jobs by state, the age of the queue) is
read from the database when somebody asks. Labels are routes, methods, states and kinds of call: none grows with use.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from pipelines.service.database.tables import RunRow
from pipelines.service.history import PROGRESS, STATE, Event
from pipelines.service.observe.latency import watch_database, watch_store
from pipelines.service.security.audit import Audit
from pipelines.service.security.failures import Failures
from pipelines.service.service import Service
from pipelines.service.states import ENDED, State
from stages.errors import StorageError

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)
QUICK = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)
#: Jobs whose last counted event is remembered: an event may be heard twice.
REMEMBERED = 4_096
_STATES = tuple(str(s) for s in State)


class Metrics:
    """The numbers of one service."""

    def __init__(self, service: Service, failures: Failures, audit: Audit) -> None:
        own = self.registry = CollectorRegistry()
        self._requests = Counter("tamis_requests", "Answers.", ("method", "route", "status"), registry=own)
        self._seconds = Histogram(
            "tamis_request_seconds", "Seconds until an answer began.", ("route",), buckets=SECONDS, registry=own
        )
        self._ended = Counter("tamis_jobs_ended", "Jobs that ended.", ("state",), registry=own)
        self._restarts = Counter("tamis_driver_restarts", "Drivers that crashed and were to start again.", registry=own)
        self._documents = Counter("tamis_documents", "Documents that finished jobs read.", registry=own)
        self._exported = Counter("tamis_documents_exported", "Documents that finished jobs exported.", registry=own)
        self._bytes = Counter("tamis_bytes", "Bytes of text that finished jobs read.", registry=own)
        self._told = Counter("tamis_progress_events", "Times that drivers told of progress.", registry=own)
        database = Histogram(
            "tamis_database_seconds", "Seconds of a statement.", ("kind",), buckets=QUICK, registry=own
        )
        store = Histogram(
            "tamis_store_seconds", "Seconds of a call of the store.", ("call",), buckets=QUICK, registry=own
        )
        for state in ENDED:
            self._ended.labels(str(state))
        self._lock = threading.Lock()
        self._heard: OrderedDict[str, int] = OrderedDict()
        own.register(_Standing(service, failures, audit))
        ProcessCollector(registry=own)
        PlatformCollector(registry=own)
        watch_database(service.database.engine, lambda kind, seconds: database.labels(kind).observe(seconds))
        watch_store(service.store, lambda call, seconds: store.labels(call).observe(seconds))

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answer."""
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def heard(self, job: str, event: Event) -> None:
        """Count what happened to a job. An event that was heard before counts no more."""
        with self._lock:
            if event.number <= self._heard.get(job, 0):
                return
            self._heard[job] = event.number
            self._heard.move_to_end(job)
            if len(self._heard) > REMEMBERED:
                self._heard.popitem(last=False)
        if event.type == PROGRESS:
            self._told.inc()
        elif event.type == STATE:
            self._moved(event)

    def text(self) -> bytes:
        """All numbers, as Prometheus reads them."""
        return generate_latest(self.registry)

    def _moved(self, event: Event) -> None:
        state = State(event.data["state"])
        if state in ENDED:
            self._ended.labels(str(state)).inc()
        if state is State.CRASHED:
            self._restarts.inc()
        total = event.data.get("total") if state is State.SUCCEEDED else None
        if total:
            self._documents.inc(total["documents_in"])
            self._exported.inc(total["exported"])
            self._bytes.inc(total["bytes_in"])


class _Standing(Collector):
    """What stands somewhere at the moment."""

    def __init__(self, service: Service, failures: Failures, audit: Audit) -> None:
        self._service, self._failures, self._audit = service, failures, audit

    def collect(self) -> Iterable[Metric]:
        """The numbers; without those of the database where it does not answer, and then `tamis_ready` is 0."""
        ready = self._service.problem() is None
        yield GaugeMetricFamily("tamis_ready", "1 where /readyz says so, else 0.", value=float(ready))
        yield GaugeMetricFamily(
            "tamis_listeners", "Streams of events that are open.", value=self._service.hub.listening
        )
        yield CounterMetricFamily("tamis_wrong_tokens", "Tokens that were refused.", value=self._failures.total)
        left_out = self._audit.left_out
        yield CounterMetricFamily("tamis_audit_left_out", "Calls that the audit log had no room for.", value=left_out)
        try:
            yield from self._jobs()
        except StorageError:  # `tamis_ready` says it
            return

    def _jobs(self) -> Iterable[Metric]:
        with self._service.database.reading() as session:
            counts = select(RunRow.state, func.count()).where(RunRow.managed).group_by(RunRow.state)
            found = {str(state): count for state, count in session.execute(counts)}
            queued = select(func.min(RunRow.updated)).where(RunRow.managed, RunRow.state == str(State.QUEUED))
            oldest = session.scalar(queued)
        jobs = GaugeMetricFamily("tamis_jobs", "Jobs by state.", labels=("state",))
        for state in _STATES:
            jobs.add_metric([state], found.get(state, 0))
        yield jobs
        age = 0.0 if oldest is None else max(0.0, time.time() - oldest)
        yield GaugeMetricFamily("tamis_queue_age_seconds", "Seconds that the oldest queued job has waited.", value=age)
