"""Problems of the service as the errors that they were, and what may be wrong with reaching it."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from httpx import codes

from pipelines.client.effects import Answer
from pipelines.service.errors import GoneError, NotFoundError, TooManyError
from pipelines.service.history import ConflictError
from pipelines.service.requests import KeyReusedError
from pipelines.service.security.paths import OutsideRootsError
from pipelines.service.tokens import ForbiddenError, UnauthorizedError
from stages.errors import DataError, SpecError, StageError, StorageError, TamisError

#: Seconds to wait where a service that is asked too much does not say how long.
RETRY_SECONDS = 5


class UnreachableError(StorageError):
    """The service does not answer."""

    type = "unreachable"


class UnfinishedError(TamisError, TimeoutError):
    """A run has not ended in the time that somebody would wait; it goes on."""

    status = 504
    type = "unfinished"


class CancelledRunError(TamisError):
    """A run was cancelled."""

    status = 409
    type = "cancelled"


class CrashedRunError(TamisError):
    """The process of a run died too often."""

    type = "crashed"


_BY_TYPE: dict[str, type[TamisError]] = {
    f"{cls.type}-error": cls
    for cls in (
        *(TamisError, SpecError, DataError, StageError, StorageError),
        *(
            NotFoundError,
            GoneError,
            TooManyError,
            ConflictError,
            KeyReusedError,
            OutsideRootsError,
            UnauthorizedError,
            ForbiddenError,
        ),
    )
}
_BY_STATUS: dict[int, type[TamisError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: GoneError,
    429: TooManyError,
    502: StorageError,
    503: StorageError,
    504: StorageError,
}


def error_of(answer: Answer, asked: str) -> TamisError:
    """The error that an answer tells of; `asked` is what was asked, such as `GET /v1/runs`."""
    try:
        problem = json.loads(answer.body)
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or not isinstance(problem.get("title"), str):
        phrase = codes.get_reason_phrase(answer.status)
        title = (
            f"{asked} was answered with {answer.status} {phrase} and no reason; see whether a tamis service is there"
        )
        problem = {"type": "unknown", "status": answer.status, "title": title}
    if "retry-after" in answer.headers and answer.headers["retry-after"].isdecimal():
        problem.setdefault("retry_after", int(answer.headers["retry-after"]))
    return error_of_problem({**problem, "status": answer.status})


def error_of_problem(problem: Mapping[str, Any]) -> TamisError:
    """The error that a problem was made of; of one that is not known here, the nearest. `problem()` gives it back."""
    kind, status = str(problem.get("type")), int(problem.get("status", 500))
    cls = _BY_TYPE.get(kind)
    if cls is None or (cls.status != status and status in _BY_STATUS):
        cls = _BY_STATUS.get(status, TamisError if status >= HTTPStatus.INTERNAL_SERVER_ERROR else SpecError)
    fields = {name: value for name, value in problem.items() if name not in ("title", "type", "status")}
    own = {"type": f"{cls.type}-error", "status": cls.status}
    fields |= {name: problem[name] for name, value in own.items() if problem.get(name, value) != value}
    if cls is TooManyError:
        fields.setdefault("retry_after", RETRY_SECONDS)
    return cls(str(problem.get("title")), **fields)
