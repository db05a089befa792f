"""`tamis ablate`: train arms of a run on equal terms, and say what the curation was worth."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.commands.shared import Address, AsJson, EngineChoice, EngineName, StorePath, Workers, interruptible, show
from pipelines.run import Options


class Terms(StrEnum):
    """What is equal between arms."""

    tokens = "tokens"
    pool = "pool"
    compute = "compute"


class ScheduleName(StrEnum):
    """How the learning rate goes."""

    wsd = "wsd"
    cosine = "cosine"
    constant = "constant"


class Exhausted(StrEnum):
    """What follows an arm's last token."""

    repeat = "repeat"
    refuse = "refuse"


RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or a spec's name.")]
Panel = Annotated[
    list[str], typer.Option("--panel", help="Held-out text: files, folders or globs; never part of the corpus.")
]
Arms = Annotated[
    str,
    typer.Option("--arms", help="unfiltered, curated, random, unordered, again, leave-one-out, shapley; with commas."),
]
OwnArm = Annotated[
    list[str] | None,
    typer.Option("--arm", metavar="NAME=RUN|SPEC.yaml", help="An arm of another run or spec; may be repeated."),
]
Budgets = Annotated[str, typer.Option("--budgets", help="Trained tokens, with commas: 1M,2M,4M.")]
Tokenizer = Annotated[
    str | None, typer.Option("--tokenizer", help="artifact:NAME; default: that of the run's own step `tokens`.")
]


def ablate(  # noqa: PLR0913, PLR0917 - options of one command
    run: RunName,
    panel: Panel,
    arms: Arms = "unfiltered,curated,random",
    own_arms: OwnArm = None,
    baseline: Annotated[
        str, typer.Option("--baseline", help="The arm that the others are compared with.")
    ] = "unfiltered",
    budgets: Budgets = "1M,2M,4M",
    seeds: Annotated[int, typer.Option("--seeds", help="Trainings of each arm and budget.", min=1)] = 3,
    seed: Annotated[int, typer.Option("--seed", help="The first seed.", min=0)] = 1,
    parameters: Annotated[str, typer.Option("--parameters", help="Size of the model, such as 1.8M.")] = "1.8M",
    context: Annotated[int, typer.Option("--context", help="Tokens of a training sequence.", min=2)] = 256,
    tokenizer: Tokenizer = None,
    panel_bytes: Annotated[str, typer.Option("--panel-bytes", help="Text of the panel, for each domain.")] = "150k",
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Default: a bracket around the dial's, on the baseline.")
    ] = None,
    schedule: Annotated[
        ScheduleName, typer.Option("--schedule", help="How the learning rate goes.")
    ] = ScheduleName.wsd,
    equal: Annotated[Terms, typer.Option("--equal", help="What is equal between arms.")] = Terms.tokens,
    exhausted: Annotated[
        Exhausted, typer.Option("--exhausted", help="What follows the last token of an arm that is too small.")
    ] = Exhausted.repeat,
    looks: Annotated[bool, typer.Option("--looks", help="Stop at a budget where every arm is decided.")] = False,
    ladder: Annotated[bool, typer.Option("--ladder", help="Smaller models too, for: tamis scaling fit.")] = False,
    name: Annotated[str, typer.Option("--name", help="What the ablation is called.")] = "ablation",
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.local,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Train arms of a run and report how many tokens curation saved, with an interval. Resumes; adding an arm trains that arm.

    Arms are views over one token column: nothing is tokenized twice and nothing is copied.

    Example: [bold]tamis ablate web-en --panel held-out/*.jsonl.gz --budgets 1M,2M,4M --seeds 3 --tokenizer artifact:bpe[/bold]
    """
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    fields: dict[str, Any] = {
        "name": name,
        "arms": [*(part.strip() for part in arms.split(",") if part.strip()), *map(_arm, own_arms or [])],
        "baseline": baseline,
        "panel": panel,
        "panel_bytes": panel_bytes,
        "budgets": budgets,
        "seeds": seeds,
        "seed": seed,
        "parameters": parameters,
        "context": context,
        "tokenizer": tokenizer,
        "learning_rate": learning_rate,
        "schedule": schedule.value,
        "equal": equal.value,
        "exhausted": exhausted.value,
        "looks": looks,
        "ladder": ladder,
    }
    request = api.ablate_request(fields)
    options = Options(engine.value, workers, address)
    with (
        interruptible("what is trained is kept, and the same command goes on from here"),
        watching(quiet=as_json) as watch,
    ):
        done = api.ablate(run, request, store=store, options=options, watch=watch)
    show(done, as_json, lambda page: _draw(page, done, store))


def _arm(text: str) -> dict[str, str]:
    """`NAME=RUN` or `NAME=SPEC.yaml` as an arm."""
    name, _, origin = text.partition("=")
    return {"name": name, ("spec" if origin.endswith((".yaml", ".yml", ".json")) else "run"): origin}


def _draw(page: Any, done: dict[str, Any], store: str) -> None:
    from pipelines.terminal.ablated import show_ablation  # noqa: PLC0415 - for people

    show_ablation(page, done, store)
