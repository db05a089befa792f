"""Jobs as they were asked for. Each is one file, created once; its name is what makes a repeated request the same job.

service/jobs/{job}/request.json
"""

import hashlib
import json
import secrets
import time
from base64 import b32encode
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipelines.store import Store
from stages.errors import SpecError, StorageError

_FOLDER = "service/jobs/"


class KeyReusedError(SpecError):
    """An Idempotency-Key came again with another request."""

    type = "idempotency"


@dataclass(frozen=True, slots=True)
class Request:
    """What somebody asked for. `spec` is JSON text, because the order of its steps counts."""

    job: str
    name: str
    spec: str
    token: str  # the id of the token that asked
    created: float
    body: str  # digest of what was asked
    folder: str  # relative paths of the spec are below it
    priority: int = 0  # higher goes first
    workers: int | None = None
    engine: str = "auto"
    forked_from: str | None = None

    @property
    def path(self) -> str:
        """Where it is in the store."""
        return f"{_FOLDER}{self.job}/request.json"

    def spec_data(self) -> dict[str, Any]:
        """The spec, in the order in which it was written."""
        found: dict[str, Any] = json.loads(self.spec)
        return found


def new_id(token: str, key: str | None) -> str:
    """The id of a new job: at random, or always the same for a token's Idempotency-Key. 20 letters and digits."""
    seed = secrets.token_bytes(16) if key is None else hashlib.sha256(f"{token}\0{key}".encode()).digest()
    return b32encode(hashlib.blake2b(seed, digest_size=12).digest()).decode().lower().rstrip("=")


def body_of(spec: Mapping[str, Any], **options: Any) -> tuple[str, str]:
    """The spec as JSON text, and a digest of it and of the options.

    Raises:
        SpecError: it holds what JSON has no word for.
    """
    try:
        text = json.dumps(spec, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        raise SpecError("the spec holds NaN or an infinity; write a number, or leave the field out") from error
    return text, hashlib.sha256(json.dumps([text, options], sort_keys=True).encode()).hexdigest()


def accept(store: Store, request: Request) -> tuple[Request, bool]:
    """Keep a request; gives the one that is there, and whether it is new.

    Raises:
        KeyReusedError: the same key came before with another request.
    """
    value = asdict(request)
    if store.create_json(request.path, value):
        return request, True
    there = find(store, request.job)
    assert there is not None
    if there.body != request.body:
        raise KeyReusedError(
            f"the Idempotency-Key was used for another request, the job {there.job}; use a new key for a new request",
            job=there.job,
        )
    return there, False


def find(store: Store, job: str) -> Request | None:
    """The request of a job, or None."""
    value = store.find_json(f"{_FOLDER}{job}/request.json") if job.isalnum() else None
    if value is None:
        return None
    try:
        return Request(**value)
    except TypeError as error:
        path = f"{_FOLDER}{job}/request.json"
        raise StorageError(f"{path} in the store {store.url} is not a job's request; delete it", path=path) from error


def every(store: Store) -> Iterator[Request]:
    """Every request that a store holds."""
    for path in store.list(_FOLDER):
        parts = path.split("/")
        if parts[-1] == "request.json" and (request := find(store, parts[2])) is not None:
            yield request


def now() -> float:
    """The time, as requests have it."""
    return round(time.time(), 3)
