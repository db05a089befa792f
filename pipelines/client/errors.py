"""Problems of the service as the errors that they were, and what may be wrong with reaching it."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from httpx import codes

from pipelines.client.effects import Answer
from pipelines.service.errors import Gone, NotFound, TooMany
from pipelines.service.history import Conflict
from pipelines.service.requests import SameKeyOtherBody
from pipelines.service.security.paths import Outside
from pipelines.service.tokens import Forbidden, Unauthorized
from stages.errors import DataError, SpecError, StageError, StorageError, TamisError

#: Seconds to wait where a service that is asked too much does not say how long.
RETRY_SECONDS = 5


class Unreachable(StorageError):  # noqa: N818 - named like what it says
    """The service does not answer."""

    type = "unreachable"


class Unfinished(TamisError, TimeoutError):  # noqa: N818 - named like what it says
    """A run has not ended in the time that somebody would wait; it goes on."""

    status = 504
    type = "unfinished"


class Cancelled(TamisError):  # noqa: N818 - named like what it says
    """A run was cancelled."""

    status = 409
    type = "cancelled"


class Crashed(TamisError):  # noqa: N818 - named like what it says
    """The process of a run died too often."""

    type = "crashed"


_BY_TYPE: dict[str, type[TamisError]] = {
    f"{cls.type}-error": cls
    for cls in (
        *(TamisError, SpecError, DataError, StageError, StorageError),
        *(NotFound, Gone, TooMany, Conflict, SameKeyOtherBody, Outside, Unauthorized, Forbidden),
    )
}
_BY_STATUS: dict[int, type[TamisError]] = {
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
    429: TooMany,
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
    if cls is TooMany:
        fields.setdefault("retry_after", RETRY_SECONDS)
    return cls(str(problem.get("title")), **fields)
