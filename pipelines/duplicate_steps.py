"""The steps of a run that find duplicates: what each compares, by which number, and from where on it links.

The report and `tamis explain` both read duplicates through this, so that they say the same of a step.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pipelines.view import RunView
from stages.base import Stage
from stages.corpus.exact_duplicates import ExactDuplicates
from stages.corpus.near_duplicates import NearDuplicates
from stages.corpus.semantic_duplicates import SemanticDuplicates
from stages.text.index_matches import IndexMatches
from stages.text.minhash import Minhash

#: How sure a similarity is: computed from what it is defined on, or estimated from sketches.
Certainty = Literal["exact", "verified", "estimated"]
SIMILARITIES = ("jaccard", "cosine")
#: Words of an n-gram where the step has none of its own.
NGRAM = 5


@dataclass(frozen=True, slots=True)
class DuplicateStep:
    """One step that relates documents by what they say."""

    name: str
    kind: str
    similarity: str | None  # the column, without the step's name; None where all are equal or none is known
    certainty: Certainty
    threshold: float | None  # the similarity from which on two documents are linked
    strict: bool  # whether a similarity equal to the threshold is not enough
    text: str  # the column that was compared
    signature: str | None  # full name of the sketch's column
    ngram: int  # words of a shared n-gram that is worth showing
    clustered: bool  # whether it writes clusters
    bloom: Mapping[str, Any] | None = None  # what was known of the index when it knows members alone, and its name

    def column(self, leaf: str) -> str:
        """Full name of one of the step's columns."""
        return f"{self.name}.{leaf}"

    def json(self) -> dict[str, Any]:
        """What readers of the report are told."""
        return {
            "step": self.name,
            "kind": self.kind,
            "similarity": self.similarity,
            "certainty": self.certainty,
            "threshold": self.threshold,
            "text": self.text,
            "ngram": self.ngram,
            "bloom": None if self.bloom is None else dict(self.bloom),
        }


def duplicate_steps(view: RunView) -> list[DuplicateStep]:
    """Every step that writes clusters, or the nearest document, in the order of the plan."""
    stages: dict[str, Stage] = {step.name: step.stage for step in view.plan.steps}
    found = []
    for name in stages:
        clustered = {f"{name}.cluster", f"{name}.cluster_size"} <= set(view.fields)
        similarity = next((s for s in SIMILARITIES if f"{name}.{s}" in view.fields), None)
        if clustered or (similarity and f"{name}.nearest" in view.fields):
            found.append(_described(view, name, stages, similarity, clustered=clustered))
    return found


def span_steps(view: RunView) -> list[str]:
    """Every step that finds repeated spans within texts."""
    names = [step.name for step in view.plan.steps]
    return [n for n in names if {f"{n}.spans", f"{n}.duplicate_fraction", f"{n}.duplicate_bytes"} <= set(view.fields)]


def text_of(view: RunView, step: str) -> str:
    """The text column that a step measures, itself or through the step that it is `of`."""
    stages = {s.name: s.stage for s in view.plan.steps}
    return _text_of(stages[step], stages) or view.text


def _text_of(stage: Stage, stages: Mapping[str, Stage]) -> str | None:
    column = getattr(stage, "text", None)
    if isinstance(column, str):
        return column
    of = stages.get(getattr(stage, "of", ""))
    return None if of is None else _text_of(of, stages)


def _described(
    view: RunView, name: str, stages: Mapping[str, Stage], similarity: str | None, *, clustered: bool
) -> DuplicateStep:
    stage = stages[name]
    of = stages.get(getattr(stage, "of", ""))
    words = isinstance(of, Minhash) and of.unit == "word"
    certainty, threshold = _linking(stage)
    bloom = _bloom(stage)
    return DuplicateStep(
        name=name,
        kind=stage.kind,
        similarity=similarity if bloom is None else None,
        certainty=certainty,
        threshold=threshold,
        strict=isinstance(stage, SemanticDuplicates),
        text=text_of(view, name),
        signature=f"{getattr(stage, 'of', '')}.signature" if isinstance(of, Minhash) else None,
        ngram=of.ngram if isinstance(of, Minhash) and words else NGRAM,
        clustered=clustered,
        bloom=bloom,
    )


def _bloom(stage: Stage) -> dict[str, Any] | None:
    """The Bloom filters that a step looks documents up in, as they were when the run was planned."""
    if not isinstance(stage, IndexMatches) or stage.bloom is None:
        return None
    return {"index": stage.index, **stage.bloom}


def _linking(stage: Stage) -> tuple[Certainty, float | None]:
    """How sure the step's number is, and from where on it links."""
    if isinstance(stage, NearDuplicates):
        return ("verified" if stage.verify else "estimated"), stage.least
    if isinstance(stage, SemanticDuplicates):
        return "exact", 1 - stage.epsilon
    if isinstance(stage, IndexMatches):
        return "estimated", stage.threshold or None
    assert isinstance(stage, (ExactDuplicates, Stage))
    return "exact", None
