"""`tamis learn frequencies`: a table of frequencies for the stage `difficulty`."""

from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.commands.shared import (
    Address,
    AsJson,
    EngineChoice,
    EngineName,
    KindOfFile,
    StorePath,
    Workers,
    interruptible,
    show,
)
from pipelines.run import Options


def frequencies(  # noqa: PLR0913, PLR0917 - options of one command
    text: Annotated[list[str], typer.Option("--text", metavar="PATH...", help="Files, folders or globs of text.")],
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="The artifact's name in the store.")],
    min_count: Annotated[int, typer.Option("--min-count", help="Rarer words are not kept.", min=1)] = 2,
    kind: KindOfFile = None,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Learn how often words occur, so that `difficulty` can say how rare those of a document are; prints the artifact's id.

    Example: [bold]tamis learn frequencies --text books/ manuals/ --out en-words[/bold]
    """
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    options = Options(engine.value, workers, address)
    source = None if kind is None else kind.value
    with interruptible(), watching(quiet=as_json) as watch:
        found = api.learn_frequencies(
            out, text, min_count=min_count, kind=source, store=store, options=options, watch=watch
        )

    def draw(console: Any) -> None:
        console.print(found.id, markup=False, highlight=False)
        for m in found.card["metrics"]:
            console.print(f"{m['name']}: {m['value']:,.6g} {m['unit']}", markup=False, highlight=False)

    show({"artifact": found.id, "card": found.card}, as_json, draw)
