"""`tamis label` and the section `label:` of a spec: from a run or a spec's sources to a labelled, fitted artifact."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from pipelines.labelling.file_oracle import FileOracle
from pipelines.labelling.human_oracle import HumanOracle, Person
from pipelines.labelling.oracle import Oracle
from pipelines.labelling.pool import Asked, Work, documents, of_fate
from pipelines.labelling.request import LabelRequest
from pipelines.labelling.rounds import Labelling, label
from pipelines.learning.session import engine_of
from pipelines.progress import Watch
from pipelines.run import Options
from pipelines.shards import Shard
from pipelines.store import Store
from pipelines.view import RunView
from stages.artifacts import PREFIX
from stages.errors import SpecError


def open_oracle(
    request: LabelRequest, store: Store, person: Callable[[], Person] | None = None, base: Path | None = None
) -> Oracle:
    """The oracle that a request names; relative paths are below `base`.

    Raises:
        SpecError: there is no such profile, or nobody to ask.
        DataError: the labelled file cannot be read.
    """
    kind, _, rest = request.oracle.partition(":")
    if kind == "file":
        return FileOracle((base or Path.cwd()) / Path(rest).expanduser())
    if kind == "llm":
        from pipelines.labelling.llm_oracle import LlmOracle  # noqa: PLC0415 - a client of HTTP only where one is asked
        from pipelines.labelling.profile import load_profile  # noqa: PLC0415 - the same

        profile = load_profile(rest, base)
        profile.secret()  # before any work, not at the first question
        return LlmOracle(profile, store)
    if person is None:
        raise SpecError("the oracle 'human' needs a terminal with a person; run: tamis label RUN --oracle human")
    return HumanOracle(store, request.learner, request.labels, person())


def label_run(
    view: RunView, request: LabelRequest, options: Options, watch: Watch, person: Callable[[], Person] | None = None
) -> dict[str, Any]:
    """Label documents of a finished run and fit the learner.

    Raises:
        SpecError: the request cannot be met.
        DataError: the labels cannot be told apart, or none is a label.
        StorageError: the oracle does not answer.
    """
    oracle = open_oracle(request, view.store, person)

    def fates(shard: Shard) -> pa.ChunkedArray:
        return view.read(shard, ["verdict.fate"])["verdict.fate"]

    asked = Asked(request.model, {PREFIX + request.learner}, of_fate(fates, request.pool), request.seed)
    nbytes = sum(s.bytes for s in view.shards)
    with engine_of(options, watch, nbytes) as engine:
        pool = documents(view.spec, view.shards, Work(view.store, engine, watch), asked=asked)
    return {"run": view.run, **label(Labelling(view.store, request, pool, oracle, watch))}


def summary(done: Mapping[str, Any]) -> str:
    """One line on what came of a labelling."""
    labels = sum(done["labels"].values())
    return f"{done['artifact']}: {labels} labels in {done['rounds']} rounds; {done['stopped']}"
