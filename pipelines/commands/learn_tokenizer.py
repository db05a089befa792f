"""`tamis learn tokenizer`: a tokenizer for the stage `tokens`."""

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

Texts = Annotated[
    list[str] | None,
    typer.Option(
        "--text", metavar="PATH...", help="Files, folders or globs to learn from; with --file, to measure on."
    ),
]
Vocab = Annotated[int | None, typer.Option("--vocab", metavar="N", help="Entries of the vocabulary, at least 257.")]
File = Annotated[
    Path | None, typer.Option("--file", metavar="FILE", help="Instead: a tokenizer.json that exists already.")
]
EndOfText = Annotated[
    str | None, typer.Option("--end-of-text", metavar="TOKEN", help="--file: the token between documents, or its id.")
]
SampleBytes = Annotated[
    int, typer.Option("--sample-bytes", help="Text to learn from at most; beyond it, documents chosen by hash.", min=1)
]
Seed = Annotated[int, typer.Option("--seed", help="Another seed chooses other documents.")]


def tokenizer(  # noqa: PLR0913, PLR0917 - options of one command
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="The artifact's name in the store.")],
    text: Texts = None,
    vocab: Vocab = None,
    file: File = None,
    end_of_text: EndOfText = None,
    sample_bytes: SampleBytes = 1_000_000_000,
    seed: Seed = 0,
    kind: KindOfFile = None,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Learn a tokenizer (byte-level BPE) from texts, or keep one that exists; prints the artifact's id.

    Example: [bold]tamis learn tokenizer --text books/ manuals/ --vocab 32768 --out bpe-32k[/bold]
    """
    from pipelines.learning.tokenizer import Learning  # noqa: PLC0415 - learners load what they use
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    source = None if kind is None else kind.value
    learning = Learning(text or (), vocab, file, end_of_text, sample_bytes, seed, source)
    options = Options(engine.value, workers, address)
    with interruptible(), watching(quiet=as_json) as watch:
        found = api.learn_tokenizer(out, learning, store=store, options=options, watch=watch)

    def draw(console: Any) -> None:
        console.print(found.id, markup=False, highlight=False)
        for m in found.card["metrics"]:
            console.print(f"{m['name']}: {m['value']:,.6g} {m['unit']}", markup=False, highlight=False)
        for warning in found.card["warnings"]:
            console.print(f"warning: {warning}", markup=False, highlight=False)

    show({"artifact": found.id, "card": found.card}, as_json, draw)
