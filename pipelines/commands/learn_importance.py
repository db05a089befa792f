"""`tamis learn importance`: weights of hashed n-grams for the stage `importance`."""

from enum import StrEnum
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


class HashName(StrEnum):
    """How n-grams become buckets."""

    fast = "fast"
    sha256 = "sha256"


def importance(  # noqa: PLR0913, PLR0917 - options of one command
    target: Annotated[list[str], typer.Option("--target", help="Text as it is wanted: file, folder or glob.")],
    raw: Annotated[list[str], typer.Option("--raw", help="Text as it is at hand: file, folder or glob.")],
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="The artifact's name in the store.")],
    ngrams: Annotated[int, typer.Option("--ngrams", help="Longest n-gram, in tokens.", min=1, max=8)] = 2,
    buckets: Annotated[int, typer.Option("--buckets", help="Buckets that n-grams are hashed into.", min=2)] = 10_000,
    hash: Annotated[  # noqa: A002 - the option's own name
        HashName, typer.Option("--hash", help="fast, or the paper's sha256, tens of times slower.")
    ] = HashName.fast,
    kind: KindOfFile = None,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Learn which documents are like the target: DSIR log ratios of hashed n-grams; prints the artifact's id.

    --target and --raw take several paths.

    Example: [bold]tamis learn importance --target books/ --raw crawl/a crawl/b --out like-books[/bold]
    """
    from pipelines.learning.importance import Learning  # noqa: PLC0415 - learners load what they use
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw
    from stages.importance_weights import Features  # noqa: PLC0415 - the same

    learning = Learning(target, raw, Features(ngrams, buckets, hash.value), kind.value if kind else None)
    options = Options(engine.value, workers, address)
    with interruptible(), watching(quiet=as_json) as watch:
        found = api.learn_importance(out, learning, store=store, options=options, watch=watch)

    def draw(console: Any) -> None:
        console.print(found.id, markup=False, highlight=False)
        for warning in found.card["warnings"]:
            console.print(f"warning: {warning}", markup=False, highlight=False)

    show({"artifact": found.id, "card": found.card}, as_json, draw)
