"""`tamis submit`: a spec as a job of a service, and watching it from afar."""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipelines.commands.shared import AsJson, EngineChoice, EngineName, Workers, answer, interruptible

if TYPE_CHECKING:
    from pipelines.client import Client, Run

SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A YAML or JSON file.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change one field of the spec; may be repeated.")
]
Watched = Annotated[bool, typer.Option("--watch", help="Show what happens, and end when the job does.")]
ServerUrl = Annotated[
    str, typer.Option("--server", envvar="TAMIS_SERVER", metavar="URL", help="Where the service is.", show_default=True)
]
Secret = Annotated[
    str | None,
    typer.Option(
        "--token", envvar="TAMIS_TOKEN", help="Who asks; better in the variable, where `ps` does not show it."
    ),
]
Priority = Annotated[int, typer.Option("--priority", help="Higher goes first.", min=-100, max=100)]
Key = Annotated[
    str | None,
    typer.Option("--key", help="The same key and spec are the same job, however often they come; default: a new one."),
]


class PathsName(StrEnum):
    """Whose files the relative paths of a spec name."""

    here = "here"
    there = "there"


Where = Annotated[
    PathsName,
    typer.Option(
        "--paths", help="Relative paths are beside the spec (here) or below the service's first root (there)."
    ),
]


def submit(  # noqa: PLR0913, PLR0917 - options of one command
    spec: SpecPath,
    changes: Changes = None,
    watch: Watched = False,
    server: ServerUrl = "http://127.0.0.1:8321",
    token: Secret = None,
    priority: Priority = 0,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    key: Key = None,
    paths: Where = PathsName.here,
    as_json: AsJson = False,
) -> None:
    """Submit a spec to a service as a job; with --watch, see it through. Exit codes are those of tamis run.

    The job goes on when this command ends.

    Example: [bold]tamis submit web-en.yaml --watch --server http://127.0.0.1:8321[/bold]
    """
    from pipelines.client import Client  # noqa: PLC0415 - httpx only where it is used
    from pipelines.client.calls import new_key  # noqa: PLC0415 - the same
    from pipelines.spec import parse_change  # noqa: PLC0415 - only where something is changed

    key = key or new_key()
    asked: dict[str, Any] = {
        "key": key,
        "priority": priority,
        "engine": engine.value,
        "workers": workers,
        "paths": paths.value,
    }
    with Client(server, token) as client:
        with interruptible(f"whether the job was accepted, the same command with --key {key} tells"):
            run = client.submit(spec, changes=dict(parse_change(text) for text in changes or ()), **asked)
        if watch:
            with interruptible(_goes_on(client, run, key)):
                _watch(client, run, as_json=as_json)
        else:
            _show_accepted(client, run, as_json=as_json)


def _show_accepted(client: "Client", run: "Run", *, as_json: bool) -> None:
    if as_json:
        answer(run.model_dump(mode="json"))
        return
    from pipelines.terminal import console  # noqa: PLC0415 - rich is for people
    from pipelines.terminal.submitted import accepted  # noqa: PLC0415 - the same

    console().print(accepted(run, client.url), soft_wrap=True)


def _watch(client: "Client", run: "Run", *, as_json: bool) -> None:
    from pipelines.terminal import console, watching  # noqa: PLC0415 - rich is for commands that draw
    from pipelines.terminal.submitted import came_of, telling  # noqa: PLC0415 - the same

    with watching(quiet=as_json) as watch:
        done = client.wait(run.id, hear=telling(run.id, watch)).check()
    if as_json:
        answer(done.model_dump(mode="json"))
    else:
        console().print(came_of(done, client.report(done.id, "json"), client.url))


def _goes_on(client: "Client", run: "Run", key: str) -> str:
    return (
        f"the job {run.id} goes on; watch it again: the same command with --key {key}; cancel it: "
        f'curl -X POST -H "Authorization: Bearer $TAMIS_TOKEN" {client.url}/v1/runs/{run.id}/cancel'
    )
