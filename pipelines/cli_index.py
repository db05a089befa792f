"""`tamis index`: near-duplicate indexes across corpora and time. Thin skins over `pipelines.api`."""

import json
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

import typer

from pipelines import api
from pipelines.commands.shared import AsJson, KindOfFile, StorePath, interruptible
from pipelines.index.asking import Question
from pipelines.index.commands import Banding, Storage, Taking

index = typer.Typer(
    help="Near-duplicate indexes: everything curated before, to be asked for twins.", no_args_is_help=True
)


class Taken(StrEnum):
    """Which documents of a run go into an index."""

    kept = "kept"
    all = "all"


class BackendName(StrEnum):
    """What an index is kept in."""

    store = "store"
    redis = "redis"
    bloom = "bloom"


IndexName = Annotated[str, typer.Argument(metavar="INDEX", help="The index's name in the store.")]
Corpus = Annotated[str | None, typer.Option("--corpus", help="The corpus's name in the index.")]
Url = Annotated[
    str | None, typer.Option("--url", envvar="TAMIS_REDIS_URL", help="redis://host:port/database, for Redis.")
]


@index.command()
def add(  # noqa: PLR0913, PLR0917 - options of one command
    index: IndexName,
    run: Annotated[str, typer.Argument(metavar="RUN", help="A run's id, a unique prefix, or a spec's name.")],
    fate: Annotated[Taken, typer.Option("--fate", help="Which documents.")] = Taken.kept,
    sketch: Annotated[str | None, typer.Option("--sketch", help="The minhash step, where a run has several.")] = None,
    corpus: Corpus = None,
    bands: Annotated[int | None, typer.Option("--bands", help="Of a new index; default: the step's.", min=2)] = None,
    rows: Annotated[int | None, typer.Option("--rows", help="Of a band of a new index.", min=1)] = None,
    threshold: Annotated[
        float | None, typer.Option("--threshold", help="Choose bands and rows for this Jaccard.", min=0, max=1)
    ] = None,
    backend: Annotated[BackendName | None, typer.Option("--backend", help="What keeps a new index.")] = None,
    url: Url = None,
    capacity: Annotated[
        int | None, typer.Option("--capacity", help="Documents that a new Bloom index will hold.", min=1)
    ] = None,
    false_positive_rate: Annotated[
        float, typer.Option("--false-positive-rate", help="Of a new Bloom index at its capacity.", min=0, max=1)
    ] = 1e-6,
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Take a run's documents in, by the sketches of its minhash step; what is in already is left alone.

    Example: [bold]tamis index add seen web-en[/bold]
    """
    from pipelines.terminal import watching  # noqa: PLC0415 - rich is for commands that draw

    taking = Taking(fate.value, sketch, corpus)
    storage = Storage(backend.value if backend else None, url, capacity, false_positive_rate)
    advice = "the index is as it was, and the same command begins again"
    with interruptible(advice), watching(quiet=as_json) as watch:
        done = api.index_add(
            index,
            run,
            store=store,
            taking=taking,
            banding=Banding(bands, rows, threshold),
            storage=storage,
            watch=watch,
        )
    _show(done, as_json, lambda t, page: t.show_added(page, done))


@index.command()
def query(  # noqa: PLR0913, PLR0917 - options of one command
    index: IndexName,
    paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Files, folders or globs; local or s3://.")],
    threshold: Annotated[
        float, typer.Option("--threshold", help="Only twins estimated at least so alike.", min=0, max=1)
    ] = 0.0,
    most: Annotated[int, typer.Option("-n", help="At most so many twins a document.", min=1, max=1000)] = 3,
    kind: KindOfFile = None,
    url: Url = None,
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Look up every document of files, and print its twins: how alike by the sketches, which, and of which corpus.

    Example: [bold]tamis index query seen new/*.jsonl.gz --threshold 0.8[/bold]
    """
    from pipelines.terminal import console, watching  # noqa: PLC0415 - rich is for commands that draw
    from pipelines.terminal.index import show_asked, show_counts  # noqa: PLC0415 - the same

    page = console()
    printer = _JsonDocuments()
    question = Question(most, threshold, kind.value if kind else None)
    with watching(quiet=as_json) as watch:
        emit = printer.add if as_json else lambda document: show_asked(page, document)
        counts = api.index_query(index, paths, store=store, question=question, emit=emit, url=url, watch=watch)
    if as_json:
        printer.end(counts)
    else:
        show_counts(page, counts)


@index.command()
def remove(
    index: IndexName,
    doc_ids: Annotated[list[str], typer.Argument(metavar="DOC_ID...", help="A doc_id, or the document's own id.")],
    corpus: Corpus = None,
    url: Url = None,
    store: StorePath = api.DEFAULT_STORE,
    as_json: AsJson = False,
) -> None:
    """Take documents down for good: no query names them again, and no add brings them back.

    Example: [bold]tamis index remove seen 7d1c04c7b1f94c0e8b8f3f0a4a1e5d22[/bold]
    """
    done = api.index_remove(index, doc_ids, corpus=corpus, url=url, store=store)
    _show(done, as_json, lambda t, page: t.show_removed(page, done))


@index.command()
def info(index: IndexName, url: Url = None, store: StorePath = api.DEFAULT_STORE, as_json: AsJson = False) -> None:
    """Show what an index holds, how its sketches were made, and how probably it finds a twin.

    Example: [bold]tamis index info seen[/bold]
    """
    found = api.index_info(index, url=url, store=store)
    _show(found, as_json, lambda t, page: t.show_info(page, found))


class _JsonDocuments:
    """Prints `{"documents": [...], ...}` as the documents come, so that a long answer is never held."""

    def __init__(self) -> None:
        self._any = False

    def add(self, document: dict[str, Any]) -> None:
        """Print one more document."""
        sys.stdout.write((",\n" if self._any else '{"results": [\n') + json.dumps(document, ensure_ascii=False))
        self._any = True

    def end(self, counts: dict[str, Any]) -> None:
        """Print the rest."""
        begun = "" if self._any else '{"results": ['
        sys.stdout.write(f"{begun}\n], {json.dumps(counts, ensure_ascii=False)[1:]}\n")


def _show(value: dict[str, Any], as_json: bool, draw: Callable[[Any, Any], None]) -> None:  # noqa: FBT001 - the flag of every command
    if as_json:
        sys.stdout.write(json.dumps(value, ensure_ascii=False, indent=2) + "\n")
        return
    from pipelines.terminal import console  # noqa: PLC0415 - rich is for people
    from pipelines.terminal import index as screens  # noqa: PLC0415 - the same

    draw(screens, console())
