"""The error tree: one leaf for each person who can act on it.

    TamisError                      everything raised on purpose
      + SpecError     422 / exit 2  the request is wrong; nothing has run (the caller)
      + DataError     409 / exit 3  an input or shard breaks the document contract (the data's owner)
      + StageError    500 / exit 4  a stage failed on real data (the stage's author)
      + StorageError  503 / exit 5  an artifact is missing or half-written; retrying may help (the operator)

A message is one sentence for people: what, where, why, what to do. Fields are for machines.
"""

from typing import Any, ClassVar


class TamisError(Exception):
    """Everything that tamis raises on purpose."""

    exit_code: ClassVar[int] = 1
    status: ClassVar[int] = 500
    type: ClassVar[str] = "error"

    def __init__(self, message: str, **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.fields = fields

    def __reduce__(self) -> tuple[Any, ...]:
        """Keep the fields when the error crosses a process boundary."""
        return _rebuild, (type(self), self.message, self.fields)

    def problem(self) -> dict[str, Any]:
        """The error as an RFC 9457 problem object."""
        return {"type": f"{self.type}-error", "status": self.status, "title": self.message, **self.fields}


def _rebuild(cls: type[TamisError], message: str, fields: dict[str, Any]) -> TamisError:
    return cls(message, **fields)


class SpecError(TamisError):
    """The request is wrong; nothing has run."""

    exit_code = 2
    status = 422
    type = "spec"


class DataError(TamisError):
    """An input or a shard breaks the document contract."""

    exit_code = 3
    status = 409
    type = "data"


class StageError(TamisError):
    """A stage failed on real data; the fields name step, shard and row."""

    exit_code = 4
    status = 500
    type = "stage"


class StorageError(TamisError):
    """An artifact is missing or half-written; retrying may help."""

    exit_code = 5
    status = 503
    type = "storage"
