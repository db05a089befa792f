"""Accepting jobs: who may, what is wrong with it, whether it came before, and how it is kept."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import func, select

from pipelines.engine import cores
from pipelines.run import freeze_all
from pipelines.service import requests
from pipelines.service.database.engine import Database
from pipelines.service.database.tables import RunRow
from pipelines.service.errors import GoneError, TooManyError
from pipelines.service.finding import accepted
from pipelines.service.folders import RETIRED
from pipelines.service.requests import Request
from pipelines.service.settings import Settings
from pipelines.service.states import State
from pipelines.service.tokens import Token
from pipelines.service.trying import Trying
from pipelines.spec import Spec
from pipelines.store import Store
from stages.errors import SpecError

#: Seconds after which somebody whose queue is full may try again.
RETRY_SECONDS = 10


class TooLargeError(SpecError):
    """A job reads more than its token may."""

    type = "quota"


@dataclass(frozen=True, slots=True)
class Submission:
    """What somebody asks for; `key` is the Idempotency-Key."""

    spec: Mapping[str, Any]
    key: str | None = None
    priority: int = 0
    workers: int | None = None
    engine: str = "auto"
    forked_from: str | None = None


class Submitting:
    """Accepts jobs, one at a time: what a token may have queued is counted and kept in one go."""

    def __init__(
        self, store: Store, database: Database, settings: Settings, trying: Trying, retiring: threading.Lock
    ) -> None:
        self._store, self._database, self._settings, self._trying = store, database, settings, trying
        self._lock, self._retiring = threading.Lock(), retiring

    def submit(self, token: Token, asked: Submission) -> tuple[str, bool]:
        """Accept a job; gives its id, and whether it is new. See `Service.submit`."""
        request = self._request(token, asked)
        self._not_retired(request.job)
        if requests.find(self._store, request.job) is None:
            spec = self._trying.checked(asked.spec)  # before the lock: this is what takes long
            request = replace(request, name=spec.name)
            self._within_bytes(token, spec)
            request = replace(request, workers=self._within_workers(token, request.workers))
        with self._lock, self._retiring:
            self._not_retired(request.job)  # what was put away meanwhile would look like a job without a history
            if requests.find(self._store, request.job) is None:
                self._within_queue(token)
            _, created = requests.accept(self._store, request)
            accepted(self._store, self._database, request.job)
        return request.job, created

    def _not_retired(self, job: str) -> None:
        if self._store.size(f"{RETIRED}/{job}.json") is not None:
            raise GoneError(
                f"the job {job} of this Idempotency-Key ended long ago, and retention put it away; use a new key"
            )

    def _request(self, token: Token, asked: Submission) -> Request:
        options = {name: getattr(asked, name) for name in ("priority", "workers", "engine", "forked_from")}
        text, digest = requests.body_of(asked.spec, **options)
        return Request(
            job=requests.new_id(token.id, asked.key),
            name="",
            spec=text,
            token=token.id,
            created=requests.now(),
            body=digest,
            folder=str(self._trying.folder),
            **options,
        )

    def _within_queue(self, token: Token) -> None:
        most = token.quota.or_else(self._settings.quota).queued
        if most is None:
            return
        mine = (RunRow.token == token.id, RunRow.state == str(State.QUEUED))
        with self._database.reading() as session:
            queued = session.scalar(select(func.count()).select_from(RunRow).where(*mine)) or 0
        if queued >= most:
            raise TooManyError(
                f"the token {token.id} has {queued} jobs queued and may have {most}; wait until one has started, or cancel one",
                retry_after=RETRY_SECONDS,
                queued=queued,
                limit=most,
            )

    def _within_workers(self, token: Token, asked: int | None) -> int | None:
        """How many workers a job has: as many as its token may have where it would take more unasked."""
        most = token.quota.or_else(self._settings.quota).workers
        if most is None or (asked or self._settings.workers or cores()) <= most:
            return asked
        if asked is None:
            return most
        raise TooLargeError(
            f"the job asks for {asked} workers, and the jobs of the token {token.id} may have {most}; ask for fewer",
            workers=asked,
            limit=most,
        )

    def _within_bytes(self, token: Token, spec: Spec) -> None:
        most = token.quota.or_else(self._settings.quota).bytes_in
        if most is None:
            return
        nbytes = sum(freeze_all(spec, self._settings.readable)["size"].to_pylist())
        if nbytes > most:
            raise TooLargeError(
                f"the sources have {nbytes} bytes, and a job of the token {token.id} may read {most}; name fewer files",
                bytes=nbytes,
                limit=most,
            )
