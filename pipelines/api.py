"""tamis from Python: the same calls as on the command line, without a server; results as Arrow tables or plain data.

from pipelines.api import run, explain
done = run("web-en.yaml", store="./tamis-store")
explain(done["run"], "7d1c…", store="./tamis-store")
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from pipelines import spec as specs
from pipelines.api_learning import (
    label,
    label_request,
    learn_frequencies,
    learn_importance,
    learn_ngram,
    learn_quality,
    learn_tokenizer,
)
from pipelines.export import export_to
from pipelines.opening import DEFAULT_STORE, open_store, view
from pipelines.preview import preview
from pipelines.progress import NullWatch, Watch
from pipelines.run import Options
from pipelines.run import run as run_spec
from pipelines.runs import FINISHED, RunFolder, find_run, last_event, list_runs
from pipelines.spec import Spec
from pipelines.store import Store
from stages.artifacts import PREFIX
from stages.catalog import did_you_mean
from stages.errors import SpecError, StorageError

if TYPE_CHECKING:
    from pipelines.index.asking import Question
    from pipelines.index.commands import Banding, Storage, Taking

__all__ = [
    "DEFAULT_STORE",
    "Options",
    "artifacts",
    "as_spec",
    "doctor",
    "documents",
    "explain",
    "export",
    "index_add",
    "index_info",
    "index_query",
    "index_remove",
    "label",
    "label_request",
    "learn_frequencies",
    "learn_importance",
    "learn_ngram",
    "learn_quality",
    "learn_tokenizer",
    "open_store",
    "plan",
    "report",
    "run",
    "run_id",
    "runs",
    "sample",
    "stages",
    "status",
    "view",
    "what_if",
    "write_file",
]

SpecLike = Spec | Mapping[str, Any] | str | Path


def as_spec(spec: SpecLike, changes: Mapping[str, Any] | None = None) -> Spec:
    """A spec from a file, a mapping or a spec."""
    if isinstance(spec, Spec):
        return spec
    return specs.from_data(spec, None, changes) if isinstance(spec, Mapping) else specs.load(spec, changes)


def run(
    spec: SpecLike,
    *,
    store: str | Path | Store | None = None,
    options: Options | None = None,
    changes: Mapping[str, Any] | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Run a spec to its end, resuming what was interrupted; gives `{"run", "export", "total"}`.

    Raises:
        TamisError: see `stages.errors`; the class says who can mend it.
    """
    return run_spec(as_spec(spec, changes), open_store(store, create=True), options, watch)


def plan(
    spec: SpecLike,
    *,
    store: str | Path | Store | None = None,
    changes: Mapping[str, Any] | None = None,
    roots: Sequence[str] | None = None,
) -> dict[str, Any]:
    """What a run would do: steps, keys, hits and misses with the field at fault, time and bytes. Touches nothing."""
    where = str(store.url if isinstance(store, Store) else store or os.environ.get("TAMIS_STORE") or DEFAULT_STORE)
    return preview(as_spec(spec, changes), where, roots)


def explain(run: str, doc_id: str, *, store: str | Path | Store | None = None) -> Any:
    """A document's fate: every rule with value and threshold, the twin that stayed, provenance and position."""
    from pipelines.explain import explain as explain_document  # noqa: PLC0415 - readers load what they use

    return explain_document(view(run, store=store), doc_id)


def what_if(run: str, rules: Sequence[str], *, store: str | Path | Store | None = None) -> Any:
    """What other thresholds would keep, from stored columns."""
    from pipelines.what_if import what_if as judge_again  # noqa: PLC0415 - readers load what they use

    return judge_again(view(run, store=store), list(rules))


def sample(
    run: str, *, fate: str, reason: str | None = None, n: int = 20, seed: int, store: str | Path | Store | None = None
) -> pa.Table:
    """Documents of one fate, chosen by hash: their ids, origin, fate, reasons, values (a struct) and text."""
    from pipelines.sample import sample as draw_sample  # noqa: PLC0415 - readers load what they use

    return pa.Table.from_pylist(draw_sample(view(run, store=store), fate=fate, reason=reason, n=n, seed=seed))


def export(
    run: str,
    *,
    format: str = "parquet",  # noqa: A002 - the command's own word
    out: str | Path,
    options: Options | None = None,
    store: str | Path | Store | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Write a run's kept documents in final order to a folder, with manifest, checksums, card and Croissant metadata."""
    return export_to(view(run, store=store), format, Path(out), options or Options(), watch)


def runs(*, store: str | Path | Store | None = None) -> pa.Table:
    """Every run of a store, oldest first: its id, name, creation time, state and totals (a struct)."""
    return pa.Table.from_pylist(list_runs(open_store(store)))


def documents(run: str, columns: Sequence[str], *, store: str | Path | Store | None = None) -> Iterator[pa.RecordBatch]:
    """Every document of a run with `doc_id` and these columns, a row group at a time, in the order of the shards.

    Raises:
        SpecError: the run has no such column.
    """
    seen = view(run, store=store)
    for name in columns:
        if name not in seen.fields:
            raise SpecError(
                f"the run {seen.run} has no column {name!r}{did_you_mean(name, list(seen.fields))}", column=name
            )
    for shard in seen.shards:
        yield from seen.batches(shard, columns)


def run_id(run: str, *, store: str | Path | Store | None = None) -> str:
    """The id of the run with that id, unique prefix, or spec name."""
    return find_run(open_store(store), run)


def status(run: str, *, store: str | Path | Store | None = None) -> dict[str, Any]:
    """Where a run stands: `state`, the last event of an unfinished run, the totals of a finished one."""
    opened = open_store(store)
    folder = RunFolder(opened, find_run(opened, run))
    ledger = folder.find(FINISHED)
    event = last_event(folder)
    state = "finished" if ledger else "unfinished"
    return {
        "run": folder.run,
        "state": state,
        "event": event,
        "export": folder.find("result.json")["export"] if ledger else None,
        "total": ledger["total"] if ledger else None,
    }


def report(run: str, *, store: str | Path | Store | None = None) -> tuple[str, str]:
    """The report of a finished run, or of `artifact:NAME`, as an HTML page and as JSON text.

    Raises:
        SpecError: there is no such run or artifact.
        StorageError: the run has not finished, or the artifact's record is damaged.
    """
    if run.startswith(PREFIX):
        return _learned(run, store)
    seen = view(run, store=store)
    from pipelines.report import write  # noqa: PLC0415 - readers load what they use

    write(seen)
    page, numbers = (seen.store.get(f"runs/{seen.run}/report.{kind}") for kind in ("html", "json"))
    return page.decode(), numbers.decode()


def _learned(reference: str, store: str | Path | Store | None) -> tuple[str, str]:
    import json  # noqa: PLC0415 - only what is learned is written here

    from pipelines.report import learned  # noqa: PLC0415 - readers load what they use

    found = learned.collect(open_store(store), reference)
    return learned.render(found), json.dumps(found, ensure_ascii=False, indent=2)


def artifacts(*, store: str | Path | Store | None = None) -> pa.Table:
    """The artifacts of a store by name: the newest's id, kind, what it is, when it was named, and what is wrong with it."""
    from pipelines.artifacts import listed  # noqa: PLC0415 - readers load what they use

    fields = [(name, pa.string()) for name in ("name", "id", "kind", "what")]
    schema = pa.schema([*fields, ("created", pa.float64()), ("problem", pa.string())])
    return pa.Table.from_pylist(listed(open_store(store)), schema)


def write_file(path: Path, text: str) -> None:
    """Write a text file that the user named.

    Raises:
        StorageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(
            f"cannot write {str(path)!r}: {error}; choose another place with --out", path=str(path)
        ) from error


def stages(kind: str | None = None) -> list[dict[str, Any]]:
    """Every stage, or the one of that kind: what it measures, its fields, columns with units, and examples.

    Raises:
        SpecError: no such kind.
    """
    from pipelines.stage_table import stage_table  # noqa: PLC0415 - readers load what they use

    return stage_table(kind)


def index_add(
    index: str,
    run: str,
    *,
    store: str | Path | Store | None = None,
    taking: "Taking | None" = None,
    banding: "Banding | None" = None,
    storage: "Storage | None" = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Take a run's documents into a near-duplicate index; gives how many are new, known or taken down.

    Raises:
        SpecError: the run has no sketches, or ones that cannot be compared with those of the index.
    """
    from pipelines.index import commands  # noqa: PLC0415 - readers load what they use

    choices = taking or commands.Taking(), banding or commands.Banding(), storage or commands.Storage()
    return commands.add(index, view(run, store=store), *choices, watch or NullWatch())


def index_query(
    index: str,
    paths: Sequence[str | Path],
    *,
    store: str | Path | Store | None = None,
    question: "Question | None" = None,
    emit: Callable[[dict[str, Any]], None] | None = None,
    url: str | None = None,
    watch: Watch | None = None,
) -> dict[str, Any]:
    """Look up every document of files in an index; gives the counts, and the documents unless `emit` takes them.

    Raises:
        SpecError: there is no such index.
        DataError: a path matches no file, or a file cannot be read.
    """
    from pipelines.index import asking, commands  # noqa: PLC0415 - readers load what they use

    found: list[dict[str, Any]] = []
    asked = commands.Asking(question or asking.Question(), emit or found.append, watch or NullWatch(), url)
    counts = commands.query(open_store(store), index, [str(p) for p in paths], asked)
    return counts if emit else {"results": found, **counts}


def index_remove(
    index: str,
    doc_ids: Sequence[str],
    *,
    corpus: str | None = None,
    url: str | None = None,
    store: str | Path | Store | None = None,
) -> dict[str, Any]:
    """Take documents out of an index for good, by doc_id or their own id; gives what was removed.

    Raises:
        SpecError: there is no such index or document.
    """
    from pipelines.index import commands  # noqa: PLC0415 - readers load what they use

    return commands.remove(open_store(store), index, doc_ids, corpus, url)


def index_info(index: str, *, url: str | None = None, store: str | Path | Store | None = None) -> dict[str, Any]:
    """What an index holds, how its sketches were made, and how probably it finds a twin.

    Raises:
        SpecError: there is no such index.
    """
    from pipelines.index import commands  # noqa: PLC0415 - readers load what they use

    return commands.info(open_store(store), index, url)


def doctor() -> Any:
    """What is missing on this machine and how to get it."""
    from pipelines.doctor import doctor as examine  # noqa: PLC0415 - readers load what they use

    return examine()
