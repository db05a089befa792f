"""`tamis scaling`: what models of several sizes say about others."""

from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.commands.shared import AsJson, Several, interruptible, show

scaling = typer.Typer(help="Fit scaling laws to training runs.", no_args_is_help=True)


@scaling.callback()
def _group() -> None:
    """Fit scaling laws to training runs."""


@scaling.command("fit", cls=Several)
def fit(  # noqa: PLR0913, PLR0917 - options of one command
    file: Annotated[
        Path, typer.Argument(metavar="FILE.csv", help="Columns parameters, tokens, loss; optional: arm, unique_tokens.")
    ],
    budget: Annotated[
        list[float] | None, typer.Option("--budget", metavar="FLOPS...", help="To be spent best, such as 1e21.")
    ] = None,
    unique_tokens: Annotated[
        float | None, typer.Option("--unique-tokens", help="Distinct tokens there are for the budgets; others repeat.")
    ] = None,
    bootstrap: Annotated[
        int, typer.Option("--bootstrap", help="Samples of the runs for intervals; 0: none.", min=0, max=100_000)
    ] = 1000,
    baseline: Annotated[
        str | None, typer.Option("--baseline", metavar="ARM", help="What arms are compared with; default: the first.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the bootstrap.", min=0)] = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the page (.html) or the numbers (.json) here.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Fit L = E + A/N^alpha + B/D^beta with intervals, and tell the best model and tokens for a budget.

    With an arm column each arm is fitted, and the answer says whether better data moves the exponent or the offset.

    Example: [bold]tamis scaling fit runs.csv --budget 1e21 1e22 --out scaling.html[/bold]
    """
    from pipelines.report import scaling as page  # noqa: PLC0415 - Jinja is only needed where a page is made

    with interruptible("nothing was written"):
        found = api.scaling_fit(
            file,
            budgets=budget or (),
            unique_tokens=unique_tokens,
            resamples=bootstrap,
            baseline=baseline,
            seed=seed,
        )
    if out is not None:
        api.write_file(out, page.text(found) if out.suffix == ".json" else page.render(found))
    show(found, as_json, lambda console: _draw(console, found, out))


def _draw(console: Any, found: dict[str, Any], out: Path | None) -> None:
    from pipelines.terminal.scaling import lines  # noqa: PLC0415 - rich is for people

    for line in lines(found):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if out is not None:
        console.print(str(out), markup=False, highlight=False, soft_wrap=True)
