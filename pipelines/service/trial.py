"""What becomes of the first documents of a spec: a run of its own, in a folder that is thrown away, in a process that may be killed.

python -m pipelines.service.trial < {"spec", "folder", "roots", "n", "here"}     answers JSON
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping
from contextlib import suppress
from os import killpg
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.inputs import freeze
from pipelines.run import Options, run
from pipelines.runs import RunFolder
from pipelines.sample import Place, documents
from pipelines.service.errors import TooManyError
from pipelines.service.settings import Settings
from pipelines.spec import Spec, from_data
from pipelines.store import Store
from pipelines.view import RunView
from stages.errors import SpecError, TamisError

#: Seconds that a trial may take, and how many there may be at once.
PATIENCE = 120.0
AT_ONCE = 1
RETRY_SECONDS = 15
TEXT_CHARACTERS = 1_000
_BATCH_BYTES = 1 << 18
_FREE = threading.BoundedSemaphore(AT_ONCE)


class TooSlowError(SpecError):
    """A trial took longer than it may."""

    type = "preview-timeout"


def trial(spec: Spec, store: Store, settings: Settings, n: int) -> dict[str, Any]:
    """What becomes of the first `n` documents: `total`, `reasons`, and the documents with fate, reasons, values and text.

    Raises:
        TooManyError: another trial is under way.
        TooSlowError: it took too long.
        TamisError: what the run itself raises.
    """
    if not _FREE.acquire(blocking=False):
        raise TooManyError("another preview is under way; try again in a moment", retry_after=RETRY_SECONDS)
    try:
        place = settings.state / "trials"
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place) as folder:
            asked = {"spec": json.dumps(_alone(spec, store)), "folder": spec.folder, "n": n, "roots": settings.readable}
            asked["here"] = folder
            _lend_artifacts(store, Path(folder) / "store", spec)
            return _answer(json.dumps(asked), Path(folder), spec.folder)
    finally:
        _FREE.release()


def _alone(spec: Spec, store: Store) -> dict[str, Any]:
    """The spec without what happens before and after curation, and without what stops a run.

    Raises:
        SpecError: a step reads an artifact that is yet to be made.
    """
    raw = {k: v for k, v in spec.raw.items() if k not in ("learn", "label", "ablate", "max_drop", "max_quarantine")}
    limits = {k: v for k, v in (raw.pop("limits", None) or {}).items() if k not in ("max_drop", "max_quarantine")}
    for name in (*spec.learn, *(request.learner for request in spec.label)):
        if store.find(f"artifacts/{name}/versions/00000001.json") is None:
            raise SpecError(
                f"the preview needs the artifact {name!r}, which the spec makes only when it is run; submit it, or leave "
                "the steps that read it out of the preview",
                artifact=name,
            )
    return {**raw, "limits": {**limits, "max_quarantine": 1.0}}


def _lend_artifacts(store: Store, into: Path, spec: Spec) -> None:
    """Let the throwaway store have the artifacts that the spec may read."""
    Store.open(into)
    if store.is_local:
        source = Path(store.url) / "artifacts"
        if source.is_dir():
            (into / "artifacts").symlink_to(source)
        return
    text = json.dumps(spec.raw)
    for path in store.list("artifacts"):
        if path.split("/")[1] in text:
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(store.local(path), into / path)


def _answer(asked: str, folder: Path, cwd: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "pipelines.service.trial"]
    with (folder / "log").open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - our own module
            command, cwd=cwd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
    try:
        out, _ = child.communicate(asked.encode(), PATIENCE)
    except subprocess.TimeoutExpired as error:
        raise TooSlowError(f"the preview took longer than {PATIENCE:g} seconds; ask for fewer documents") from error
    finally:
        with suppress(ProcessLookupError):
            killpg(child.pid, signal.SIGKILL)
        child.communicate()
    try:
        answer: dict[str, Any] = json.loads(out)
    except ValueError as error:
        raise TooSlowError("the preview's process ended without an answer; ask for fewer documents") from error
    if "problem" in answer:
        raise TrialFailedError(answer["problem"])
    return answer


class TrialFailedError(SpecError):
    """What a trial's own run raised."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        fields = {k: v for k, v in problem.items() if k not in ("type", "title", "status")}
        super().__init__(f"the preview stopped: {problem['title']}", **fields)


class _EnoughError(Exception):
    """The reader has read what was asked for."""


def cut(
    spec: Spec, roots: tuple[str, ...], n: int, into: Path
) -> tuple[dict[str, Any], dict[str, list[dict[str, Any]]]]:
    """The first documents of each source as files of their own: the spec that reads them, and where they came from."""
    share, sources, origins = max(1, n // len(spec.sources)), {}, {}
    for name in sorted(spec.sources):
        records = _first(spec, name, roots, share)
        file = into / name / "first.jsonl"
        file.parent.mkdir(parents=True)
        file.write_text(
            "".join(json.dumps(_record(r), ensure_ascii=False) + "\n" for r in records), "utf-8", "surrogatepass"
        )
        sources[name] = {"kind": "jsonl", "path": str(file)}
        origins[name] = [{k: r[k] for k in ("doc_id", "path", "ordinal")} for r in records]
    raw = {k: v for k, v in spec.raw.items() if k not in ("source", "sources")}
    key = "source" if "source" in spec.raw else "sources"
    return {**raw, key: sources["source"] if key == "source" else sources}, origins


def _first(spec: Spec, name: str, roots: tuple[str, ...], most: int) -> list[dict[str, Any]]:
    from pipelines.inputs import PackFiles  # noqa: PLC0415 - only the trial's own process reads
    from stages.sources.rows import Rows  # noqa: PLC0415 - the same

    source = spec.sources[name]
    found: list[dict[str, Any]] = []
    files = PackFiles(freeze(name, source, roots))

    def take(group: pa.RecordBatch) -> int:
        found.extend(group.slice(0, most - len(found)).to_pylist())
        if len(found) >= most:
            raise _EnoughError
        return _BATCH_BYTES

    rows = Rows(name, _BATCH_BYTES, take, lambda record: None)  # noqa: ARG005 - what is malformed is passed over
    with suppress(_EnoughError):
        for group in files.groups(1, 1):
            for file in group:
                rows.begin(file.path)
                source.read(file, rows)
        rows.flush()
    return found


def _record(row: Mapping[str, Any]) -> dict[str, Any]:
    meta = json.loads(row["meta"]) if row["meta"] else {}
    own = ("id", "text", "source", "url", "snapshot", "domain", "license", "lang")
    return meta | {k: row[k] for k in own if row[k] is not None}


def _try(asked: Mapping[str, Any]) -> dict[str, Any]:
    here = Path(asked["here"])
    spec = from_data(json.loads(asked["spec"]), Path(asked["folder"]))
    raw, origins = cut(spec, tuple(asked["roots"]), asked["n"], here / "cut")
    store = Store.open(here / "store", create=False)
    done = run(from_data(raw, Path(asked["folder"])), store, Options("local", 1))
    view = RunView.open(store, done["run"])
    places = [Place(i, row) for i, shard in enumerate(view.shards) for row in range(shard.rows)][: asked["n"]]
    shown = []
    for place, document in zip(places, documents(view, places, TEXT_CHARACTERS), strict=True):
        name = view.shards[place.shard].source
        shown.append({**document, **origins[name][document["ordinal"]]})
    ledger = RunFolder(store, done["run"]).find("ledger.json")
    steps = {name: line["cpu_seconds"] for name, line in ledger["steps"].items()}
    return {"total": ledger["total"], "reasons": ledger["reasons"], "cpu_seconds": steps, "documents": shown}


def main() -> None:
    """Answer the trial that standard input asks for."""
    try:
        found = _try(json.load(sys.stdin))
    except TamisError as error:
        found = {"problem": error.problem()}
    sys.stdout.write(json.dumps(found, default=str))


if __name__ == "__main__":
    main()
