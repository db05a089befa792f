"""What people want to know of a labelling: the curve, what it saved, what the scorer likes and hates, what it cost."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from learners.active import Outcome, Round
from learners.efficiency import Labelled, Trial, as_curve, compared, curves
from learners.quality import Settings
from pipelines.labelling.file_oracle import FileOracle
from pipelines.labelling.oracle import Batch
from pipelines.labelling.scoring import TWO, fit_on, high_of, matrix
from stages.chance import draw, lowest

if TYPE_CHECKING:
    from pipelines.labelling.rounds import Labelling

SHOWN = 5
TEXT_CHARACTERS = 500
#: A comparison with random picks uses at most so many labelled documents, and at least so few.
COMPARED_MOST, COMPARED_LEAST = 5_000, 40
_TEST_SHARE = 0.3


def card_of(
    work: "Labelling", outcome: Outcome, held: Batch, control: Outcome | None, cost: Mapping[str, Any]
) -> dict[str, Any]:
    """The card of the artifact."""
    request = work.request
    labels = Counter([*outcome.labels.values(), *held.labels.values()])
    warnings = [
        *work.warnings,
        "Picks are no random sample, so probabilities are not calibrated; cut them by percentile.",
    ]
    if request.high is not None and request.high not in outcome.scorer.labels:
        warnings.append(f"No document was labelled {request.high!r}, so p_high is unknown.")
    compared_ = _compared(work, warnings)
    metrics = [_metric(outcome.rounds[-1])] if outcome.rounds[-1].metric is not None else []
    if compared_ is not None:
        metrics.append(_saving(compared_["comparison"]))
    own = _own_curve(request.acquire, outcome, control)
    if held.labels and len(set(held.labels.values())) < TWO:
        warnings.append("All held-out documents have one label, so accuracy says little; give a larger budget.")
    if compared_ is None and control is None and request.acquire != "random":
        warnings.append(
            "Not compared with random picks, which needs labels of its own: give --control, or label under another "
            "name with --acquire random."
        )
    card: dict[str, Any] = {
        "what": f"A classifier of {', '.join(outcome.scorer.labels)} by active learning ({request.acquire}) with "
        f"{sum(labels.values())} labels.",
        "data": {
            "documents": len(work.documents.doc_ids),
            "labels": dict(sorted(labels.items())),
            "learned_from": len(outcome.labels),
            "held_out": len(held.labels),
            "skipped": dict(work.skipped),
            "oracle": dict(work.oracle.facts()),
        },
        "settings": {**request.identity(), "why_it_ended": outcome.why},
        "metrics": metrics,
        "curves": [*([compared_["curve"]] if compared_ is not None else []), *own],
        **_likes(work, outcome),
        "warnings": warnings,
        "cost": dict(cost),
    }
    if compared_ is not None:
        card["comparison"] = compared_["comparison"]
    return card


def _metric(last: Round) -> dict[str, Any]:
    assert last.metric is not None, "it was measured"
    figures = {n: getattr(last.metric, n) for n in ("value", "low", "high")}
    return {"name": "accuracy on held-out documents", **figures, "unit": "1", "better": "higher"}


def _saving(found: Mapping[str, Any]) -> dict[str, Any]:
    name = f"labels for the accuracy of {found['at']} random ones, as a share of them"
    return {"name": name, **found["share"], "unit": "1", "better": "lower"}


def _own_curve(acquire: str, outcome: Outcome, control: Outcome | None) -> list[dict[str, Any]]:
    """Accuracy on the held-out documents after each round."""
    arms = {acquire: outcome} | ({"random": control} if control is not None else {})
    series = []
    for name, arm in arms.items():
        measured = [(r.labelled, r.metric) for r in arm.rounds if r.metric is not None]
        points = [[labelled, m.value, m.low, m.high] for labelled, m in measured]
        if points:
            series.append({"name": name, "points": points})
    title = "Accuracy on held-out documents by round"
    return [{"title": title, "x": "labels", "y": "accuracy", "series": series}] if series else []


def _compared(work: "Labelling", warnings: list[str]) -> dict[str, Any] | None:
    """The label-efficiency curve against random picks, over seeds; only a labelled file knows enough labels for it."""
    request, oracle, docs = work.request, work.oracle, work.documents
    if not isinstance(oracle, FileOracle) or not request.control_seeds or request.acquire == "random":
        return None
    rows = np.flatnonzero(work.askable)
    rows = rows[np.sort(lowest(draw(request.seed, "compared", docs.doc_ids.take(pa.array(rows))), COMPARED_MOST))]
    doc_ids, ids = docs.doc_ids.take(pa.array(rows)), docs.ids.take(pa.array(rows))
    labels = [str(oracle.label_of(d, i)) for d, i in zip(doc_ids.to_pylist(), ids.to_pylist(), strict=True)]
    rare = min(Counter(labels).values()) if len(set(labels)) >= TWO else 0
    if len(rows) < COMPARED_LEAST or rare < TWO:
        warnings.append("Not compared with random picks: the labelled documents are too few, or of one label.")
        return None
    test = round(len(rows) * _TEST_SHARE)
    settings = request.settings()
    budget = min(settings.budget, len(rows) - test)
    settings = type(settings)(
        request.acquire, budget, min(settings.rounds, budget), settings.candidates, settings.committee
    )
    vectors = docs.vectors.take(pa.array(rows))
    fit = fit_on(vectors, Settings(kind="embedding", model=request.model, inverse_l2=request.inverse_l2))
    known = Labelled(doc_ids, labels, matrix(vectors), fit)
    seeds = range(request.seed, request.seed + request.control_seeds)
    work.watch.say(f"comparing with random picks over {len(seeds)} seeds")
    found = curves(known, Trial(test, settings), [request.acquire, "random"], seeds)
    title = f"Accuracy on {test} test documents, mean of {len(seeds)} seeds"
    comparison = compared(found, request.acquire, found.labels[-1], seed=request.seed)
    return {"curve": as_curve(found, title, seed=request.seed), "comparison": comparison}


def _likes(work: "Labelling", outcome: Outcome) -> dict[str, Any]:
    """The documents with the highest and the lowest probability of the high label."""
    scorer, docs = outcome.scorer, work.documents
    high = high_of(scorer.labels, work.request.high)
    if high is None:
        return {}
    p_N = scorer.predict()[:, scorer.labels.index(high)]
    known = np.flatnonzero(~np.isnan(p_N))
    order = known[np.lexsort((np.asarray(docs.doc_ids.to_pylist(), str)[known], -p_N[known]))]
    return {
        "likes": _shown(work, p_N, order[:SHOWN].tolist()),
        "hates": _shown(work, p_N, order[::-1][:SHOWN].tolist()),
    }


def _shown(work: "Labelling", p_N: Any, rows: Sequence[int]) -> list[dict[str, Any]]:
    questions = work.documents.questions(rows)
    return [
        {"text": q.text[:TEXT_CHARACTERS], "score": float(p_N[r]), "where": q.id or q.doc_id}
        for q, r in zip(questions, rows, strict=True)
    ]
