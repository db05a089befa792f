"""A run's documents on their way into an index: their sketches as the run has computed them, nothing is signed again."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.index.backend import COMING, Coming
from pipelines.plan import Step
from pipelines.view import RunView
from stages.catalog import did_you_mean
from stages.errors import SpecError
from stages.fingerprint import key
from stages.text.minhash import Minhash

Fate = Literal["kept", "all"]
_FATE = "verdict.fate"


@dataclass(frozen=True, slots=True)
class RunSketches:
    """The sketches of one step of a finished run."""

    view: RunView
    step: Step
    fate: Fate
    corpus: str

    @classmethod
    def of(cls, view: RunView, *, sketch: str | None, fate: Fate, corpus: str | None) -> "RunSketches":
        """The sketches of the run's minhash step, or of the one called `sketch` where it has several.

        Raises:
            SpecError: there is none, or there are several and none is named.
        """
        known = {s.name: s for s in view.plan.steps if isinstance(s.stage, Minhash)}
        if not known:
            raise SpecError(
                f"the run {view.run} has no sketches; add a step such as `sketch: {{kind: minhash}}` to its spec and "
                "run it again",
                run=view.run,
            )
        if sketch is None and len(known) > 1:
            raise SpecError(f"the run {view.run} has several sketches; choose one with --sketch {'|'.join(known)}")
        name = sketch or next(iter(known))
        if name not in known:
            raise SpecError(f"the run {view.run} has no minhash step {name!r}{did_you_mean(name, list(known))}")
        return cls(view, known[name], fate, corpus or view.spec.name)

    @property
    def stage(self) -> Minhash:
        """How the sketches were made."""
        assert isinstance(self.step.stage, Minhash)
        return self.step.stage

    def coming(self) -> Coming:
        """The documents as an index takes them."""
        what = {"run": self.view.run, "step": self.step.key, "fate": self.fate, "corpus": self.corpus}
        documents = sum(s.rows for s in self.view.shards)
        return Coming(self.corpus, self.view.run, key(what), documents, self.batches)

    def batches(self) -> Iterator[pa.Table]:
        """The documents with a sketch, kept ones alone unless all are wanted; the columns COMING."""
        signature = f"{self.step.name}.signature"
        columns = [*COMING[:-1], signature, _FATE]
        for shard in self.view.shards:
            for batch in self.view.batches(shard, columns):
                chosen = pc.is_valid(batch[signature])
                if self.fate == "kept":
                    chosen = pc.and_(chosen, pc.fill_null(pc.equal(batch[_FATE], "kept"), fill_value=False))
                rows = batch.filter(chosen).select([*COMING[:-1], signature])
                yield pa.table(dict(zip(COMING, rows.columns, strict=True)))
