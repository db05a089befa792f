"""The spec editor: write, see what is wrong and where, try it on the first documents, submit."""

import functools
import hashlib
import secrets
from http import HTTPStatus
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BaseModel, ConfigDict, Field

from pipelines.rule_files import shipped
from pipelines.service.pages.forms import FromHere
from pipelines.service.pages.rendering import page
from pipelines.service.pages.trouble import is_part
from pipelines.service.pages.written import around, as_yaml, line_of, read_spec
from pipelines.service.routes.models import MAX_PRIORITY, MAX_WORKERS
from pipelines.service.security.authentication import Reader, Served
from pipelines.service.service import Service
from pipelines.service.tokens import ForbiddenError, Scope, Token, UnauthorizedError
from pipelines.stage_table import stage_table
from stages.errors import TamisError

router = APIRouter(include_in_schema=False)

DOCUMENTS = 200
LONGEST = 1 << 20
EXAMPLE = """\
name: my-corpus
source: {kind: jsonl, path: "raw/*.jsonl.gz"}
measure:
  clean: {kind: normalize}
  lang:  {kind: language}
  stats: {kind: text_stats}
keep:
  - {rules: gopher-quality@datatrove-0.10}
  - {column: stats.words, ge: 50, on_null: drop, reason: short}
write: {kind: parquet}
"""


class Asked(BaseModel):
    """The editor's form. `nonce` is the page's: pressing Submit twice makes one job."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    spec: str = Field(default="", max_length=LONGEST)
    action: Literal["edit", "validate", "preview", "submit"] = "submit"
    priority: int = Field(default=0, ge=-MAX_PRIORITY, le=MAX_PRIORITY)
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] | Literal[""] = ""
    engine: Literal["auto", "local", "ray"] = "auto"
    forked_from: str = Field(default="", max_length=160)
    nonce: str = Field(default="", max_length=80)

    def options(self) -> dict[str, Any]:
        """What `Service.submit` takes beside the spec."""
        return {
            "priority": self.priority,
            "workers": self.workers or None,
            "engine": self.engine,
            "forked_from": self.forked_from or None,
        }

    def key(self) -> str | None:
        """The same for the same request of the same page."""
        said = f"{self.nonce}\0{self.spec}\0{self.options()}".encode("utf-8", "surrogatepass")
        return hashlib.sha256(said).hexdigest() if self.nonce else None


@router.get("/new")
def new(
    request: Request, service: Served, token: Reader, fork: Annotated[str, Query(alias="from", max_length=160)] = ""
) -> Response:
    """The editor with an example, or with the spec of a run to fork."""
    if not fork:
        return _editor(request, service, token, Asked(spec=EXAMPLE))
    row = service.row(fork)
    return _editor(request, service, token, Asked(spec=as_yaml(service.reading.spec(row.id)), forked_from=row.id))


@router.post("/new", dependencies=[FromHere])
def edited(request: Request, service: Served, token: Reader, asked: Annotated[Asked, Form()]) -> Response:
    """Do what a button says. Where something is wrong, the editor comes back with the text as it was."""
    try:
        spec = {} if asked.action == "edit" else read_spec(asked.spec)
        if asked.action == "submit":
            row, _ = service.submit(token, spec, key=asked.key(), **asked.options())
            return RedirectResponse(f"/runs/{row.id}", 303)
        shown = _tried(service, token, asked, spec)
    except (UnauthorizedError, ForbiddenError):
        raise
    except TamisError as error:
        shown = {"problem": _placed(error.problem(), asked.spec)}
    if is_part(request):
        return page(request, "part_tried.html.j2", here="new", **_blank(shown))
    status = shown["problem"]["status"] if shown.get("problem") else HTTPStatus.OK
    return _editor(request, service, token, asked, status, **shown)


def _tried(service: Service, token: Token, asked: Asked, spec: dict[str, Any]) -> dict[str, Any]:
    if asked.action == "edit":
        return {}
    if asked.action == "preview":
        token.require(Scope.submit)  # it computes
        return {"preview": service.preview(spec, DOCUMENTS)}
    checked = service.validate(spec)
    if checked["problem"] is not None:
        return {"problem": _placed(checked["problem"], asked.spec)}
    return {"plan": checked["plan"]}


def _placed(problem: dict[str, Any], text: str) -> dict[str, Any]:
    """A problem with the line that it is about, where that can be told."""
    line = line_of(text, problem)
    return {**problem, "line": line, "lines": [] if line is None else around(text, line)}


def _blank(shown: dict[str, Any]) -> dict[str, Any]:
    return {"problem": None, "plan": None, "preview": None, **shown}


def _editor(
    request: Request, service: Service, token: Token, asked: Asked, status: int = 200, **shown: Any
) -> Response:
    return page(
        request,
        "new.html.j2",
        status=status,
        here="new",
        asked=asked,
        nonce=secrets.token_urlsafe(16),
        may=token.allows(Scope.submit),
        stages=catalogue(),
        rule_files=sorted(shipped()),
        roots=service.settings.roots,
        folder=str(service.trying.folder),
        documents=DOCUMENTS,
        limits=(MAX_PRIORITY, MAX_WORKERS),
        **_blank(shown),
    )


@functools.cache
def catalogue() -> dict[str, list[dict[str, Any]]]:
    """Every stage by role, as hints show it. Loading them takes a moment, once."""
    found: dict[str, list[dict[str, Any]]] = {}
    for line in sorted(stage_table(), key=lambda line: line["kind"]):
        found.setdefault(line["role"], []).append(line)
    return found
