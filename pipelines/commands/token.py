"""`tamis token`: who may ask the service. Works beside a running server."""

import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.commands.shared import AsJson, StorePath, show

token = typer.Typer(name="token", help="Tokens for the service: create, link, list, revoke.", no_args_is_help=True)

SECONDS = {"m": 60, "h": 3_600, "d": 86_400}


class ScopeName(StrEnum):
    """What a token allows; each allows what those before it do."""

    read = "read"
    submit = "submit"
    admin = "admin"


Expires = Annotated[
    str | None, typer.Option("--expires", metavar="90d", help="How long it is good for: 30m, 12h, 90d.")
]


@token.command()
def create(  # noqa: PLR0913, PLR0917 - options of one command
    scope: Annotated[ScopeName, typer.Option("--scope", help="What it allows.")],
    name: Annotated[str, typer.Option("--name", help="What it is for.")] = "",
    expires: Expires = None,
    queued: Annotated[int | None, typer.Option("--max-queued", help="Jobs that may wait at once.", min=0)] = None,
    running: Annotated[int | None, typer.Option("--max-running", help="Jobs that may run at once.", min=0)] = None,
    workers: Annotated[int | None, typer.Option("--max-workers", help="Workers of all its jobs.", min=1)] = None,
    bytes_in: Annotated[int | None, typer.Option("--max-bytes", help="Input bytes of one job.", min=0)] = None,
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a token and print it; only a hash of it is kept, so it is shown this once.

    Example: [bold]tamis token create --store ./tamis-store --scope submit --name ci --expires 90d[/bold]
    """
    from pipelines.service import tokens  # noqa: PLC0415 - only where tokens are made

    quota = tokens.Quota(queued, running, workers, bytes_in)
    opened = api.open_store(store, create=True)
    secret, made = tokens.create(opened, scope.value, name=name, seconds=_seconds(expires), quota=quota)
    told = {"token": secret, "id": made.id, "scope": made.scope, "name": made.name, "expires": made.expires}
    if as_json:
        show(told, as_json, lambda _: None)
    else:
        sys.stdout.write(secret + "\n")


@token.command()
def link(
    scope: Annotated[ScopeName, typer.Option("--scope", help="What the browser may do.")] = ScopeName.submit,
    name: Annotated[str, typer.Option("--name", help="Whose browser it is.")] = "browser",
    server: Annotated[
        str, typer.Option("--server", envvar="TAMIS_SERVER", metavar="URL", help="Where the service is.")
    ] = "http://127.0.0.1:8321",
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a link that signs one browser in, once, within an hour.

    Example: [bold]tamis token link --store ./tamis-store --scope read --name ada[/bold]
    """
    from pipelines.service import tokens  # noqa: PLC0415 - only where tokens are made

    opened = api.open_store(store, create=True)
    secret, made = tokens.create(opened, scope.value, name=name, seconds=tokens.LINK_SECONDS, kind="link")
    url = f"{server.rstrip('/')}/sign-in?link={secret}"
    if as_json:
        show({"link": url, "id": made.id, "scope": made.scope, "expires": made.expires}, as_json, lambda _: None)
    else:
        sys.stdout.write(url + "\n")


@token.command("list")
def list_(store: StorePath = api.DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List the tokens of a store, without what makes them work.

    Example: [bold]tamis token list --store ./tamis-store[/bold]
    """
    from pipelines.service import tokens  # noqa: PLC0415 - only where tokens are listed

    opened = api.open_store(store)
    found = [
        {name: getattr(t, name) for name in ("id", "scope", "name", "kind", "created", "expires")}
        | {"alive": tokens.alive(opened, t)}
        for t in sorted(tokens.every(opened), key=lambda t: t.created)
    ]
    show(found, as_json, lambda page: _draw(page, found))


@token.command()
def revoke(
    identity: Annotated[str, typer.Argument(metavar="ID", help="The token's id, or the token itself.")],
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Make a token worthless at once; its jobs go on.

    Example: [bold]tamis token revoke 4f1a09c2d7e3 --store ./tamis-store[/bold]
    """
    from pipelines.service import tokens  # noqa: PLC0415 - only where tokens are revoked

    short = identity.split("_")[1] if identity.startswith("tamis_") and identity.count("_") > 1 else identity
    told = {"id": short, "revoked": tokens.revoke(api.open_store(store), short)}
    said = f"the token {short} is revoked" if told["revoked"] else f"the token {short} was revoked before"
    show(told, as_json, lambda page: page.print(said))


def _seconds(given: str | None) -> float | None:
    if given is None:
        return None
    if given[-1:] not in SECONDS or not given[:-1].isdecimal() or not int(given[:-1]):
        from stages.errors import SpecError  # noqa: PLC0415 - only where something is wrong

        raise SpecError(f"--expires is {given!r}; write a number with m, h or d, such as 90d")
    return float(int(given[:-1]) * SECONDS[given[-1]])


def _draw(page: Any, found: list[dict[str, Any]]) -> None:
    for line in found:
        state = "" if line["alive"] else "  (worth nothing any more)"
        page.print(f"{line['id']}  {line['scope']:<6}  {line['kind']:<7}  {line['name']}{state}", markup=False)
