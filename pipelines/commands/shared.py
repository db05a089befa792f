"""Options and answers that commands have in common."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

INTERRUPTED = 130


class EngineName(StrEnum):
    """Where the work runs."""

    auto = "auto"
    local = "local"
    ray = "ray"


class SourceKind(StrEnum):
    """What reads a file."""

    jsonl = "jsonl"
    parquet = "parquet"
    text = "text"
    warc = "warc"


StorePath = Annotated[
    str, typer.Option("--store", envvar="TAMIS_STORE", help="A folder or s3://bucket/prefix.", show_default=True)
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
EngineChoice = Annotated[
    EngineName, typer.Option("--engine", help="Where the work runs; changes no byte of the result.")
]
Workers = Annotated[int | None, typer.Option("--workers", help="Processes at work; default: one for each core.", min=1)]
Address = Annotated[str | None, typer.Option("--address", help="An existing Ray cluster, such as auto or host:6379.")]
KindOfFile = Annotated[SourceKind | None, typer.Option("--kind", help="What reads the files; default: by their names.")]


@contextmanager
def interruptible(advice: str = "the same command goes on from here") -> Iterator[None]:
    """Say what an interruption means, and end with its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"tamis: interrupted; {advice}\n")
        raise typer.Exit(INTERRUPTED) from None


def show(value: Any, as_json: bool, draw: Callable[[Any], None]) -> None:  # noqa: FBT001 - the flag of every command
    """Print a value for machines, or let `draw(console)` draw it for people."""
    if as_json:
        answer(value)
        return
    from pipelines.terminal import console  # noqa: PLC0415 - rich is for people

    draw(console())


def answer(value: Any) -> None:
    """Print JSON for machines."""
    data = value.json() if hasattr(value, "json") else value
    sys.stdout.write(json.dumps(data, ensure_ascii=False, indent=2, default=str) + "\n")


class Several(TyperCommand):
    """A command whose repeatable options take any number of values: `--text A B --prune 0 0 1`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the option before each of its values."""
        repeatable = {o for p in self.params if getattr(p, "multiple", False) for o in p.opts}
        found: list[str] = []
        option, values = "", 0
        for arg in args:
            if arg.startswith("-") and arg != "-":
                option, values = arg if arg in repeatable else "", 0
            elif option:
                if values:
                    found.append(option)
                values += 1
            found.append(arg)
        return super().parse_args(ctx, found)
