"""The folder of a run: what was asked, what was found, what came out; and finding runs again.

    spec.json  plan.json  inputs.json  inputs.parquet  shards.json  result.json  ledger.json  report.html  report.json

A run's id is its spec's name and digest; a spec that runs again over changed inputs gets the next number.
Everything is created once and never changed; `events/` tells where a run stands.
"""

import io
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipelines.plan import Plan
from pipelines.spec import RUN_NAME
from pipelines.store import Store
from stages.catalog import did_you_mean
from stages.errors import DataError, SpecError, StorageError
from stages.fingerprint import KEY_LENGTH, digest

FINISHED = "ledger.json"
LISTED_FILES = 1000


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder."""

    store: Store
    run: str

    def path(self, name: str) -> str:
        """A path in the folder."""
        return f"runs/{self.run}/{name}"

    def find(self, name: str) -> Any:
        """A JSON file of the folder, or None."""
        return self.store.find_json(self.path(name))

    def put(self, name: str, value: Any) -> Any:
        """Create a JSON file if absent; gives what is there then."""
        self.store.create_json(self.path(name), value)
        return self.store.get_json(self.path(name))

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.store.find(self.path(FINISHED)) is not None

    def inputs(self) -> pa.Table | None:
        """The frozen input files, or None before they are frozen."""
        data = self.store.find(self.path("inputs.parquet"))
        # Without threads: one that starts while the process ends aborts it (pyarrow 26).
        return None if data is None else pq.read_table(io.BytesIO(data), use_threads=False)


def open_run(store: Store, plan: Plan, files: pa.Table, *, accept_changed_inputs: bool = False) -> RunFolder:
    """The run of this plan over these files: a finished or interrupted one, or a new one.

    Raises:
        DataError: an interrupted run was planned over other files.
    """
    spec, short = plan.spec, plan.digest[:8]
    number = 1
    while True:
        folder = RunFolder(store, f"{spec.name}-{short}" + (f".{number}" if number > 1 else ""))
        if folder.find("spec.json") is None:
            return _begin(folder, plan, files)
        known = folder.inputs()
        if known is None:
            return _begin(folder, plan, files)
        if known.equals(files):
            return folder
        if not folder.finished and not accept_changed_inputs:
            raise DataError(
                f"the interrupted run {folder.run} was planned over other inputs: {difference(known, files)}; "
                "restore them, or give --accept-changed-inputs to start a new run",
                run=folder.run,
            )
        number += 1


def _begin(folder: RunFolder, plan: Plan, files: pa.Table) -> RunFolder:
    request = {
        "spec": plan.spec.raw,
        "folder": plan.spec.folder,
        "rules": {name: file.model_dump(mode="json", by_alias=True) for name, file in plan.rule_files.items()},
        "created": round(time.time(), 3),
    }
    folder.put("spec.json", request)
    buffer = io.BytesIO()
    pq.write_table(files, buffer, compression="zstd")
    listed = files.slice(0, LISTED_FILES).to_pylist()
    summary = {
        "files": files.num_rows,
        "bytes": pc.sum(files["size"]).as_py() or 0,
        "digest": digest_of(files),
        "table": "inputs.parquet",
        "listed": listed,
    }
    folder.put("inputs.json", summary)
    folder.store.create(folder.path("inputs.parquet"), buffer.getvalue())
    return folder


def digest_of(files: pa.Table) -> str:
    """A key of the list of files."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, files.schema) as writer:
        writer.write_table(files.combine_chunks())
    return digest(sink.getvalue().to_pybytes())[:KEY_LENGTH]


def difference(known: pa.Table, files: pa.Table) -> str:
    """What differs between two lists of files, in a few words."""
    then, now = _versions(known), _versions(files)
    gone, new = sorted(then.keys() - now.keys()), sorted(now.keys() - then.keys())
    changed = sorted(p for p in then.keys() & now.keys() if then[p] != now[p])
    parts = [(gone, "is gone"), (new, "is new"), (changed, "has changed")]
    return "; ".join(
        f"{paths[0]} {verb}" + (f" (and {len(paths) - 1} more)" if len(paths) > 1 else "")
        for paths, verb in parts
        if paths
    )


def _versions(files: pa.Table) -> dict[str, tuple[int, str]]:
    return {r["uri"]: (r["size"], r["version"]) for r in files.to_pylist()}


def list_runs(store: Store) -> list[dict[str, Any]]:
    """Every run of a store: id, name, when it was created, state and totals; oldest first."""
    found = []
    names = sorted({p.split("/")[1] for p in store.list("runs/") if p.endswith("/spec.json")})
    for run in names:
        folder = RunFolder(store, run)
        request = folder.find("spec.json")
        if not isinstance(request, dict) or "spec" not in request:
            path = folder.path("spec.json")
            raise StorageError(f"{path} in the store {store.url} is not a run's request; delete it", path=path)
        ledger = folder.find(FINISHED)
        found.append(
            {
                "run": run,
                "name": request["spec"]["name"],
                "created": request["created"],
                "state": "finished" if ledger else "unfinished",
                "total": ledger["total"] if ledger else None,
            }
        )
    return sorted(found, key=lambda r: (r["created"], r["run"]))


def find_run(store: Store, run: str, *, finished: bool = False) -> str:
    """The id of the run with that id, unique prefix, or spec name: its latest, or its latest finished one if any is.

    Raises:
        SpecError: there is none, or the prefix is not unique.
    """
    if RUN_NAME.match(run) and store.find(f"runs/{run}/spec.json") is not None:
        return run
    known = list_runs(store)
    named = [r for r in known if r["name"] == run]
    if named:
        ended = [r for r in named if r["state"] == "finished"] if finished else []
        return str((ended or named)[-1]["run"])
    near = [r["run"] for r in known if run and r["run"].startswith(run)]
    if len(near) == 1:
        return str(near[0])
    if near:
        raise SpecError(f"{run!r} begins several runs: {', '.join(near)}; write more of it", run=run)
    hint = did_you_mean(run, [r["run"] for r in known] + [r["name"] for r in known])
    raise SpecError(f"the store {store.url} has no run {run!r}{hint}; `tamis runs` lists them", run=run)


class Events:
    """Where a run stands, as numbered files; at most one every few seconds."""

    EVERY_SECONDS = 2.0

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._next = 1 + max((int(p.rsplit("/", 1)[1].split(".")[0]) for p in _events(folder)), default=0)
        self._last = 0.0

    def tell(self, value: Mapping[str, Any], *, now: bool = False) -> None:
        """Note where the run stands, unless something was noted a moment ago."""
        if now or time.monotonic() - self._last >= self.EVERY_SECONDS:
            self._folder.store.create_json(
                self._folder.path(f"events/{self._next:08d}.json"), {"at": time.time(), **value}
            )
            self._next += 1
            self._last = time.monotonic()


def last_event(folder: RunFolder) -> Mapping[str, Any] | None:
    """The latest event of a run."""
    paths = sorted(_events(folder))
    found: Mapping[str, Any] | None = folder.store.find_json(paths[-1]) if paths else None
    return found


def _events(folder: RunFolder) -> Iterable[str]:
    return (p for p in folder.store.list(folder.path("events/")) if p.endswith(".json"))
