"""What the service tells of itself is true: logs, metrics with their dashboard, traces, health."""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest
import yaml
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from prometheus_client.parser import text_string_to_metric_families
from service_runs import ROOT, Served, service, spec_of, texts

DASHBOARD = json.loads((ROOT / "infra" / "grafana" / "tamis.json").read_text())
FUNCTIONS = {"sum", "min", "max", "rate", "increase", "topk", "histogram_quantile", "by", "label_values"}


class Collector:
    """Takes what OpenTelemetry sends, as a collector would."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        collected = self.bodies

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                collected.append(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def spans(self) -> dict[str, list[dict[str, object]]]:
        """The spans that came, by name: their attributes, parent and events."""
        found: dict[str, list[dict[str, object]]] = {}
        for body in self.bodies:
            for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
                for scope in resource.scope_spans:
                    for span in scope.spans:
                        values = {a.key: a.value.string_value or a.value.int_value for a in span.attributes}
                        told = {"trace": span.trace_id.hex(), "events": [e.name for e in span.events], **values}
                        found.setdefault(span.name, []).append(told)
        return found


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield collector
    finally:
        collector.server.shutdown()
        collector.server.server_close()
        thread.join()


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("observed")


@pytest.fixture(scope="module")
def collector():
    with collecting() as found:
        yield found


@pytest.fixture(scope="module")
def served(folder, collector):
    with service(folder, "--traces", collector.url, env={"TAMIS_LOGS": "json"}) as found:
        yield found


@pytest.fixture(scope="module")
def done(served: Served, folder: Path):
    """A job that has succeeded."""
    return served.until(served.submit(spec_of(texts(folder)))["id"])


def numbers(served: Served) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
    """Every sample of `/metrics`, by name and labels."""
    answer = served.get("/metrics")
    assert answer.status_code == 200, answer.text
    found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_metrics_need_a_token_that_may_read(served):
    assert httpx.get(f"{served.url}/metrics", trust_env=False, timeout=280).status_code == 401
    assert served.get("/metrics", served.reader).status_code == 200


def test_metrics_count_jobs_documents_and_bytes(served, done):
    found = numbers(served)
    assert found["tamis_jobs"][("state", "SUCCEEDED"),] == 1
    assert found["tamis_jobs"][("state", "RUNNING"),] == 0
    assert found["tamis_jobs_ended_total"][("state", "SUCCEEDED"),] == 1
    assert found["tamis_documents_total"][()] == done["total"]["documents_in"] == 40
    assert found["tamis_documents_exported_total"][()] == done["total"]["exported"]
    assert found["tamis_bytes_total"][()] == done["total"]["bytes_in"]
    assert found["tamis_driver_restarts_total"][()] == 0
    assert found["tamis_queue_age_seconds"][()] == 0
    assert found["tamis_ready"][()] == 1
    assert found["tamis_database_seconds_count"][("kind", "read"),] > 0
    assert found["tamis_store_seconds_count"][("call", "create"),] > 0


def test_metrics_have_as_many_lines_as_there_are_routes(served, done):
    before = numbers(served)["tamis_requests_total"]
    for i in range(5):
        assert served.get(f"/v1/runs/nobody-{i}").status_code == 404
        assert served.get(f"/nowhere/{i}").status_code == 404
    with served.client() as client:
        for method in ("BREW", "PROPFIND", "WHEN"):
            assert client.request(method, "/v1/runs").status_code in (400, 405)
    after = numbers(served)["tamis_requests_total"]
    new = {labels: after[labels] - before.get(labels, 0) for labels in after}
    assert new[("method", "GET"), ("route", "/v1/runs/{run}"), ("status", "404")] == 5
    assert new[("method", "GET"), ("route", "other"), ("status", "404")] == 5
    assert {dict(labels)["method"] for labels in after} <= {"GET", "POST", "other"}
    assert not [labels for labels in after if "nobody" in str(labels) or "nowhere" in str(labels)]


def test_every_query_of_the_dashboard_names_a_metric_that_is_there(served, done):
    there = set(numbers(served))
    queries = [t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]]
    queries += [v["query"] for v in DASHBOARD["templating"]["list"] if v["type"] == "query"]
    assert len(queries) > 15
    for query in queries:
        plain = re.sub(r'"[^"]*"|\[[^]]*\]|\{[^}]*\}|by \([^)]*\)', "", query)
        names = set(re.findall(r"[a-z_]{3,}", plain)) - FUNCTIONS - {"job"}
        assert names, query
        assert names <= there, (query, names - there)
    used = {name for query in queries for name in re.findall(r"tamis_[a-z_]+", query)}
    ours = {
        n.removesuffix("_bucket")
        for n in there
        if n.startswith("tamis_") and not n.endswith(("_created", "_sum", "_count"))
    }
    assert ours == {name.removesuffix("_bucket") for name in used}, "a number that nobody looks at"


def test_prometheus_is_told_how_to_ask():
    example = yaml.safe_load((ROOT / "infra" / "grafana" / "prometheus.yml").read_text())
    [job] = example["scrape_configs"]
    assert "credentials_file" in job["authorization"]


def test_every_line_of_the_log_is_json_with_the_request_that_it_is_about(served, done):
    answer = served.get(f"/v1/runs/{done['id']}", headers={"X-Request-Id": "asked-by-a-test"})
    assert answer.headers["x-request-id"] == "asked-by-a-test"
    assert len(served.get("/healthz", headers={"X-Request-Id": "bad\tid"}).headers["x-request-id"]) == 16
    lines = [json.loads(line) for line in served.log.lines]
    [line] = [found for found in lines if found.get("request") == "asked-by-a-test"]
    told = {name: line[name] for name in ("event", "method", "route", "status", "run", "level")}
    assert told == {
        "event": "answered",
        "method": "GET",
        "route": "/v1/runs/{run}",
        "status": 200,
        "run": done["id"],
        "level": "info",
    }
    assert line["token"] == served.admin.split("_")[1]
    assert not [found for found in lines if found.get("route") in ("/healthz", "/metrics")]


def test_a_driver_logs_its_job_run_step_and_shard(served, done):
    lines = [json.loads(line) for line in served.get(f"/v1/runs/{done['id']}/log").text.splitlines()]
    assert {line["job"] for line in lines} == {done["id"]}
    progress = [line for line in lines if line["event"] == "progress"]
    assert progress
    assert {"step", "shard", "shards", "attempt", "run"} <= set(progress[-1])
    assert lines[-1]["state"] == "SUCCEEDED"
    assert lines[-1]["run"] == done["run"]


def test_readiness_tells_the_truth_about_the_store(served, folder, done):
    store, away = folder / "store", folder / "away"
    live = httpx.Client(base_url=served.url, trust_env=False, timeout=280)
    with live:
        store.rename(away)
        try:
            answer = live.get("/readyz")
            assert (answer.status_code, answer.json()["type"]) == (503, "not-ready")
            assert int(answer.headers["retry-after"]) > 0
            assert live.get("/healthz").status_code == 200, "the process is alive: restarting it would help nobody"
        finally:
            away.rename(store)
        while live.get("/readyz").status_code != 200:
            assert served.process.poll() is None
    assert served.get(f"/v1/runs/{done['id']}").status_code == 200


def test_traces_tell_of_requests_and_jobs(served, done, collector):
    trace = "0af7651916cd43dd8448eb211c80319c"
    parent = {"traceparent": f"00-{trace}-b7ad6b7169203331-01"}
    assert served.get(f"/v1/runs/{done['id']}", headers=parent).status_code == 200
    served.stop()  # what was not sent yet is sent at the end
    spans = collector.spans()
    [asked] = [span for span in spans["GET /v1/runs/{run}"] if span["trace"] == trace]
    assert asked["http.response.status_code"] == 200
    [job] = [span for span in spans["job"] if span["tamis.job"] == done["id"]]
    assert (job["tamis.state"], job["tamis.attempts"]) == ("SUCCEEDED", 1)
    assert job["events"].count("state") == 4
