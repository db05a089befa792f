"""`tamis learn quality`: a classifier for the stage `quality`."""

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from stages.artifacts import Artifact

#: fastText's window, which supervised training does not use and its files name.
WINDOW = 5


class Classifier(StrEnum):
    """What is fitted."""

    fasttext = "fasttext"
    embedding = "embedding"


class CalibrationName(StrEnum):
    """How probabilities are calibrated."""

    platt = "platt"
    isotonic = "isotonic"
    none = "none"


Labels = Annotated[
    list[str] | None, typer.Option("--labels", metavar="FILE...", help="JSON lines with text and label.")
]
Positive = Annotated[
    list[str] | None, typer.Option("--positive", metavar="PATH...", help="Good documents: files, folders or globs.")
]
Negative = Annotated[
    list[str] | None, typer.Option("--negative", metavar="PATH...", help="Other documents, such as raw ones.")
]
Kind = Annotated[
    Classifier, typer.Option("--kind", help="fasttext (DCLM), or embedding with logistic regression (FineWeb-Edu).")
]
High = Annotated[str | None, typer.Option("--high", metavar="LABEL", help="The label whose probability is p_high.")]
Calibrated = Annotated[
    CalibrationName, typer.Option("--calibration", help="platt keeps every order; isotonic makes ties.")
]
HeldOut = Annotated[float, typer.Option("--held-out", help="Share of the documents to measure on.")]
Calibrate = Annotated[float, typer.Option("--calibrate", help="Share of the documents to calibrate on.")]
Seed = Annotated[int, typer.Option("--seed", help="Of the split, the training and the intervals.")]
Most = Annotated[int, typer.Option("--most", help="Documents of a label at most, chosen by hash.", min=1)]
AtLeast = Annotated[
    float | None, typer.Option("--at-least", help="Labels are grades: high from this one on (FineWeb-Edu: 3).")
]
Lr = Annotated[float, typer.Option("--lr", help="fastText: learning rate.")]
Dim = Annotated[int, typer.Option("--dim", help="fastText: numbers for each word.", min=1)]
Epoch = Annotated[
    int | None, typer.Option("--epoch", help="fastText: passes; default 5, and up to 100 where texts are few.", min=1)
]
MinCount = Annotated[int, typer.Option("--min-count", help="fastText: rarer words do not count.", min=1)]
WordNgrams = Annotated[int, typer.Option("--word-ngrams", help="fastText: words of the longest n-gram.", min=1, max=5)]
Bucket = Annotated[int, typer.Option("--bucket", help="fastText: rows for n-grams.", min=1)]
Model = Annotated[str, typer.Option("--model", help="embedding: static, minilm, or a model's folder.")]
InverseL2 = Annotated[
    float, typer.Option("--inverse-l2", help="embedding: the larger, the closer to the labels (scikit-learn's C).")
]


def quality(  # noqa: PLR0913, PLR0917 - options of one command
    out: Annotated[str, typer.Option("--out", metavar="NAME", help="The artifact's name in the store.")],
    labels: Labels = None,
    positive: Positive = None,
    negative: Negative = None,
    kind: Kind = Classifier.fasttext,
    high: High = None,
    calibration: Calibrated = CalibrationName.platt,
    held_out: HeldOut = 0.2,
    calibrate: Calibrate = 0.2,
    seed: Seed = 0,
    most: Most = 100_000,
    at_least: AtLeast = None,
    lr: Lr = 0.1,
    dim: Dim = 100,
    epoch: Epoch = None,
    min_count: MinCount = 1,
    word_ngrams: WordNgrams = 1,
    bucket: Bucket = 2_000_000,
    model: Model = "static",
    inverse_l2: InverseL2 = 10.0,
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

    own = (lr, dim, WINDOW, epoch, min_count, word_ngrams, bucket)
    settings = Settings(kind.value, *own, model=model, inverse_l2=inverse_l2)
    plan = Plan(settings, high, calibration.value, calibrate, held_out)
    learning = Learning(labels or (), positive or (), negative or (), plan, seed, most, at_least)
    options = Options(engine.value, workers, address)
    with interruptible(), watching(quiet=as_json) as watch:
        found = api.learn_quality(out, learning, store=store, options=options, watch=watch)
    show({"artifact": found.id, "card": found.card}, as_json, lambda console: _draw(console, found))


def _draw(console: Any, found: "Artifact") -> None:
    """Id, figures and warnings, for people."""

    def say(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    say(found.id)
    for m in found.card["metrics"]:
        if m["value"] is not None:
            say(f"{m['name']}: {m['value']:.4f} ({m['low']:.4f} to {m['high']:.4f})")
    for warning in found.card["warnings"]:
        say(f"warning: {warning}")
