"""How often the model that a labelling has so far says what people say: round by round, each by the scorer before it.

A round's documents are chosen because the model is unsure of them, so agreement is lower than its accuracy; that is measured on
documents drawn at random, and is told beside it.
"""

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipelines.labelling.human_oracle import Queue
from pipelines.labelling.journal import HELD_OUT
from pipelines.labelling.request import SUFFIX
from pipelines.labelling.waiting_oracle import FOLDER
from pipelines.store import Store
from stages.artifacts import PREFIX
from stages.base import measure
from stages.errors import TamisError
from stages.text.quality import Quality

_DONE = ".done.json"


@dataclass(frozen=True, slots=True)
class _Guessed:
    """What the model before a batch says of its documents, and how good it was."""

    labels: Mapping[str, str]
    metric: Mapping[str, Any] | None
    round: int


class Agreement:
    """Compares people with models. What a model says of a batch is computed once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._guessed: dict[str, _Guessed | None] = {}

    def told(self, queue: str) -> dict[str, Any] | None:
        """How many answers the models had guessed before they were given; None before the first model.

        `accuracy` is the newest model's on documents drawn at random: value, low, high, documents.
        """
        with self._lock:
            batches = list(self._batches(queue))
            answers = Queue(self._store, queue).answers() if batches else {}
            guessed = [g for path in batches if (g := self._guess(path)) is not None]
        if not guessed:
            return None
        pairs = [(label, answers[d]) for g in guessed for d, label in g.labels.items() if answers.get(d) is not None]
        newest = max(guessed, key=lambda g: g.round)
        return {
            "compared": len(pairs),
            "agreed": sum(model == person for model, person in pairs),
            "rounds": newest.round,
            "accuracy": newest.metric,
        }

    def _batches(self, queue: str) -> Iterator[str]:
        for path in sorted(self._store.list(f"{FOLDER}/{queue}")):
            if path.endswith(".json") and not path.endswith(_DONE):
                yield path

    def _guess(self, path: str) -> _Guessed | None:
        if path not in self._guessed:
            batch = self._store.get_json(path)
            self._guessed[path] = self._scored(batch)
        return self._guessed[path]

    def _scored(self, batch: Mapping[str, Any]) -> _Guessed | None:
        asked = {q["doc_id"]: q["text"] for q in batch["questions"]}
        found = self._round_before(batch["learner"], set(asked))
        if found is None:
            return None
        number, before = found
        stage = Quality(model=f"{PREFIX}{batch['learner']}{SUFFIX}-{before['scorer']}", text="text")
        table = pa.record_batch({"text": pa.array(asked.values(), pa.string())})
        try:
            labels = measure(stage, stage.open_in(self._store), table)["label"].to_pylist()
        except TamisError:  # its encoder is not on this machine, or its file is gone: nothing can be compared
            return None
        said = {d: label for d, label in zip(asked, labels, strict=True) if label is not None}
        return _Guessed(said, before["metric"], number + 1)

    def _round_before(self, learner: str, wanted: set[str]) -> tuple[int, Mapping[str, Any]] | None:
        """The last round with a scorer before the one that asks about these documents."""
        paths = sorted(self._store.list(f"labels/learners/{learner}"))
        picks = [p for p in paths if "/picks/" in p]
        mine = next((p for p in picks if set(self._store.get_json(p)["doc_ids"]) == wanted), None)
        if mine is None or mine.endswith(f"/{HELD_OUT}.json"):
            return None
        folder, _, name = mine.removesuffix(".json").partition("/picks/")
        if not name.isdecimal():
            return None
        for number in range(int(name) - 1, -1, -1):
            found = self._store.find_json(f"{folder}/rounds/{number:04d}.json")
            if found is not None and found["scorer"] is not None:
                return number, found
        return None
