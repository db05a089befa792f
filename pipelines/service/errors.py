"""What may be wrong with a call of the service, beside what is wrong with specs and data."""

from typing import Any

from stages.errors import SpecError, StorageError, TamisError


class NotFoundError(SpecError):
    """There is nothing of that name."""

    status = 404
    type = "not-found"


class GoneError(SpecError):
    """There was something, and retention took it away."""

    status = 410
    type = "gone"


class TooManyError(TamisError):
    """Who asks has asked for too much at once; `retry_after` (seconds) is among the fields."""

    status = 429
    type = "quota"

    def __init__(self, message: str, *, retry_after: int, **fields: Any) -> None:
        super().__init__(message, retry_after=retry_after, **fields)


class PreparingError(StorageError):
    """What is asked for is on its way; `retry_after` (seconds) and `part` (of it done) are among the fields."""

    type = "preparing"


class NoSuchPartError(SpecError):
    """A part of a file that it does not have."""

    status = 416
    type = "range"
