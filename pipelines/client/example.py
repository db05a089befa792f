"""A tour of the service from Python, step by step, as one would in a notebook.

    export TAMIS_SERVER=http://127.0.0.1:8321 TAMIS_TOKEN=tamis_...
    python -m pipelines.client.example SPEC OUT

SPEC is a spec that the service may run; its curated documents end up in the folder OUT.
"""

# ruff: noqa: T201 - a notebook shows what it finds

import asyncio
import sys
from pathlib import Path

import pyarrow.compute as pc

from pipelines.client import AsyncClient, Client, Event, TamisError


def curate(tamis: Client, spec: Path) -> str:
    """Submit a spec and wait for its run; gives the job."""
    # 1. What would it do, and what becomes of the first documents?
    plan = tamis.validate(spec).check().plan or {}
    print("steps:", ", ".join(step["step"] for step in plan["steps"]))
    print("first documents:", tamis.preview(spec, 20).total)

    # 2. Submit it. Whatever happens to the connection, this is one job.
    run = tamis.submit(spec)
    print("job:", run.id, run.state)

    # 3. Wait. The run fails of an error of the same class as here, which `check` raises.
    run = tamis.wait(run.id, hear=_show).check()
    print("total:", run.total)
    return run.id


def look(tamis: Client, job: str) -> None:
    """Look inside a finished run."""
    # 4. Rejected documents as an Arrow table; frame="pandas" and frame="polars" give theirs.
    table = tamis.documents(job, fate="rejected", text=200)
    print("rejected:", table.num_rows, "columns:", ", ".join(table.column_names))
    print("reasons:", pc.value_counts(pc.list_flatten(table["reasons"])).to_pylist())

    # 5. Why was the first of them dropped?
    for document in table["doc_id"].to_pylist()[:1]:
        rules = tamis.explain(job, document, frame="arrow").to_pylist()
        print("why:", [(r["reason"], r["value"], r["threshold"]) for r in rules if r["status"] == "fail"])

    # 6. What would another threshold keep? The first rule that asks for at least a number, a little lower.
    for rule in tamis.report(job, "json")["rules"]:
        values = [found["value"] for found in rule["resolved"]]
        if rule["test"] == "ge" and len(values) == 1 and isinstance(values[0], (int, float)):
            print(tamis.what_if(job, [f"{rule['column']}>={values[0] * 0.8}"]).to_pylist())
            break


def keep(tamis: Client, job: str, out: Path) -> None:
    """Bring the export here."""
    # 7. Every checksum is verified; the same call goes on after a break, and fetches nothing twice.
    done = tamis.download(job, out)
    print("export:", done.folder, "files:", len(done.files), "bytes:", done.fetched)


async def at_once(job: str) -> None:
    """The same calls, awaited: several at once."""
    # 8. Without arguments a client asks the service at TAMIS_SERVER with the token in TAMIS_TOKEN.
    async with AsyncClient() as tamis:
        run, steps, artifacts = await asyncio.gather(tamis.run(job), tamis.steps(job), tamis.artifacts())
        print("at once:", run.state, [f"{step.name} {step.state}" for step in steps], len(artifacts))
        print("events:", [event.number async for event in tamis.events(job)])


def main(spec: str, out: str) -> None:
    """Go through all of it."""
    with Client() as tamis:
        job = curate(tamis, Path(spec))
        look(tamis, job)
        keep(tamis, job, Path(out))
    asyncio.run(at_once(job))


def _show(event: Event) -> None:
    print("  ", event.number, event.type, event.state or event.data.get("step") or event.data.get("note") or "")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except TamisError as error:
        sys.exit(f"{error.message}")
