"""The whole OpenAPI description against a real server: no answer that it does not describe, and no 5xx.

Each operation is asked with what its description allows, about nothing and about a finished run, and with what it does not allow.
`TAMIS_EXAMPLES` is how many requests of each kind every operation gets.
"""

import os
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.specs.openapi import checks
from service_runs import service, spec_of, texts

EXAMPLES = int(os.environ.get("TAMIS_EXAMPLES", "4"))
CHECKS = [
    schemathesis.checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
#: What would end the run that the other operations are asked about, or make the tests ask nobody any more.
UNASKED = {("POST", "/v1/runs/{run}/cancel"), ("POST", "/v1/runs/{run}/export")}


def ask(operation: Any, session: requests.Session, mode: GenerationMode, **fixed: Any) -> None:
    """Ask an operation some times."""

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(mode, **fixed))
    def asked(case: Any) -> None:
        case.call_and_validate(session=session, checks=CHECKS, timeout=280)

    asked()


def test_no_answer_is_a_5xx_or_not_described(tmp_path: Path) -> None:
    with service(tmp_path) as served, requests.Session() as session:
        job = served.submit(spec_of(texts(tmp_path)))["id"]
        assert served.until(job)["state"] == "SUCCEEDED"
        session.trust_env = False
        session.headers["Authorization"] = f"Bearer {served.admin}"
        schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json", timeout=280)
        wrong = []
        operations = [result.ok() for result in schema.get_all_operations()]
        assert len(operations) > 25
        for operation in operations:
            name = (operation.method.upper(), operation.path)
            modes = [(GenerationMode.POSITIVE, {})]
            if "{run}" in operation.path and name not in UNASKED:
                modes.append((GenerationMode.POSITIVE, {"path_parameters": {"run": job}}))
            if list(operation.iter_parameters()) or operation.body:
                modes.append((GenerationMode.NEGATIVE, {}))
            for mode, fixed in modes:
                try:
                    ask(operation, session, mode, **fixed)
                except (AssertionError, BaseExceptionGroup) as error:
                    wrong.append(f"{name}: {error}")
        assert not wrong, "\n\n".join(wrong)
        assert served.get("/readyz").status_code == 200
        assert served.get(f"/v1/runs/{job}").json()["state"] == "SUCCEEDED"
