"""One labelling from its first question to its artifact: the pure loop of `learners.active` over a store and an oracle."""

import resource
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from learners.acquisition import Rows
from learners.active import Answers, Outcome, Pool, Round, learn
from learners.quality import Settings
from pipelines.artifacts import keep, make_newest
from pipelines.labelling.card import card_of
from pipelines.labelling.journal import HELD_OUT, Journal
from pipelines.labelling.oracle import REASONS, Batch, Oracle
from pipelines.labelling.pool import Documents
from pipelines.labelling.request import SUFFIX, LabelRequest
from pipelines.labelling.scoring import PoolScorer, fit_on, identity_of, matrix
from pipelines.progress import Watch
from pipelines.store import Store
from stages.artifacts import Artifact, load
from stages.chance import draw, lowest
from stages.errors import SpecError
from stages.fingerprint import key

KIND = "quality"
WHY: Mapping[str, str] = {
    "budget": "the budget is spent",
    "plateau": "accuracy no longer rises beyond chance",
    "pool": "no document is left to ask about",
    "spending cap": "the next question could exceed the profile's max_spend",
}


@dataclass
class Labelling:
    """A request, its documents and its oracle, at work in a store."""

    store: Store
    request: LabelRequest
    documents: Documents
    oracle: Oracle
    watch: Watch
    warnings: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    @cached_property
    def askable(self) -> npt.NDArray[np.bool_]:
        """The documents that have a vector and that the oracle can be asked about."""
        return self.documents.scorable() & self.oracle.knows(self.documents.doc_ids, self.documents.ids)

    @cached_property
    def journal(self) -> Journal:
        """Where the rounds are kept."""
        docs = self.documents
        which = key([self.request.pool, docs.key, docs.text, sorted(s.digest for s in docs.shards), len(docs.doc_ids)])
        wanted = {"request": self.request.identity(), "documents": which, "oracle": dict(self.oracle.identity())}
        journal = Journal(self.store, self.request.learner, key(wanted))
        journal.put("request", wanted)
        return journal

    @cached_property
    def fit(self) -> Any:
        """Fits a scorer."""
        settings = Settings(kind="embedding", model=self.request.model, inverse_l2=self.request.inverse_l2)
        return fit_on(self.documents.vectors, settings)

    @cached_property
    def _row_of(self) -> dict[str, int]:
        return {d: r for r, d in enumerate(self.documents.doc_ids.to_pylist())}

    def check(self) -> None:
        """Refuse what cannot go well before anything is asked.

        Raises:
            SpecError: fewer documents can be asked about than the budget.
        """
        can, scorable = int(self.askable.sum()), int(self.documents.scorable().sum())
        if not scorable:
            raise SpecError(
                f"none of the {len(self.documents.doc_ids)} documents has a word that the model {self.request.model!r} "
                "knows, so none can be scored; choose another --model or another pool"
            )
        if can < self.request.budget:
            known = f", of which the oracle knows {can}" if can < scorable else ""
            raise SpecError(
                f"the budget is {self.request.budget} documents, and the pool has {scorable}{known}; "
                f"lower --budget to at most {can}, or take a larger pool",
                documents=can,
            )
        if lost := len(self.documents.doc_ids) - scorable:
            self.warnings.append(
                f"{lost} documents without a word that the model knows cannot be scored and were left out."
            )
        if self.documents.left_out:
            self.warnings.append(
                f"The pool is {len(self.documents.doc_ids)} documents drawn by hash; {self.documents.left_out} more were left out."
            )

    def batch(self, number: int | str, choose: Callable[[], Rows]) -> Batch:
        """What came of a round: its documents chosen once, and asked about until the round is written down."""
        ids = self.documents.doc_ids
        picks = self.journal.picks(number, lambda: ids.take(pa.array(choose())).to_pylist())
        self._picks = picks
        rows = [self._row_of[d] for d in picks]
        batch = self.journal.answers(number, self.oracle, lambda: self.documents.questions(rows))
        self.skipped.update(batch.skipped.values())
        return batch

    def held_out(self) -> Batch:
        """Labels of documents drawn at random, which measure and never teach."""
        if not self.request.held:
            return Batch({})
        rows = np.flatnonzero(self.askable)
        numbers = draw(self.request.seed, "held-out", self.documents.doc_ids.take(pa.array(rows)))
        batch = self.batch(HELD_OUT, lambda: rows[lowest(numbers, self.request.held)])
        if batch.stop is None:
            self.journal.close(HELD_OUT, self._picks, batch, {})
        return batch

    def rounds(self, acquire: str, held: Batch) -> Outcome:
        """The rounds of one arm; those of the control are numbered apart.

        Raises:
            DataError: all labels are equal, or nothing can be scored.
        """
        request, prefix = self.request, "" if acquire == self.request.acquire else f"{acquire}-"

        def ask(number: int, propose: Callable[[], Rows]) -> Answers:
            batch = self.batch(self._name(prefix, number), propose)
            labels = {self._row_of[d]: label for d, label in batch.labels.items()}
            skipped = {self._row_of[d]: reason for d, reason in batch.skipped.items()}
            return Answers(labels, skipped, batch.stop)

        def note(found: Round) -> None:
            self._note(self._name(prefix, found.number), found, named=not prefix)

        askable = self.askable.copy()
        askable[[self._row_of[d] for d in (*held.labels, *held.skipped)]] = False
        pool = Pool(self.documents.doc_ids, askable, matrix(self.documents.vectors))
        held_rows = {self._row_of[d]: label for d, label in held.labels.items()}
        settings = self.request.settings()
        settings = settings if not prefix else type(settings)(acquire, settings.budget, settings.rounds, patience=0)
        return learn(pool, self.fit, ask, settings, seed=request.seed, held_out=held_rows, note=note)

    def _name(self, prefix: str, number: int) -> int | str:
        return f"{prefix}{number:04d}" if prefix else number

    def _note(self, name: int | str, found: Round, *, named: bool) -> None:
        """Write down a round that has ended, its scorer first."""
        scorer = None
        if named and found.scorer is not None and self.journal.find(f"rounds/{found.number:04d}") is None:
            scorer = self.kept(f"{self.request.learner}{SUFFIX}", found.scorer, {"what": f"Round {found.number}."}).key
        ids = self.documents.doc_ids
        labels = {ids[r].as_py(): label for r, label in found.answers.labels.items()}
        skipped = {ids[r].as_py(): reason for r, reason in found.answers.skipped.items()}
        batch = Batch(labels, skipped, found.answers.stop)
        metric = found.metric.json() if found.metric is not None else None
        if found.answers.stop is None:  # else the same command goes on with this round when the oracle does
            more = {"labelled": found.labelled, "metric": metric, "scorer": scorer}
            self.journal.close(name, self._picks, batch, more)
        said = f"round {found.number}: {found.labelled} labels"
        if found.metric is not None:
            m = found.metric
            said += f", accuracy {m.value:.3f} [{m.low:.3f}, {m.high:.3f}] on {len(m.right)} held-out documents"
        elif len(set(labels.values())) == 1:
            said += f", all of this round {next(iter(labels.values()))!r}"
        self.watch.say(said)
        self.watch.step("label", found.labelled, self.request.training)

    def kept(self, name: str, scorer: Any, card: Mapping[str, Any]) -> Artifact:
        """Commit a scorer as an artifact of kind `quality`."""
        assert isinstance(scorer, PoolScorer)
        with tempfile.TemporaryDirectory() as folder:
            files = scorer.fitted.write(Path(folder))
            return keep(
                self.store, name, KIND, files, identity=identity_of(scorer.fitted, self.request.high), card=card
            )


def label(work: Labelling) -> dict[str, Any]:
    """Run a labelling to its end, or go on with it: what came of it, with the artifact that a spec can name.

    Raises:
        SpecError: the pool is smaller than the budget, or the oracle cannot be asked.
        DataError: all labels are equal, or no answer is a label.
        StorageError: the oracle does not answer, or the store cannot be written.
        KeyboardInterrupt: a person ends it for now.
    """
    work.check()
    if (known := work.journal.find("outcome")) is not None:
        make_newest(work.store, work.request.learner, known["artifact"])
        return _result(work, load(work.store, work.request.learner, known["artifact"]), known)
    began, cpu = time.perf_counter(), time.process_time()
    held = work.held_out()
    outcome = work.rounds(work.request.acquire, held)
    control = work.rounds("random", held) if work.request.control and work.request.acquire != "random" else None
    if work.skipped:
        counted = ", ".join(f"{n} because {REASONS.get(r, r)}" for r, n in work.skipped.most_common())
        work.warnings.append(f"{sum(work.skipped.values())} documents got no label and were skipped: {counted}.")
    cost = {"seconds": round(time.perf_counter() - began, 3), "cpu_seconds": round(time.process_time() - cpu, 3)}
    cost["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    card = card_of(work, outcome, held, control, cost)
    artifact = work.kept(work.request.learner, outcome.scorer, card)
    done: Mapping[str, Any] = {"artifact": artifact.key, "why": outcome.why, "rounds": len(outcome.rounds)}
    if outcome.rounds[-1].answers.stop is None:
        done = work.journal.put("outcome", done)
    return _result(work, artifact, done)


def _result(work: Labelling, artifact: Artifact, done: Mapping[str, Any]) -> dict[str, Any]:
    """What the command answers."""
    card = artifact.card
    return {
        "artifact": artifact.id,
        "learner": work.request.learner,
        "why": done["why"],
        "stopped": WHY.get(done["why"], done["why"]),
        "rounds": done["rounds"],
        "labels": card["data"]["labels"],
        "skipped": card["data"]["skipped"],
        "metrics": card.get("metrics", []),
        "curves": card.get("curves", []),
        "comparison": card.get("comparison"),
        "oracle": card["data"]["oracle"],
        "warnings": card.get("warnings", []),
        "folder": work.journal.folder,
    }
