"""`tamis serve`: the service on one store of this machine."""

import sys
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from pipelines import api
from pipelines.commands.shared import Address, EngineChoice, EngineName, StorePath, Workers, interruptible

if TYPE_CHECKING:
    from pipelines.service.settings import Settings

Host = Annotated[str, typer.Option("--host", help="The address to listen on.")]
Port = Annotated[int, typer.Option("--port", help="The port; 0: any free one.", min=0, max=65_535)]
Roots = Annotated[
    list[str] | None,
    typer.Option("--root", help="A folder or s3:// prefix that specs may read, beside the store; may be repeated."),
]
Hosts = Annotated[
    list[str] | None, typer.Option("--allowed-host", help="A name under which it may be asked; may be repeated.")
]
Public = Annotated[bool, typer.Option("--allow-public", help="Listen where other machines can reach it.")]
Jobs = Annotated[int, typer.Option("--jobs", help="Jobs that run at once.", min=1)]
DatabaseUrl = Annotated[
    str | None, typer.Option("--database", metavar="URL", help="postgresql+pg8000://USER@HOST/NAME; default: SQLite.")
]
Reindex = Annotated[bool, typer.Option("--reindex", help="Make the database anew from the store.")]
KeepLast = Annotated[
    int | None, typer.Option("--keep-last", help="Ended jobs that stay listed; results are never deleted.", min=0)
]


Endpoints = Annotated[
    list[str] | None,
    typer.Option(
        "--endpoint", metavar="URL", help="A base_url of language models that specs may ask; may be repeated."
    ),
]
Traces = Annotated[str | None, typer.Option("--traces", metavar="URL", help="Send traces there, as OTLP over HTTP.")]


class LogKind(StrEnum):
    """How lines of the log are written."""

    auto = "auto"
    json = "json"
    console = "console"


Logs = Annotated[LogKind, typer.Option("--logs", envvar="TAMIS_LOGS", help="auto: console on a terminal, else json.")]


class LauncherName(StrEnum):
    """What runs drivers."""

    subprocess = "subprocess"
    ray = "ray"


Launcher = Annotated[
    LauncherName, typer.Option("--launcher", help="Where drivers run: here, or as Ray Jobs on an existing cluster.")
]
RayAddress = Annotated[
    str | None,
    typer.Option(
        "--ray-address",
        metavar="URL",
        help="The job server of --launcher ray; default: RAY_ADDRESS, else http://127.0.0.1:8265.",
    ),
]


def serve(  # noqa: PLR0913, PLR0917 - options of one command
    host: Host = "127.0.0.1",
    port: Port = 8321,
    store: StorePath = api.DEFAULT_STORE,
    roots: Roots = None,
    allowed_hosts: Hosts = None,
    allow_public: Public = False,
    jobs: Jobs = 1,
    database: DatabaseUrl = None,
    reindex: Reindex = False,
    keep_last: KeepLast = None,
    endpoints: Endpoints = None,
    traces: Traces = None,
    logs: Logs = LogKind.auto,
    launcher: Launcher = LauncherName.subprocess,
    ray_address: RayAddress = None,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
) -> None:
    """Serve the store to people and programs: submit specs, watch them, look inside.

    Jobs go on when it ends. The first start on a store prints an admin token, once; every start a link that signs a browser in.

    Example: [bold]tamis serve --store ./tamis-store --root /data/corpora[/bold]
    """
    from pipelines.service.settings import Settings, absolute, state_folder  # noqa: PLC0415 - only where it serves

    settings = Settings(
        store=absolute(store),
        state=state_folder(absolute(store)),
        host=host,
        port=port,
        database=database,
        roots=tuple(absolute(root) for root in roots or ()),
        hosts=tuple(allowed_hosts or ()),
        jobs=jobs,
        engine=engine.value,
        workers=workers,
        launcher=launcher.value,
        address=address,
        ray_address=ray_address,
        allow_public=allow_public,
        keep_last=keep_last,
        endpoints=tuple(endpoints or ()),
        traces=traces,
        logs=logs.value,
    )
    _until_told(settings, reindex=reindex)


def _until_told(settings: "Settings", *, reindex: bool) -> None:
    from pipelines.service.server import serve as serve_until_told  # noqa: PLC0415 - FastAPI only where it serves

    with interruptible("jobs go on, and the same command finds them"):
        serve_until_told(settings, lambda line: print(line, file=sys.stderr, flush=True), reindex=reindex)  # noqa: T201
