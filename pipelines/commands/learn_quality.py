"""`tamis learn quality`: a classifier for the stage `quality`."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.commands.shared import (
    Address,
    AsJson,
    EngineChoice,
    EngineName,
    StorePath,
    Workers,
    interruptible,
    show,
)
from pipelines.run import Options


class Classifier(StrEnum):
    """What is fitted."""

    fasttext = "fasttext"
    embedding = "embedding"


class CalibrationName(StrEnum):
    """How probabilities are calibrated."""

    platt = "platt"
    isotonic = "isotonic"
    none = "none"


def quality(  # noqa: PLR0913, PLR0917 - options of one command
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="The artifact's name in the store.")],
    labels: Annotated[
        list[str] | None, typer.Option("--labels", metavar="FILE...", help="JSON lines with text and label.")
    ] = None,
    positive: Annotated[
        list[str] | None, typer.Option("--positive", metavar="PATH...", help="Good documents: files, folders or globs.")
    ] = None,
    negative: Annotated[
        list[str] | None, typer.Option("--negative", metavar="PATH...", help="Other documents, such as raw ones.")
    ] = None,
    kind: Annotated[
        Classifier, typer.Option("--kind", help="fasttext (DCLM), or embedding with logistic regression (FineWeb-Edu).")
    ] = Classifier.fasttext,
    high: Annotated[
        str | None, typer.Option("--high", metavar="LABEL", help="The label whose probability is p_high.")
    ] = None,
    calibration: Annotated[
        CalibrationName, typer.Option("--calibration", help="platt keeps every order; isotonic makes ties.")
    ] = CalibrationName.platt,
    held_out: Annotated[float, typer.Option("--held-out", help="Share of the documents to measure on.")] = 0.2,
    calibrate: Annotated[float, typer.Option("--calibrate", help="Share of the documents to calibrate on.")] = 0.2,
    seed: Annotated[int, typer.Option("--seed", help="Of the split, the training and the intervals.")] = 0,
    most: Annotated[int, typer.Option("--most", help="Documents of a label at most, chosen by hash.", min=1)] = 100_000,
    lr: Annotated[float, typer.Option("--lr", help="fastText: learning rate.")] = 0.1,
    dim: Annotated[int, typer.Option("--dim", help="fastText: numbers for each word.", min=1)] = 100,
    epoch: Annotated[
        int | None,
        typer.Option("--epoch", help="fastText: passes; default 5, and up to 100 where texts are few.", min=1),
    ] = None,
    min_count: Annotated[int, typer.Option("--min-count", help="fastText: rarer words do not count.", min=1)] = 1,
    word_ngrams: Annotated[
        int, typer.Option("--word-ngrams", help="fastText: words of the longest n-gram.", min=1, max=5)
    ] = 1,
    bucket: Annotated[int, typer.Option("--bucket", help="fastText: rows for n-grams.", min=1)] = 2_000_000,
    model: Annotated[str, typer.Option("--model", help="embedding: static, minilm, or a model's folder.")] = "static",
    inverse_l2: Annotated[
        float, typer.Option("--inverse-l2", help="embedding: the larger, the closer to the labels (scikit-learn's C).")
    ] = 10.0,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Learn to tell good documents from others, measured on documents held out; prints the artifact's id.

    Example: [bold]tamis learn quality --positive books/ manuals/ --negative crawl/ --out hq-v1[/bold]
    """
    from learners.quality import Settings  # noqa: PLC0415 - learners load what they use
    from learners.quality_study import Plan  # noqa: PLC0415 - the same
    from pipelines.learning.quality import Learning  # noqa: PLC0415 - the same
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    settings = Settings(
        kind=kind.value,
        lr=lr,
        dim=dim,
        epoch=epoch,
        min_count=min_count,
        word_ngrams=word_ngrams,
        bucket=bucket,
        model=model,
        inverse_l2=inverse_l2,
    )
    plan = Plan(settings, high, calibration.value, calibrate, held_out)
    learning = Learning(labels or (), positive or (), negative or (), plan, seed, most)
    options = Options(engine.value, workers, address)
    with interruptible(), watching(quiet=as_json) as watch:
        found = api.learn_quality(out, learning, store=store, options=options, watch=watch)

    def draw(console: Any) -> None:
        console.print(found.id, markup=False, highlight=False)
        for m in found.card["metrics"]:
            if m["value"] is not None:
                interval = f"{m['value']:.4f} ({m['low']:.4f} to {m['high']:.4f})"
                console.print(f"{m['name']}: {interval}", markup=False, highlight=False)
        for warning in found.card["warnings"]:
            console.print(f"warning: {warning}", markup=False, highlight=False)

    show({"artifact": found.id, "card": found.card}, as_json, draw)
