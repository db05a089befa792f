"""`tamis learn ngram`: an n-gram model for the stage `perplexity`."""

from collections.abc import Mapping
from pathlib import Path
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
from stages.ngrams.normalizations import Normalization

Texts = Annotated[list[str], typer.Option("--text", metavar="PATH...", help="Files, folders or globs to learn from.")]
Out = Annotated[str, typer.Option("--out", metavar="NAME", help="The artifact's name in the store.")]
Order = Annotated[int, typer.Option("--order", help="Words of the longest n-gram, 1 to 6.")]
Prune = Annotated[
    list[int] | None,
    typer.Option("--prune", metavar="N...", help="For each order: n-grams that occur so often or less go (0 0 1)."),
]
Pieces = Annotated[
    Path | None, typer.Option("--pieces", metavar="FILE", help="A SentencePiece model: its pieces are the words.")
]
Normalized = Annotated[
    Normalization, typer.Option("--normalization", help="plain: lines as they are; document: one line; or ccnet.")
]
HeldOut = Annotated[
    list[str] | None, typer.Option("--held-out", metavar="PATH...", help="Texts to measure the model on.")
]
HeldOutShare = Annotated[
    float, typer.Option("--held-out-share", help="Or: a share of the documents, chosen by hash and not learned from.")
]
Seed = Annotated[int, typer.Option("--seed", help="Another seed holds other documents out.")]
Lang = Annotated[str | None, typer.Option("--lang", help="The language code that the model is for.")]


def ngram(  # noqa: PLR0913, PLR0917 - options of one command
    text: Texts,
    out: Out,
    order: Order = 5,
    prune: Prune = None,
    pieces: Pieces = None,
    normalization: Normalized = "plain",
    held_out: HeldOut = None,
    held_out_share: HeldOutShare = 0.0,
    seed: Seed = 0,
    lang: Lang = None,
    kind: KindOfFile = None,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Learn how likely words are after others (modified Kneser-Ney, as lmplz estimates it); prints the artifact's id.

    Example: [bold]tamis learn ngram --text books/ notes.txt --order 5 --prune 0 0 1 --out en-5gram[/bold]
    """
    from learners.ngram.settings import Settings  # noqa: PLC0415 - learners load what they use
    from pipelines.learning.ngram import Learning  # noqa: PLC0415 - the same
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw
    from stages.ngrams.reading import Reading  # noqa: PLC0415 - the same

    settings, reading, source = Settings.of(order, prune), Reading(normalization, pieces), kind.value if kind else None
    learning = Learning(text, settings, reading, held_out or (), held_out_share, seed, lang, source)
    options = Options(engine.value, workers, address)
    with interruptible(), watching(quiet=as_json) as watch:
        found = api.learn_ngram(out, learning, store=store, options=options, watch=watch)

    show({"artifact": found.id, "card": found.card}, as_json, lambda console: _draw(console, found.id, found.card))


def _draw(console: Any, name: str, card: Mapping[str, Any]) -> None:
    console.print(name, markup=False, highlight=False)
    for metric in card["metrics"]:
        console.print(f"{metric['name']}: {metric['value']:.4g}", markup=False, highlight=False)
    for warning in card["warnings"]:
        console.print(f"warning: {warning}", markup=False, highlight=False)
