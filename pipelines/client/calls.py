"""Every call of the service, described once for both clients. What a method gives, `AsyncClient` gives to who awaits it."""

import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

from pipelines.client.downloads import downloaded
from pipelines.client.effects import Ask, Flow, Give, Items, Pause, call, stream
from pipelines.client.errors import error_of_problem
from pipelines.client.following import events_of, place, run_of, waited
from pipelines.client.frames import (
    Frame,
    checked_frame,
    clusters_table,
    documents_table,
    framed,
    rules_table,
    what_if_table,
)
from pipelines.client.labels import Labels
from pipelines.client.models import (
    Ablation,
    Artifact,
    Checked,
    Download,
    Event,
    Export,
    Exporting,
    Health,
    Planned,
    Preview,
    Run,
    Step,
)
from pipelines.client.retries import sound, told
from pipelines.client.specs import Paths, SpecLike, as_data
from pipelines.progress import NullWatch, Watch
from pipelines.service.states import State

Kind = Literal["html", "json"]
Fate = Literal["kept", "rejected", "quarantined"]
#: Rows, and clusters, that one request may bring.
PAGE, CLUSTERS = 200, 100
#: Seconds between two looks at an export that the service writes.
LOOK = 1.0


def new_key() -> str:
    """An Idempotency-Key that nobody else has."""
    return uuid.uuid4().hex


class Calls(Labels):
    """The calls."""

    # -- jobs ---------------------------------------------------------------------------------------------------------

    @call
    def submit(  # noqa: PLR0913 - what a job is asked with
        self,
        spec: SpecLike,
        *,
        changes: Mapping[str, Any] | None = None,
        key: str | None = None,
        priority: int = 0,
        workers: int | None = None,
        engine: Literal["auto", "local", "ray"] = "auto",
        forked_from: str | None = None,
        paths: Paths = "here",
    ) -> Flow[Run]:
        """Submit a spec (a file, a mapping, or a `Spec`) as a job, once: however often it is tried, the key makes it one.

        Relative paths of a file are made absolute, unless `paths="there"`; those of a mapping are below the service's first root.

        Raises:
            SpecError: the spec is wrong, names what the service may not read, or its key came before with another one.
            TooManyError: the token has as many jobs queued as it may.
        """
        options = {"priority": priority, "workers": workers, "engine": engine, "forked_from": forked_from}
        body = {"spec": as_data(spec, changes, paths), **options}
        ask = Ask("POST", "/v1/runs", body=body, headers={"Idempotency-Key": key or new_key()})
        return Run.model_validate((yield from told(self, ask)))

    @call
    def run(self, run: str) -> Flow[Run]:
        """Where a run stands. RUN is a job's or run's id, a unique prefix, or a spec's name (its latest run).

        Raises:
            NotFoundError: there is none.
        """
        return (yield from run_of(self, run))

    @stream
    def runs(
        self, *, state: Sequence[State | str] = (), name: str | None = None, limit: int | None = None
    ) -> Items[Run]:
        """Runs, newest first: those in some states, or of a spec of that name."""
        after, left = None, limit
        while left is None or left > 0:
            size = PAGE if left is None else min(PAGE, left)
            params = {"state": [str(s) for s in state], "name": name, "after": after, "limit": size}
            page = yield from told(self, Ask("GET", "/v1/runs", params))
            for run in page["runs"]:
                yield Give(Run.model_validate(run))
            left = None if left is None else left - len(page["runs"])
            after = page["next"]
            if after is None:
                return

    @call
    def wait(self, run: str, timeout: float | None = None, *, hear: Callable[[Event], None] | None = None) -> Flow[Run]:
        """A run when it is over, also if the service restarts meanwhile; `.check()` raises what it failed of.

        `hear` is called with every event, from the first one on.

        Raises:
            UnfinishedError: it has not ended in `timeout` seconds. It is a `TimeoutError`, and the run goes on.
            UnreachableError: the service is away for longer than the client's `outage`.
        """
        return (yield from waited(self, run, timeout, hear))

    @stream
    def events(self, run: str, *, after: int = 0, timeout: float | None = None) -> Items[Event]:
        """What happened to a run since the event of a number and what happens, until it is over; each event once.

        Raises:
            UnfinishedError: it has not ended in `timeout` seconds.
        """
        yield from events_of(self, run, after, timeout)

    @call
    def cancel(self, run: str) -> Flow[Run]:
        """End a job without its result; what is committed stays.

        Raises:
            ConflictError: it has ended.
        """
        return Run.model_validate((yield from told(self, Ask("POST", place(run, "/cancel")))))

    @call
    def resume(self, run: str) -> Flow[Run]:
        """Let a job that failed, crashed or was cancelled go on from what is committed.

        Raises:
            ConflictError: it has succeeded, or is being cancelled.
        """
        return Run.model_validate((yield from told(self, Ask("POST", place(run, "/resume")))))

    @call
    def pin(self, run: str, *, pinned: bool = True) -> Flow[Run]:
        """Keep a job from retention, or stop keeping it."""
        return Run.model_validate((yield from told(self, Ask("POST", place(run, "/pin"), body={"pinned": pinned}))))

    @call
    def plan(self, run: str) -> Flow[Planned]:
        """The steps of a run with their keys."""
        return Planned.model_validate((yield from told(self, Ask("GET", place(run, "/plan")))))

    @call
    def steps(self, run: str) -> Flow[list[Step]]:
        """Where each step of a run stands."""
        found = yield from told(self, Ask("GET", place(run, "/steps")))
        return [Step.model_validate(step) for step in found["steps"]]

    @call
    def spec(self, run: str) -> Flow[dict[str, Any]]:
        """The spec of a run as data, to change and submit again."""
        return (yield from told(self, Ask("GET", place(run, "/spec"))))  # type: ignore[no-any-return]

    @call
    def log(self, run: str) -> Flow[str]:
        """The end of what the latest process of a job printed."""
        return (yield from sound(self, Ask("GET", place(run, "/log")))).body.decode("utf-8", "replace")

    # -- specs --------------------------------------------------------------------------------------------------------

    @call
    def validate(
        self, spec: SpecLike, *, changes: Mapping[str, Any] | None = None, paths: Paths = "here"
    ) -> Flow[Checked]:
        """What is wrong with a spec, or else its plan; `.check()` raises what is wrong. Nothing is written."""
        body = {"spec": as_data(spec, changes, paths)}
        return Checked.model_validate((yield from told(self, Ask("POST", "/v1/specs/validate", body=body))))

    @call
    def preview(
        self,
        spec: SpecLike,
        documents: int = 200,
        *,
        changes: Mapping[str, Any] | None = None,
        paths: Paths = "here",
    ) -> Flow[Preview]:
        """What becomes of the first documents of a spec; nothing of it stays."""
        body = {"spec": as_data(spec, changes, paths), "documents": documents}
        return Preview.model_validate((yield from told(self, Ask("POST", "/v1/specs/preview", body=body))))

    @call
    def stages(self) -> Flow[list[dict[str, Any]]]:
        """Every stage that a spec may name there, with fields, columns, units and examples."""
        return (yield from told(self, Ask("GET", "/v1/stages")))  # type: ignore[no-any-return]

    # -- documents ----------------------------------------------------------------------------------------------------

    @call
    def documents(  # noqa: PLR0913 - what may be asked of documents
        self,
        run: str,
        *,
        fate: Fate | None = None,
        reason: str | None = None,
        where: Sequence[str] = (),
        columns: Sequence[str] = (),
        sort: str | None = None,
        text: int = 0,
        offset: int = 0,
        limit: int | None = 1_000,
        frame: Frame = "arrow",
    ) -> Flow[Any]:
        """Documents of a finished run as a table, each measured value a column; `limit=None` brings all of them.

        `where` has tests such as `stats.words>=50`; `sort` is a column, with `-` before it for the largest first; `text` is how
        many characters of each text come along. How many there are in all is in the table's `schema.metadata[b"total"]`.

        Raises:
            SpecError: an unknown column or reason, or pandas or polars is not installed.
            ConflictError: the run has not finished.
        """
        checked_frame(frame)
        fixed = {"fate": fate, "reason": reason, "where": list(where), "columns": list(columns), "sort": sort}
        rows: list[dict[str, Any]] = []
        while True:
            size = PAGE if limit is None else min(PAGE, limit - len(rows))
            asked = {**fixed, "text": text, "offset": offset + len(rows), "limit": max(1, size)}
            page = yield from told(self, Ask("GET", place(run, "/documents"), asked))
            rows += page["documents"][: max(0, size)]
            got_all = offset + len(rows) >= page["total"] or not page["documents"]
            if got_all or (limit is not None and len(rows) >= limit):
                return rows if frame == "data" else framed(documents_table(rows, page["total"]), frame)

    @call
    def explain(self, run: str, document: str, *, frame: Frame = "data") -> Flow[Any]:
        """Why a document stayed or went: every rule with value and threshold, twins, origin; as a table: its rules.

        DOCUMENT is its doc_id, the beginning of it, or your own id.

        Raises:
            NotFoundError: there is none.
            ConflictError: several are called so; the field `candidates` has them.
        """
        checked_frame(frame)
        found = yield from told(self, Ask("GET", place(run, "/documents/") + quote(document, safe="")))
        return found if frame == "data" else framed(rules_table(found), frame)

    @call
    def what_if(self, run: str, rules: Sequence[str], *, frame: Frame = "arrow") -> Flow[Any]:
        """What other thresholds, such as `stats.words>=50`, would keep; no text is read. A row a number, then a row a reason."""
        checked_frame(frame)
        found = yield from told(self, Ask("GET", place(run, "/what-if"), {"rule": list(rules)}))
        return found if frame == "data" else framed(what_if_table(found), frame)

    @call
    def clusters(
        self, run: str, column: str, *, limit: int | None = 100, members: int = 10, frame: Frame = "arrow"
    ) -> Flow[Any]:
        """The largest clusters of a column such as `copies.cluster`: a row for each of their first members."""
        checked_frame(frame)
        found: list[dict[str, Any]] = []
        while True:
            size = CLUSTERS if limit is None else min(CLUSTERS, limit - len(found))
            asked = {"column": column, "offset": len(found), "limit": max(1, size), "members": members}
            page = yield from told(self, Ask("GET", place(run, "/clusters"), asked))
            found += page["clusters"][: max(0, size)]
            got_all = len(found) >= page["total"] or not page["clusters"]
            if got_all or (limit is not None and len(found) >= limit):
                return found if frame == "data" else framed(clusters_table(found, page["total"]), frame)

    @call
    def histogram(self, run: str, column: str, *, bins: int = 60, fate: Fate | None = None) -> Flow[dict[str, Any]]:
        """Documents by value of a column and by fate: `edges` and `counts`."""
        asked = {"column": column, "bins": bins, "fate": fate}
        return (yield from told(self, Ask("GET", place(run, "/histogram"), asked)))  # type: ignore[no-any-return]

    @call
    def borderline(self, run: str, column: str, value: float, *, limit: int = 10) -> Flow[dict[str, Any]]:
        """The documents nearest to a threshold, `below` and `above` it."""
        asked = {"column": column, "value": value, "limit": limit}
        return (yield from told(self, Ask("GET", place(run, "/borderline"), asked)))  # type: ignore[no-any-return]

    # -- outcomes -----------------------------------------------------------------------------------------------------

    @call
    def export(self, run: str) -> Flow[Export]:
        """Where a run's export is, with its manifest."""
        return Export.model_validate((yield from told(self, Ask("GET", place(run, "/export")))))

    @call
    def download(self, run: str, out: str | Path, *, watch: Watch | None = None) -> Flow[Download]:
        """Bring a run's export into a folder of this machine; every checksum is verified, and the same call goes on after a break.

        A file has its name only when it is whole, and `manifest.json` is there only when all are.

        Raises:
            DataError: a file is not what the manifest says.
            SpecError: the folder holds another export.
            StorageError: the folder cannot be written.
        """
        return (yield from downloaded(self, run, out, watch or NullWatch()))

    @call
    def export_to(
        self,
        run: str,
        format: str,  # noqa: A002 - the word of the command and of the API
        out: str,
        *,
        settings: Mapping[str, Any] | None = None,
        wait: bool = True,
    ) -> Flow[Exporting]:
        """Let the service write a run in another format to a folder below one of its roots.

        Raises:
            TamisError: why it failed, where it was waited for.
        """
        body = {"format": format, "out": out, "settings": dict(settings or {})}
        found = yield from told(self, Ask("POST", place(run, "/export"), body=body, again=False))
        while wait and found["state"] == "RUNNING":
            yield Pause(LOOK)
            found = yield from told(self, Ask("GET", f"/v1/exports/{found['id']}"), self.outage)
        if found["state"] == "FAILED":
            raise error_of_problem(found["error"])
        return Exporting.model_validate(found)

    @call
    def report(self, run: str, kind: Kind = "html") -> Flow[Any]:
        """The report of a finished run: one self-contained page as text, or its numbers as data (`kind="json"`)."""
        body = (yield from sound(self, Ask("GET", place(run, "/report"), {"format": kind}))).body
        return json.loads(body) if kind == "json" else body.decode()

    # -- ablations and artifacts --------------------------------------------------------------------------------------

    @call
    def ablations(self) -> Flow[list[Ablation]]:
        """The finished ablations."""
        found = yield from told(self, Ask("GET", "/v1/ablations"))
        return [Ablation.model_validate(one) for one in found["ablations"]]

    @call
    def ablation(self, ablation: str) -> Flow[dict[str, Any]]:
        """What came of an ablation: arms, curves, multipliers with intervals."""
        return (yield from told(self, Ask("GET", f"/v1/ablations/{quote(ablation, safe='')}")))  # type: ignore[no-any-return]

    @call
    def ablation_report(self, ablation: str, kind: Kind = "html") -> Flow[Any]:
        """The report of an ablation: one self-contained page as text, or its numbers as data (`kind="json"`)."""
        path = f"/v1/ablations/{quote(ablation, safe='')}/report"
        body = (yield from sound(self, Ask("GET", path, {"format": kind}))).body
        return json.loads(body) if kind == "json" else body.decode()

    @call
    def artifacts(self) -> Flow[list[Artifact]]:
        """What was learned, by name."""
        found = yield from told(self, Ask("GET", "/v1/artifacts"))
        return [Artifact.model_validate(one) for one in found["artifacts"]]

    @call
    def artifact(self, artifact: str) -> Flow[dict[str, Any]]:
        """An artifact's record: kind, identity, files with hashes, and its card."""
        return (yield from told(self, Ask("GET", f"/v1/artifacts/{quote(artifact, safe='')}")))  # type: ignore[no-any-return]

    # -- health -------------------------------------------------------------------------------------------------------

    @call
    def health(self) -> Flow[Health]:
        """Whether the service lives; needs no token."""
        return Health.model_validate((yield from told(self, Ask("GET", "/healthz"))))

    @call
    def ready(self) -> Flow[Health]:
        """Whether the service can do its work; needs no token.

        Raises:
            StorageError: why it cannot.
        """
        return Health.model_validate((yield from told(self, Ask("GET", "/readyz"))))
