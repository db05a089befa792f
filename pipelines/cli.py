"""The command line: thin skins over `pipelines.api`, for people and, with `--json`, for machines.

Exit codes: 0 done, 2 the spec or the command is wrong, 3 the data, 4 a stage, 5 storage, 130 interrupted.
"""

import io
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.cli_index import index
from pipelines.commands.ablate import ablate
from pipelines.commands.artifacts import artifacts, report_artifact
from pipelines.commands.label import label
from pipelines.commands.learn import learn
from pipelines.commands.scaling import scaling
from pipelines.commands.serve import serve
from pipelines.commands.shared import (
    Address,
    AsJson,
    EngineChoice,
    EngineName,
    Several,
    StorePath,
    Workers,
    answer,
    interruptible,
)
from pipelines.commands.submit import submit
from pipelines.commands.token import token
from pipelines.run import Options
from stages.artifacts import PREFIX
from stages.errors import SpecError, TamisError

app = typer.Typer(
    name="tamis",
    help="Curates pretraining corpora for language models and proves what the curation was worth.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(index, name="index")
app.add_typer(learn, name="learn")
app.add_typer(scaling, name="scaling")
app.add_typer(token, name="token")
app.command()(artifacts)
app.command()(label)
app.command()(serve)
app.command()(submit)
app.command(cls=Several)(ablate)


class Fate(StrEnum):
    """What became of a document."""

    kept = "kept"
    rejected = "rejected"
    quarantined = "quarantined"


class Format(StrEnum):
    """What an export is written as."""

    parquet = "parquet"
    jsonl = "jsonl"
    litdata = "litdata"
    mds = "mds"
    megatron = "megatron"
    webdataset = "webdataset"


SpecPath = Annotated[Path, typer.Argument(metavar="SPEC", help="A YAML or JSON file.")]
RunName = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or a spec's name.")]
Changes = Annotated[
    list[str] | None, typer.Option("--set", metavar="PATH=VALUE", help="Change one field of the spec; may be repeated.")
]
Roots = Annotated[
    list[str] | None, typer.Option("--root", help="Only read inputs below this folder or prefix; may be repeated.")
]


@app.command()
def run(  # noqa: PLR0913, PLR0917 - options of one command
    spec: SpecPath,
    changes: Changes = None,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.auto,
    workers: Workers = None,
    address: Address = None,
    roots: Roots = None,
    accept_changed_inputs: Annotated[
        bool, typer.Option("--accept-changed-inputs", help="Start anew where inputs changed under an interrupted run.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Curate a corpus: plan, measure, judge, export; resumes what was interrupted.

    Example: [bold]tamis run pipelines/specs/quickstart.yaml --set source.shard_bytes=8000000[/bold]
    """
    from pipelines.terminal import console, show_run, watching  # noqa: PLC0415 - rich is for commands that draw

    options = Options(engine.value, workers, address, tuple(roots) if roots else None, accept_changed_inputs)
    parsed = api.as_spec(spec, _changes(changes))
    with interruptible(), watching(quiet=as_json) as watch:
        done = api.run(parsed, store=store, options=options, watch=watch)
    if as_json:
        answer(done)
    else:
        show_run(console(), api.view(done["run"], store=store))


@app.command()
def plan(
    spec: SpecPath,
    changes: Changes = None,
    store: StorePath = api.DEFAULT_STORE,
    roots: Roots = None,
    as_json: AsJson = False,
) -> None:
    """Show what a run would do: steps, keys, hit or miss and why, time and bytes. Touches nothing.

    Example: [bold]tamis plan web-en.yaml[/bold]
    """
    found = api.plan(api.as_spec(spec, _changes(changes)), store=store, roots=roots)
    _show(found, as_json, lambda t: t.show_plan(t.console(), found))


@app.command()
def status(run: RunName, store: StorePath = api.DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Show where a run stands, or what came of it.

    Example: [bold]tamis status web-en[/bold]
    """
    found = api.status(run, store=store)
    _show(found, as_json, lambda t: t.show_status(t.console(), found))


@app.command()
def runs(store: StorePath = api.DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List the runs of a store.

    Example: [bold]tamis runs --store s3://bucket/tamis[/bold]
    """
    found = api.runs(store=store).to_pylist()
    _show(found, as_json, lambda t: t.show_runs(t.console(), found))


@app.command()
def explain(
    run: RunName,
    doc_id: Annotated[str, typer.Argument(metavar="DOC_ID", help="A doc_id (or its beginning), or your own id.")],
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show a document's fate: every rule with value and threshold, its twin, its position, where it came from.

    Example: [bold]tamis explain web-en 7d1c04c7[/bold]
    """
    found = api.explain(run, doc_id, store=store)
    _show(found, as_json, lambda t: t.show_explanation(t.console(), found))


@app.command("what-if")
def what_if(
    run: RunName,
    rules: Annotated[
        list[str], typer.Option("--rule", metavar="COLUMN<=VALUE", help="A threshold to try; may be repeated.")
    ],
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Show what other thresholds would keep, from stored columns; no text is read.

    Example: [bold]tamis what-if web-en --rule "lang.p_en>=0.8"[/bold]
    """
    found = api.what_if(run, rules, store=store)
    _show(found, as_json, lambda t: t.show_what_if(t.console(), found))


@app.command()
def sample(
    run: RunName,
    fate: Annotated[Fate, typer.Option("--fate", help="Which documents.")] = Fate.rejected,
    reason: Annotated[str | None, typer.Option("--reason", help="Only those with this reason.")] = None,
    n: Annotated[int, typer.Option("-n", help="How many.", min=1, max=10_000)] = 20,
    seed: Annotated[int, typer.Option("--seed", help="Another seed gives other documents.")] = 0,
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Look at documents of one fate, chosen by hash.

    Example: [bold]tamis sample web-en --fate rejected --reason gopher-quality/short-doc -n 5[/bold]
    """
    found = api.sample(run, fate=fate.value, reason=reason, n=n, seed=seed, store=store).to_pylist()
    _show(found, as_json, lambda t: t.show_sample(t.console(), found))


@app.command()
def export(  # noqa: PLR0913, PLR0917 - options of one command
    run: RunName,
    out: Annotated[Path, typer.Option("--out", help="A folder that does not exist yet or is empty.")],
    format: Annotated[Format, typer.Option("--format", help="What to write.")] = Format.parquet,  # noqa: A002 - the option's word
    columns: Annotated[
        str | None,
        typer.Option(
            "--columns",
            help="Columns to write, such as doc_id,text,tokens.ids.",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="FIELD=VALUE", help="Change a field of the format, or shard_bytes; may be repeated."
        ),
    ] = None,
    store: StorePath = api.DEFAULT_STORE,
    engine: EngineChoice = EngineName.local,
    workers: Workers = None,
    address: Address = None,
    as_json: AsJson = False,
) -> None:
    """Write a run's curated documents in final order to a folder, with manifest, checksums, card and metadata.

    parquet, jsonl: documents; token ids too when --columns names tokens.ids.
    webdataset: documents and, where the run has them, their token ids.
    litdata, megatron, mds: the token ids of a run that has a step of kind
    tokens; mds takes --columns beside them.

    An end-of-text token follows each document unless --set end_of_text=false,
    ids have 16 bits where the vocabulary fits, and tokenizer.json lies beside
    the data. README.md there shows how to load it. The fields that --set knows:
    tamis stages megatron.

    Example: [bold]tamis export web-en --format megatron --out ./tokens[/bold]
    """
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    with interruptible(), watching(quiet=as_json) as watch:
        options = Options(engine.value, workers, address)
        settings = _changes(changes)
        if columns is not None:
            settings["columns"] = [name.strip() for name in columns.split(",")]
        done = api.export(
            run, format=format.value, out=out, settings=settings, options=options, store=store, watch=watch
        )
    _show(done, as_json, lambda t: t.show_export(t.console(), done))


@app.command()
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A run's id, prefix or spec's name; an ablation's; or artifact:NAME.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write the page (.html) or its numbers (.json) here.")
    ] = None,
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Write the report: one self-contained page, readable on a phone and in dark mode; the same numbers as JSON.

    The page of a run or an ablation is in its folder of the store. The page of an artifact (what it likes, what it hates, its curves) goes to
    --out, or to NAME-KEY.html in the current folder.

    Example: [bold]tamis report web-en --out report.html[/bold] or [bold]tamis report artifact:hq[/bold]
    """
    if run.startswith(PREFIX):
        report_artifact(run, out, store, as_json=as_json)
        return
    html, numbers = api.report(run, store=store)
    if as_json:
        sys.stdout.write(numbers + "\n")
    if out is not None:
        api.write_file(out, numbers if out.suffix == ".json" else html)
    if not as_json:
        place = out or f"{store.rstrip('/')}/{api.report_place(run, store=store)}/report.html"
        sys.stdout.write(f"{place}\n")


@app.command()
def stages(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help="Only this stage.")] = None, as_json: AsJson = False
) -> None:
    """List every stage with its columns, units and examples.

    Example: [bold]tamis stages text_stats[/bold]
    """
    found = api.stages(kind)
    _show(found, as_json, lambda t: t.show_stages(t.console(), found, alone=kind is not None))


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what is missing on this machine and how to get it.

    Example: [bold]tamis doctor[/bold]
    """
    found = api.doctor()
    _show([c.json() for c in found] if as_json else found, as_json, lambda t: t.show_doctor(t.console(), found))


def _changes(given: list[str] | None) -> dict[str, Any]:
    from pipelines.spec import parse_change  # noqa: PLC0415 - only where something is changed

    return dict(parse_change(text) for text in given or [])


def _show(value: Any, as_json: bool, draw: Callable[[Any], None]) -> None:  # noqa: FBT001 - the flag of every command
    if as_json:
        answer(value)
        return
    from pipelines import terminal  # noqa: PLC0415 - rich is for people

    draw(terminal)


def main() -> None:
    """Run the command line, turn errors into one sentence and an exit code, and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal that cannot show a character must not end a run
    code = _exit_code()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except BrokenPipeError:
        code = SpecError.exit_code
    # Arrow aborts a process that ends in the ordinary way while one of its threads is starting; nothing is left to do.
    os._exit(code)


def _exit_code() -> int:
    try:
        app()
    except SystemExit as error:
        if isinstance(error.code, str):
            sys.stderr.write(f"{error.code}\n")
            return 1
        return error.code or 0
    except TamisError as error:
        if "--json" in sys.argv:
            answer(error.problem())
        sys.stderr.write(f"tamis: {error.message}\n")
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SpecError.exit_code
    return 0


if __name__ == "__main__":
    main()
