"""Who changed what and when, and who was refused: one file an entry, created once and never changed.

    service/audit/{day}/{milliseconds}-{nonce}.json
        {"at", "who", "name", "scope", "kind", "client", "method", "path", "status", "outcome", "request", "left_out"}

Every call that could change something is kept, every sign-in, and every call whose token was refused. A file a call bounds itself by
who may call; what nobody known asks is kept so many times a minute, and the next entry says how many were left out. Bodies, queries
and tokens are in no entry. The entry is written before the answer leaves.
"""

import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipelines.secret_values import redact
from pipelines.service.folders import names_below
from pipelines.service.security.origins import SAFE, signed_in
from pipelines.store import Store, encode
from stages.errors import SpecError, StorageError

if TYPE_CHECKING:
    from pipelines.service.tokens import Token

FOLDER = "service/audit"
#: Entries a minute of calls without a known token, and of those with one.
UNKNOWN, KNOWN = 60, 6_000
MINUTE = 60.0
LONGEST_PATH = 300
SIGN_IN = "/sign-in"
_ENTRY = re.compile(r"\d{4}-\d\d-\d\d/\d{13}-[0-9a-f]{8}\Z")
_REFUSED = frozenset({401, 403, 429})
_BAD, _BROKEN = 400, 500
_LOG = logging.getLogger("tamis.audit")


class Audit:
    """The audit log of a store. `left_out` counts what was too much to keep."""

    def __init__(self, store: Store, clock: Callable[[], float] = time.time) -> None:
        self._store, self._clock = store, clock
        self._lock = threading.Lock()
        self._minute = 0
        self._kept = {True: 0, False: 0}
        self._unsaid = 0
        self.left_out = 0

    def keep(self, entry: Mapping[str, Any], *, known: bool) -> bool:
        """Keep an entry, unless this minute has had its fill; `known`: of somebody with a token."""
        now = self._clock()
        with self._lock:
            if int(now // MINUTE) != self._minute:
                self._minute, self._kept = int(now // MINUTE), {True: 0, False: 0}
            if self._kept[known] >= (KNOWN if known else UNKNOWN):
                self._unsaid += 1
                self.left_out += 1
                return False
            self._kept[known] += 1
            unsaid, self._unsaid = self._unsaid, 0
        day = time.strftime("%Y-%m-%d", time.gmtime(now))
        path = f"{FOLDER}/{day}/{int(now * 1000):013d}-{secrets.token_hex(4)}.json"
        return self._store.create(path, encode({"at": round(now, 3), **entry, "left_out": unsaid}), durable=known)

    def page(self, after: str | None, limit: int) -> tuple[list[dict[str, Any]], str | None]:
        """Entries, newest first, from a cursor on; and the cursor of the next page.

        Raises:
            SpecError: the cursor is none of ours.
        """
        if after is not None and not _ENTRY.match(after):
            raise SpecError(f"{after!r} is no cursor of the audit log; give the `next` of the page before", after=after)
        found: list[dict[str, Any]] = []
        for identity in self._newest_first(after):
            if len(found) == limit:
                return found, found[-1]["id"]
            entry = self._store.find_json(f"{FOLDER}/{identity}.json")
            if entry is not None:
                found.append({"id": identity, **entry})
        return found, None

    def _newest_first(self, after: str | None) -> Iterator[str]:
        for day in sorted(names_below(self._store, FOLDER), reverse=True):
            if after is not None and day > after[: len(day)]:
                continue
            names = (f"{day}/{name.removesuffix('.json')}" for name in names_below(self._store, f"{FOLDER}/{day}"))
            yield from sorted((n for n in names if _ENTRY.match(n) and (after is None or n < after)), reverse=True)


class Audited:
    """Keeps an entry of every call that counts, before its answer leaves."""

    def __init__(self, app: ASGIApp, audit: Audit, cookie: str) -> None:
        self._app, self._audit, self._cookie = app, audit, cookie

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or let the application answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        scope.setdefault("state", {})

        async def kept(message: Message) -> None:
            if message["type"] == "http.response.start" and self._counts(scope, message["status"]):
                await run_in_threadpool(self._keep, scope, message["status"])
            await send(message)

        await self._app(scope, receive, kept)

    def _counts(self, scope: Scope, status: int) -> bool:
        if scope["method"] not in SAFE or (scope["path"] == SIGN_IN and scope["query_string"]):
            return True
        headers = Headers(scope=scope)
        return status in _REFUSED and ("authorization" in headers or signed_in(headers, self._cookie))

    def _keep(self, scope: Scope, status: int) -> None:
        token: Token | None = scope["state"].get("token")
        who: dict[str, str | None] = {"who": None, "name": None, "scope": None, "kind": None}
        if token is not None:
            who = {"who": token.id, "name": token.name, "scope": token.scope, "kind": token.kind}
        client = scope.get("client")
        entry = {
            **who,
            "client": client[0] if client else None,
            "method": scope["method"][:LONGEST_PATH],
            "path": redact(scope["path"])[:LONGEST_PATH],
            "status": status,
            "outcome": "done" if status < _BAD else "refused" if status < _BROKEN else "failed",
            "request": scope["state"].get("request_id"),
        }
        try:
            self._audit.keep(entry, known=token is not None)
        except StorageError as error:  # what was done is done: the answer must say so, and the log has the rest
            _LOG.error("an entry of the audit log could not be kept: %s; it was %s", error.message, entry)
