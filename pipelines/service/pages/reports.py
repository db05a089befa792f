"""Reports: of runs, of ablations and of scaling laws, each a page of its own in a frame that may do nothing.

A report has inline styles, so it comes from an address of its own whose policy allows those and nothing else: no script, no
network, no form, an origin that is nobody's. Only our own pages may show it in a frame.
"""

import threading
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Annotated

from fastapi import APIRouter, Request, Response
from fastapi import Path as InPath

from pipelines.service import ablations
from pipelines.service.errors import NotFoundError
from pipelines.service.pages.rendering import page
from pipelines.service.routes.answers import content
from pipelines.service.routes.outcomes import REPORT_POLICY
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from pipelines.service.service import Service

router = APIRouter(include_in_schema=False)

AblationId = Annotated[str, InPath(min_length=1, max_length=300, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
HEADERS = {
    "Content-Security-Policy": f"{REPORT_POLICY}; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
}
LADDER = "ladder.csv"
#: Samples of the runs for the intervals of a law on a page, and their seed.
RESAMPLES, SEED = 200, 0
_fitting = threading.Lock()  # of laws: each takes a core for a while


@router.get("/ablations")
def listed(request: Request, service: Served, token: Reader) -> Response:
    """The finished ablations."""
    del token
    return page(request, "ablations.html.j2", here="ablations", ablations=service.ablations())


@router.get("/ablations/{ablation}")
def ablation(request: Request, ablation: AblationId, service: Served, token: Reader) -> Response:
    """An ablation's report, and its scaling law where a ladder of sizes was trained."""
    del token
    found = ablations.result(service.store, ablation)
    name = found["ablation"]
    ladder = service.store.size(_ladder(name)) is not None
    return page(request, "ablation.html.j2", here="ablations", found=found, name=name, ladder=ladder)


@router.get("/ablations/{ablation}/report")
def ablation_report(request: Request, ablation: AblationId, service: Served, token: Reader) -> Response:
    """The report itself, for the frame."""
    del token
    return _framed(request, ablations.report(service.store, ablation, "html"))


@router.get("/ablations/{ablation}/scaling")
def scaling(request: Request, ablation: AblationId, service: Served, token: Reader) -> Response:
    """The scaling law of an ablation's ladder, for the frame."""
    del token
    return _framed(request, _law(service, ablations.result(service.store, ablation)["ablation"]))


@router.get("/runs/{run}/report")
def run(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """A run's report."""
    del token
    row = service.row(run)
    service.view(run)  # else say here that it has not finished, not in the frame
    return page(request, "run_report.html.j2", here="runs", row=row)


@router.get("/runs/{run}/report/page")
def run_report(request: Request, run: RunId, service: Served, token: Reader) -> Response:
    """The report itself, for the frame."""
    del token
    return _framed(request, service.report(run, "html"))


def _framed(request: Request, body: bytes) -> Response:
    return content(request, body, "text/html; charset=utf-8", headers=HEADERS)


def _ladder(name: str) -> str:
    return f"ablations/{name}/{LADDER}"


def _law(service: Service, name: str) -> bytes:
    """The page of a ladder's law; fitted once on this machine.

    Raises:
        NotFoundError: no ladder was trained.
        DataError: its runs cannot be fitted.
    """
    from pipelines.api import scaling_fit  # noqa: PLC0415 - scipy is for who looks at a law
    from pipelines.report.scaling import render  # noqa: PLC0415 - the same

    if service.store.size(_ladder(name)) is None:
        raise NotFoundError(f"the ablation {name} trained no ladder of sizes; train one with `tamis ablate --ladder`")
    place = service.settings.state / "laws" / f"{name}.html"
    with _fitting:
        if not place.exists():
            found = scaling_fit(service.store.local(_ladder(name)), resamples=RESAMPLES, seed=SEED)
            _whole(place, render(found))
    return place.read_bytes()


def _whole(place: Path, text: str) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with NamedTemporaryFile("w", encoding="utf-8", dir=place.parent, delete=False) as file:
        file.write(text)
    Path(file.name).replace(place)
