"""One function for each command: prints its answer on a console."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from pipelines.doctor import Check
from pipelines.explain import Explanation
from pipelines.quantities import count, size
from pipelines.terminal.documents import documents, explanation
from pipelines.terminal.outcome import funnel, runs
from pipelines.terminal.parts import KEPT, SOFT, plain
from pipelines.terminal.tables import doctor, plan_table, stage_page, stages_table
from pipelines.terminal.watch import standing_of
from pipelines.terminal.what_if import what_if
from pipelines.view import RunView

#: Columns of a page where nothing says how wide it is (a pipe, a log).
_WIDE = 120


def console(*, errors: bool = False) -> Console:
    """A console on the standard output (or error); text is not coloured by guesswork, and a pipe is 120 wide."""
    made = Console(stderr=errors, highlight=False, markup=False, emoji=False)
    if not made.is_terminal:
        made = Console(stderr=errors, highlight=False, markup=False, emoji=False, width=_WIDE)
    return made


def show_run(page: Console, view: RunView) -> None:
    """The funnel of a finished run, and where its export and report are."""
    root = view.store.url.rstrip("/")
    page.print(
        funnel(view.run, view.ledger, export=view.record["export"], report=f"{root}/runs/{view.run}/report.html")
    )


def show_plan(page: Console, preview: Mapping[str, Any]) -> None:
    """What a run would do."""
    page.print(plan_table(preview))
    for one in preview["ablations"]:
        arms = ", ".join(one["arms"])
        facts = f"{count(one['runs'])} runs, {count(one['tokens'])} tokens to train: {arms}"
        page.print(plain(f"ablation {one['name']}: {facts}", SOFT), soft_wrap=True)


def show_status(page: Console, status: Mapping[str, Any]) -> None:
    """Where a run stands, or what came of it."""
    page.print(Text.assemble(plain(status["run"], "bold"), ": ", status["state"]))
    total, event = status["total"], status["event"]
    if total:
        for name in ("documents_in", "exported", "rejected", "quarantined"):
            page.print(Text.assemble((f"{name.removeprefix('documents_'):12}", SOFT), f"{count(total[name]):>14}"))
        page.print(plain(f"export {status['export']}", KEPT))
    elif event:
        page.print(standing_of(event))


def show_runs(page: Console, listed: Sequence[Mapping[str, Any]]) -> None:
    """The runs of a store."""
    page.print(runs(listed))


def show_explanation(page: Console, it: Explanation) -> None:
    """Why one document stayed or went."""
    page.print(explanation(it))


def show_what_if(page: Console, answer: Mapping[str, Any]) -> None:
    """Other thresholds next to those of the run."""
    page.print(what_if(answer))


def show_sample(page: Console, found: Sequence[Mapping[str, Any]]) -> None:
    """Documents, one below the other."""
    page.print(documents(found))


def show_export(page: Console, done: Mapping[str, Any]) -> None:
    """Where an export is and what it holds."""
    facts = [f"{count(done[k])} {k}" for k in ("documents", "files") if isinstance(done.get(k), int)]
    facts += [f"{count(done['tokens'])} tokens"] if isinstance(done.get("tokens"), int) else []
    facts += [f"{size(done['bytes'])} of text"] if isinstance(done.get("bytes"), int) else []
    page.print(plain(", ".join(facts)) if facts else Text())
    page.print(plain(str(done["path"]), KEPT), soft_wrap=True)


def show_stages(page: Console, stages: Sequence[Mapping[str, Any]], *, alone: bool) -> None:
    """Every stage as a table, or one in full."""
    if not alone:
        page.print(stages_table(stages))
        return
    for stage in stages:
        page.print(stage_page(stage))


def show_doctor(page: Console, checks: Sequence[Check]) -> None:
    """What is there, what is missing, and how to get it."""
    page.print(doctor(checks))
