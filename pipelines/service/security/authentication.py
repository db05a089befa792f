"""Who asks: a token in the header `Authorization: Bearer`, or the session in a browser's cookie."""

from collections.abc import Callable
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import APIKeyCookie, HTTPAuthorizationCredentials, HTTPBearer

from pipelines.service import tokens
from pipelines.service.security.failures import Failures
from pipelines.service.service import Service
from pipelines.service.tokens import Scope, Token, UnauthorizedError

#: The cookie that a signed-in browser has. HttpOnly, SameSite=Strict.
COOKIE = "tamis_session"
#: Seconds that a browser stays signed in.
SESSION_SECONDS = 14 * 86_400

_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `tamis token create`.")
_cookie = APIKeyCookie(
    name=COOKIE,
    auto_error=False,
    scheme_name="session",
    description="What signing in with a one-time link gives a browser.",
)


def service_of(request: Request) -> Service:
    """The service that answers."""
    found: Service = request.app.state.service
    return found


Served = Annotated[Service, Depends(service_of)]


def who(
    request: Request,
    service: Served,
    bearer: Annotated[HTTPAuthorizationCredentials | None, Security(_bearer)],
    session: Annotated[str | None, Security(_cookie)],
) -> Token:
    """The token of who asks; kept as `request.state.token`.

    Raises:
        UnauthorizedError: nobody that is known.
        TooManyFailuresError: too many wrong tokens came from there.
    """
    shown = session if bearer is None else bearer.credentials

    def find() -> Token:
        return identify(service, None if bearer is None else bearer.credentials, session)

    token = find() if shown is None else failures_of(request).check(address_of(request), shown, find)
    request.state.token = token
    return token


def failures_of(request: Request) -> Failures:
    """Who showed wrong tokens."""
    found: Failures = request.app.state.failures
    return found


def address_of(request: Request) -> str | None:
    """The address that asks. Behind a proxy it is the proxy's: what a header says of it anybody can write."""
    return None if request.client is None else request.client.host


def identify(service: Service, bearer: str | None, session: str | None) -> Token:
    """The token of a header's value, else of a cookie's.

    Raises:
        UnauthorizedError: neither is worth anything.
    """
    if bearer is not None:
        return tokens.check(service.store, bearer)
    if session is not None:
        return tokens.check(service.store, session, kind="session")
    raise UnauthorizedError(
        "this needs a token; send `Authorization: Bearer TOKEN`, or sign in with the link of `tamis serve`"
    )


def having(scope: Scope) -> Callable[[Token], Token]:
    """A dependency: who asks, if they have that scope."""

    def check(token: Annotated[Token, Depends(who)]) -> Token:
        token.require(scope)
        return token

    return check


Reader = Annotated[Token, Depends(having(Scope.read))]
Submitter = Annotated[Token, Depends(having(Scope.submit))]
Admin = Annotated[Token, Depends(having(Scope.admin))]


def sign_in(request: Request, service: Service, link: str) -> tuple[str, Token]:
    """A new session for who has a one-time link; the link is worth nothing afterwards.

    Raises:
        UnauthorizedError: the link is unknown, used up or too old.
    """
    found = failures_of(request).check(
        address_of(request), link, lambda: tokens.check(service.store, link, kind="link")
    )
    if not tokens.revoke(service.store, found.id):
        raise UnauthorizedError("the sign-in link was used already; `tamis token link` makes a new one")
    return tokens.create(service.store, found.scope, name=found.name, seconds=SESSION_SECONDS, kind="session")
