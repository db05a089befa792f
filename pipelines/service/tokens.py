"""Who may do what: tokens of which only a hash is kept.

    service/tokens/{id}.json              {"hash", "scope", "name", "created", "expires", "quota"}
    service/tokens/{id}.revoked.json      it is worth nothing any more

A token is `tamis_{id}_{secret}`; a scope includes those before it: read, submit, admin. Tokens are made beside a running server.
"""

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from enum import IntEnum
from typing import Any

from pipelines.store import Store
from stages.errors import SpecError, TamisError

#: Seconds that a sign-in link is good for.
LINK_SECONDS = 3_600
#: Seconds after their end for which sessions and links are still known.
EXPIRED_SECONDS = 86_400
_FOLDER = "service/tokens/"
_TOKEN = re.compile(r"tamis_([a-z0-9]{12})_([A-Za-z0-9_-]{43})\Z", re.ASCII)


class Scope(IntEnum):
    """What a token allows; each allows what those before it do."""

    read = 1
    submit = 2
    admin = 3


class UnauthorizedError(TamisError):
    """Nobody that is known asks."""

    status = 401
    type = "unauthorized"


class ForbiddenError(TamisError):
    """Who asks may not do this."""

    status = 403
    type = "forbidden"


@dataclass(frozen=True, slots=True)
class Quota:
    """What the jobs of a token may take at once; None: no limit of its own."""

    queued: int | None = None
    running: int | None = None
    workers: int | None = None
    bytes_in: int | None = None

    def or_else(self, usual: "Quota") -> "Quota":
        """These limits, and the usual ones where there is none."""
        names = self.__dataclass_fields__
        return Quota(**{n: getattr(usual, n) if getattr(self, n) is None else getattr(self, n) for n in names})


@dataclass(frozen=True, slots=True)
class Token:
    """A token as it is kept."""

    id: str
    hash: str
    scope: str
    name: str
    created: float
    expires: float | None = None
    kind: str = "token"  # or "session": what a browser's cookie holds, or "link": what makes one session
    quota: Quota = field(default_factory=Quota)

    def allows(self, scope: Scope) -> bool:
        """Whether it has that scope."""
        return Scope[self.scope] >= scope

    def require(self, scope: Scope) -> None:
        """See whether it has that scope.

        Raises:
            ForbiddenError: it has not.
        """
        if not self.allows(scope):
            raise ForbiddenError(f"the token {self.id} has the scope {self.scope!r}, and this needs {scope.name!r}")


def create(
    store: Store,
    scope: str,
    *,
    name: str = "",
    seconds: float | None = None,
    kind: str = "token",
    quota: Quota | None = None,
) -> tuple[str, Token]:
    """A new token, and what is kept of it. The token itself is nowhere else.

    Raises:
        SpecError: there is no such scope.
    """
    if scope not in Scope.__members__:
        raise SpecError(f"there is no scope {scope!r}; the scopes are {', '.join(Scope.__members__)}")
    secret, identity, now = secrets.token_urlsafe(32), secrets.token_hex(6), time.time()
    expires = None if seconds is None else now + seconds
    token = Token(identity, _hash(secret), scope, name, round(now, 3), expires, kind, quota or Quota())
    store.create_json(f"{_FOLDER}{identity}.json", asdict(token))
    return f"tamis_{identity}_{secret}", token


def check(store: Store, given: str, *, kind: str = "token") -> Token:
    """What is kept of a token that somebody gave.

    Raises:
        UnauthorizedError: it is none of this store's, or was revoked, or has expired.
    """
    found = _TOKEN.match(given)
    token = find(store, found[1]) if found else None
    right = found is not None and token is not None and hmac.compare_digest(token.hash, _hash(found[2]))
    if token is None or not right or token.kind != kind or not alive(store, token):
        raise UnauthorizedError("the token is unknown, expired or revoked; make one with `tamis token create`")
    return token


def alive(store: Store, token: Token) -> bool:
    """Whether the token was neither revoked nor has expired."""
    expired = token.expires is not None and token.expires < time.time()
    return not expired and store.find(f"{_FOLDER}{token.id}.revoked.json") is None


def revoke(store: Store, identity: str) -> bool:
    """Make a token worthless; False where it was so already.

    Raises:
        SpecError: there is no such token.
    """
    if find(store, identity) is None:
        raise SpecError(f"there is no token {identity!r}; `tamis token list` shows them")
    return store.create_json(f"{_FOLDER}{identity}.revoked.json", {"at": round(time.time(), 3)})


def find(store: Store, identity: str) -> Token | None:
    """What is kept of a token, or None."""
    value: dict[str, Any] | None = store.find_json(f"{_FOLDER}{identity}.json") if identity.isalnum() else None
    return None if value is None else Token(**{**value, "quota": Quota(**value["quota"])})


def every(store: Store) -> Iterator[Token]:
    """Every token of a store, sessions too, revoked or not."""
    for path in store.list(_FOLDER):
        name = path.rsplit("/", 1)[1]
        if name.count(".") == 1 and (token := find(store, name.removesuffix(".json"))) is not None:
            yield token


def tidy(store: Store, now: float) -> int:
    """Delete sessions and links that expired over a day ago; gives how many. Tokens stay: people look at their list."""
    old = [t for t in every(store) if t.kind != "token" and t.expires is not None and now - t.expires > EXPIRED_SECONDS]
    for token in old:
        store.delete(f"{_FOLDER}{token.id}.json")  # from here on it is unknown, revoked or not
        store.delete(f"{_FOLDER}{token.id}.revoked.json")
    return len(old)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
