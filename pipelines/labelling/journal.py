"""The rounds of one labelling in a store, each written once, so that a killed command goes on where it was.

    labels/learners/{name}/{key}/request.json      what was asked, of which documents and which oracle
    labels/learners/{name}/{key}/picks/{round}     the documents of a round, written before the first is asked about
    labels/learners/{name}/{key}/rounds/{round}    its labels, what was skipped, the scorer's key, the metric
    labels/learners/{name}/{key}/outcome.json      why it ended, and the artifact

`key` is one of the request, the documents and the oracle: another budget or seed is another labelling (whose oracle still
knows every answer that was paid for). The round `held-out` holds the documents that measure.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pipelines.labelling.oracle import Batch, Oracle, Question
from pipelines.store import Store
from stages.failpoints import failpoint

HELD_OUT = "held-out"


class Journal:
    """One labelling's folder."""

    def __init__(self, store: Store, name: str, wanted: str) -> None:
        self._store, self.folder = store, f"labels/learners/{name}/{wanted}"

    def put(self, name: str, value: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create a file of the folder, and give what holds."""
        self._store.create_json(f"{self.folder}/{name}.json", value)
        found: Mapping[str, Any] = self._store.get_json(f"{self.folder}/{name}.json")
        return found

    def find(self, name: str) -> Mapping[str, Any] | None:
        """A file of the folder, or None."""
        found: Mapping[str, Any] | None = self._store.find_json(f"{self.folder}/{name}.json")
        return found

    def picks(self, number: int | str, choose: Callable[[], Sequence[str]]) -> list[str]:
        """The documents of a round: those that were written down, or else those that `choose` gives."""
        name = f"picks/{_name(number)}"
        found = self.find(name) or self.put(name, {"doc_ids": list(choose())})
        failpoint("label.after_picks")
        return list(found["doc_ids"])

    def answers(self, number: int | str, oracle: Oracle, questions: Callable[[], Sequence[Question]]) -> Batch:
        """What came of a round: what was written down, or else what the oracle says."""
        found = self.find(f"rounds/{_name(number)}")
        if found is not None:
            return Batch(found["labels"], found["skipped"], found["stop"])
        return oracle.ask(questions())

    def close(
        self, number: int | str, picks: Sequence[str], batch: Batch, more: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Write down a round that has ended."""
        failpoint("label.before_round")
        round_ = {
            "picks": list(picks),
            "labels": dict(batch.labels),
            "skipped": dict(batch.skipped),
            "stop": batch.stop,
            **more,
        }
        return self.put(f"rounds/{_name(number)}", round_)


def _name(number: int | str) -> str:
    return number if isinstance(number, str) else f"{number:04d}"
