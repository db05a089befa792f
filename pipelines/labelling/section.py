"""The section `label:` of a spec: run before what is measured, so that a step of the same spec can name the artifact."""

from typing import Any

import pyarrow.compute as pc

from pipelines.gather import run_packs
from pipelines.labelling.label import open_oracle
from pipelines.labelling.pool import Asked, Work, documents, planned
from pipelines.labelling.request import LabelRequest
from pipelines.labelling.rounds import Labelling, label
from pipelines.labelling.waiting_oracle import WaitingOracle
from pipelines.learning.session import engine_of
from pipelines.progress import Watch
from pipelines.run import Options, freeze_all, pack_tasks
from pipelines.shards import Shard
from pipelines.spec import Spec
from pipelines.store import Store
from stages.artifacts import PREFIX
from stages.errors import SpecError


def run_labels(spec: Spec, store: Store, options: Options, watch: Watch) -> list[dict[str, Any]]:
    """Every labelling of a spec, in order; what is finished is found.

    Raises:
        SpecError: a request cannot be met.
        DataError: an input is missing, or labels cannot be told apart.
        StorageError: an oracle does not answer.
    """
    if not options.people and any(_waits(request) for request in spec.label):
        raise SpecError(
            "`label` asks a person, and a run does not wait for one; label first with: tamis label RUN, or submit the spec "
            "to a service, where people label"
        )
    artifacts = {PREFIX + request.learner for request in spec.label}
    files = freeze_all(spec, options.roots)
    done = []
    with engine_of(options, watch, pc.sum(files["size"]).as_py() or 0) as engine:
        for request in spec.label:
            oracle = (
                WaitingOracle(store, request.learner, request.labels, watch)
                if _waits(request)
                else open_oracle(request, store)
            )
            tasks = pack_tasks(store, planned(spec, request.model, artifacts, store), files)
            records = run_packs(store, tasks, engine, watch)
            shards = [Shard.from_json(s) for record in records for s in record["shards"]]
            asked = Asked(request.model, artifacts, lambda shard: None, request.seed)  # noqa: ARG005 - all documents
            pool = documents(spec, shards, Work(store, engine, watch), asked=asked)
            found = label(Labelling(store, request, pool, oracle, watch))
            watch.say(f"label {request.learner}: {found['stopped']}")
            done.append(found)
    return done


def _waits(request: LabelRequest) -> bool:
    """Whether a person answers."""
    return request.oracle == "human"
