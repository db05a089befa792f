"""What the artifacts of a store are (`tamis artifacts`), and the page of one of them (`tamis report artifact:NAME`)."""

import json
import sys
from pathlib import Path

from pipelines import api
from pipelines.commands.shared import AsJson, StorePath, show


def artifacts(store: StorePath = api.DEFAULT_STORE, as_json: AsJson = False) -> None:
    """List what was learned and is kept in a store: names, the newest id of each, its kind and what it is.

    Example: [bold]tamis artifacts --store s3://bucket/tamis[/bold]
    """
    from pipelines.terminal.artifacts import artifacts_table  # noqa: PLC0415 - rich is for people

    found = api.artifacts(store=store).to_pylist()
    show(found, as_json, lambda page: page.print(artifacts_table(found)))


def report_artifact(reference: str, out: Path | None, store: str, *, as_json: bool) -> None:
    """Write the page of an artifact to `out`, or print its numbers; without either, write NAME-KEY.html here."""
    html, numbers = api.report(reference, store=store)
    if as_json:
        sys.stdout.write(numbers + "\n")
    if out is None and not as_json:
        out = Path(f"{json.loads(numbers)['artifact']}.html")
    if out is not None:
        api.write_file(out, numbers if out.suffix == ".json" else html)
    if not as_json:
        sys.stdout.write(f"{out}\n")
