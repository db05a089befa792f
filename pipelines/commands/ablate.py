"""`tamis ablate`: train arms of a run on equal terms, and say what the curation was worth."""

from enum import StrEnum
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.ablation.request import AblateRequest
from pipelines.commands.shared import Address, AsJson, EngineChoice, EngineName, StorePath, Workers, interruptible, show
from pipelines.run import Options
from stages.errors import SpecError


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


Option = typer.Option
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or a spec's name.")]
Panel = Annotated[
    list[str], Option("--panel", help="Held-out text: files, folders or globs; never part of the corpus.")
]
Arms = Annotated[
    str, Option("--arms", help="unfiltered, curated, random, unordered, again, leave-one-out, shapley; with commas.")
]
OwnArm = Annotated[
    list[str] | None,
    Option("--arm", metavar="NAME=RUN|SPEC.yaml", help="An arm of another run or spec; may be repeated."),
]
Baseline = Annotated[str, Option("--baseline", help="The arm that the others are compared with.")]
Budgets = Annotated[str, Option("--budgets", help="Trained tokens, with commas: 1M,2M,4M.")]
Seeds = Annotated[int, Option("--seeds", help="Trainings of each arm and budget.", min=1)]
Seed = Annotated[int, Option("--seed", help="The first seed.", min=0)]
Parameters = Annotated[str, Option("--parameters", help="Size of the model, such as 1.8M.")]
Context = Annotated[int, Option("--context", help="Tokens of a training sequence.", min=2)]
Tokenizer = Annotated[
    str | None, Option("--tokenizer", help="artifact:NAME; default: that of the run's own step `tokens`.")
]
Probes = Annotated[
    list[str] | None, Option("--probes", help="Files of questions with choices, or of pairs, one a line (JSON).")
]
PanelBytes = Annotated[str, Option("--panel-bytes", help="Text of the panel, for each domain.")]
Rate = Annotated[
    float | None, Option("--learning-rate", help="Default: a bracket around the dial's, on the baseline.", min=0)
]
Schedule = Annotated[ScheduleName, Option("--schedule", help="How the learning rate goes.")]
Equal = Annotated[Terms, Option("--equal", help="What is equal between arms.")]
Repeat = Annotated[Exhausted, Option("--exhausted", help="What follows the last token of an arm that is too small.")]
Look = Annotated[bool, Option("--looks", help="Stop at a budget where every arm is decided.")]
Ladder = Annotated[bool, Option("--ladder", help="Smaller models too, for: tamis scaling fit.")]
Name = Annotated[str, Option("--name", help="What the ablation is called.")]
#: Options that say where the ablation runs, not what it is.
PLACES = frozenset({"run", "own_arms", "store", "engine", "workers", "address", "as_json"})


def ablate(  # noqa: PLR0913, PLR0917 - options of one command
    run: RunName,
    panel: Panel,
    arms: Arms = "unfiltered,curated,random",
    own_arms: OwnArm = None,
    baseline: Baseline = "unfiltered",
    budgets: Budgets = "1M,2M,4M",
    seeds: Seeds = 3,
    seed: Seed = 1,
    parameters: Parameters = "1.8M",
    context: Context = 256,
    tokenizer: Tokenizer = None,
    panel_bytes: PanelBytes = "150k",
    probes: Probes = None,
    learning_rate: Rate = None,
    schedule: Schedule = ScheduleName.wsd,
    equal: Equal = Terms.tokens,
    exhausted: Repeat = Exhausted.repeat,
    looks: Look = False,
    ladder: Ladder = False,
    name: Name = "ablation",
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
    asked = {field: value for field, value in locals().items() if field not in PLACES}
    request = _request(asked, own_arms or [])
    options = Options(engine.value, workers, address)
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    with (
        interruptible("what is trained is kept, and the same command goes on from here"),
        watching(quiet=as_json) as watch,
    ):
        done = api.ablate(run, request, store=store, options=options, watch=watch)
    show(done, as_json, lambda page: _draw(page, done, store))


def _request(asked: dict[str, Any], own_arms: list[str]) -> AblateRequest:
    """What is asked, in the words of the section `ablate:`."""
    named = [part.strip() for part in asked["arms"].split(",") if part.strip()]
    plain = {field: value.value if isinstance(value, StrEnum) else value for field, value in asked.items()}
    return api.ablate_request({**plain, "probes": asked["probes"] or [], "arms": [*named, *map(_arm, own_arms)]})


def _arm(text: str) -> dict[str, str]:
    """`NAME=RUN` or `NAME=SPEC.yaml` as an arm."""
    name, _, origin = text.partition("=")
    if not origin:
        raise SpecError(f"--arm {text!r} does not say what the arm is of; write NAME=RUN or NAME=SPEC.yaml", arm=name)
    return {"name": name, ("spec" if origin.endswith((".yaml", ".yml", ".json")) else "run"): origin}


def _draw(page: Any, done: dict[str, Any], store: str) -> None:
    from pipelines.terminal.ablated import show_ablation  # noqa: PLC0415 - for people

    show_ablation(page, done, store)
