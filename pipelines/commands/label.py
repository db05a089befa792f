"""`tamis label`: rounds of active learning over a run's documents."""

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


class Measure(StrEnum):
    """What makes a document worth asking about."""

    entropy = "entropy"
    margin = "margin"
    least_confidence = "least_confidence"
    vote_entropy = "vote_entropy"
    mean_kl = "mean_kl"
    density = "density"
    k_center = "k_center"
    random = "random"


class PoolName(StrEnum):
    """Which documents of a run may be asked about."""

    kept = "kept"
    all = "all"


RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or a spec's name.")]
Learner = Annotated[str, typer.Option("--learner", help="The artifact that becomes of it: artifact:NAME in a spec.")]
OracleName = Annotated[str, typer.Option("--oracle", metavar="file:PATH|llm:PROFILE|human", help="Who answers.")]
Acquire = Annotated[Measure, typer.Option("--acquire", help="What to ask about.")]
Budget = Annotated[int, typer.Option("--budget", help="Documents asked about, in all.", min=2)]
Rounds = Annotated[int, typer.Option("--rounds", help="Batches; the scorer is fitted anew after each.", min=1)]
Seed = Annotated[int, typer.Option("--seed", help="Another seed draws other documents.")]
Pool = Annotated[PoolName, typer.Option("--pool", help="Which documents of the run.")]
HeldOut = Annotated[
    float, typer.Option("--held-out", help="The share of the budget that measures and does not teach.", min=0, max=0.8)
]
Labels = Annotated[str, typer.Option("--labels", help="What a person chooses from, with commas.")]
High = Annotated[
    str | None, typer.Option("--high", help="The label whose probability is p_high; default: guessed of two.")
]
Patience = Annotated[int, typer.Option("--patience", help="Rounds without gain before it stops; 0: never.", min=0)]
Control = Annotated[bool, typer.Option("--control", help="Ask for as many random labels too, to compare with.")]
Model = Annotated[str, typer.Option("--model", help="The encoder: static, minilm or a folder.")]


def label(  # noqa: PLR0913, PLR0917 - options of one command
    run: RunName,
    learner: Learner,
    oracle: OracleName,
    acquire: Acquire = Measure.entropy,
    budget: Budget = 500,
    rounds: Rounds = 10,
    seed: Seed = 0,
    pool: Pool = PoolName.kept,
    held_out: HeldOut = 0.2,
    labels: Labels = "high,low",
    high: High = None,
    patience: Patience = 3,
    control: Control = False,
    model: Model = "static",
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Label the documents that teach a scorer most, in rounds; ends with a quality artifact. Resumes, and asks nothing twice.

    Example: [bold]tamis label web-en --learner edu --oracle llm:profile.yaml --budget 400 --rounds 8[/bold]
    """
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    choices = [name.strip() for name in labels.split(",") if name.strip()]
    fields: dict[str, Any] = {
        "learner": learner,
        "oracle": oracle,
        "acquire": acquire.value,
        "budget": budget,
        "rounds": rounds,
    }
    fields |= {"seed": seed, "pool": pool.value, "held_out": held_out, "labels": choices, "high": high}
    request = api.label_request(fields | {"patience": patience, "control": control, "model": model})
    options = Options(engine.value, workers, address)
    advice = "every label is kept, and the same command goes on from here"
    # A bar would redraw over the document that a person reads.
    with interruptible(advice), watching(quiet=as_json or request.oracle == "human") as watch:
        done = api.label(run, request, store=store, options=options, person=_person, watch=watch)
    show(done, as_json, lambda page: _draw(page, done))


def _person() -> Any:
    from rich.console import Console  # noqa: PLC0415 - only where a person is asked

    from pipelines.terminal.labelling import Keyboard  # noqa: PLC0415 - the same

    return Keyboard(Console(stderr=True, highlight=False, markup=False, emoji=False))


def _draw(page: Any, done: Any) -> None:
    from pipelines.terminal.labelled import show_labelled  # noqa: PLC0415 - for people

    show_labelled(page, done)
