"""Active learning: label few documents, those that teach a classifier most, in rounds. A pure loop over arrays.

    outcome = learn(pool, fit, ask, settings, seed=1)

`fit` makes a scorer of labelled rows and `ask` asks an oracle; the loop knows neither classifiers nor oracles. Each round
chooses a batch of the pool, asks for its labels, fits anew on all labels so far, and measures accuracy on documents that
are never trained on. The first round, and every round while all labels are equal, draws its batch at random.

Sources: Settles 2009 (Active Learning Literature Survey); see `learners.acquisition` for the measures of value.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from learners import acquisition
from learners.acquisition import Rows, Values
from stages.chance import draw
from stages.errors import DataError

#: What makes a document worth asking about, by the name that a spec gives it; `random` is the control.
MEASURES = ("entropy", "margin", "least_confidence", "vote_entropy", "mean_kl", "density", "k_center", "random")
COMMITTEES = ("vote_entropy", "mean_kl")
#: The share of the labels that each member of a committee learns from.
MEMBER_SHARE = 0.7
_Z = 1.959963984540054  # of a two-sided 95 % interval
_TWO = 2  # classes, the fewest that can be told apart


class Scorer(Protocol):
    """Something fitted that tells classes apart."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that it tells apart."""

    def predict(self) -> npt.NDArray[np.floating[Any]]:
        """Probabilities (N rows of the pool, C labels in the order of `labels`); NaN where a row cannot be scored."""


#: Fits a scorer on rows of the pool and their labels, with a seed.
Fit = Callable[[Rows, Sequence[str], int], Scorer]


@dataclass(frozen=True, slots=True)
class Pool:
    """N documents. Those in `askable` may be asked about; `vectors` have length 1 and serve diversity and density."""

    doc_ids: pa.Array
    askable: npt.NDArray[np.bool_]
    vectors: npt.NDArray[np.float32] | None = None

    def ids(self, rows: Rows) -> pa.Array:
        """The doc_ids of rows."""
        return self.doc_ids.take(pa.array(rows))


@dataclass(frozen=True, slots=True)
class Settings:
    """How rounds go.

    `budget` documents are asked about in `rounds` batches of equal size. `candidates` is how many times a batch the
    documents are from which a diverse one is taken (1: the best, however alike). The rounds end early when for
    `patience` rounds accuracy has not risen beyond chance (0: never).
    """

    acquire: str = "entropy"
    budget: int = 500
    rounds: int = 10
    candidates: int = 3
    committee: int = 5
    beta: float = 1.0
    patience: int = 3

    def batches(self) -> tuple[int, ...]:
        """How many documents each round asks about."""
        rounds = min(self.rounds, self.budget)
        return tuple(self.budget * (r + 1) // rounds - self.budget * r // rounds for r in range(rounds))


@dataclass(frozen=True, slots=True)
class Metric:
    """Accuracy on held-out documents, with the 95 % interval of Wilson (1927); `right` says which were right."""

    value: float
    low: float
    high: float
    right: npt.NDArray[np.bool_] = field(repr=False)

    def json(self) -> dict[str, Any]:
        """The figures."""
        return {"value": self.value, "low": self.low, "high": self.high, "documents": len(self.right)}


@dataclass(frozen=True, slots=True)
class Answers:
    """What came of a batch: labels and reasons why there is none, by row. `stop` says why the oracle will not go on."""

    labels: Mapping[int, str]
    skipped: Mapping[int, str] = field(default_factory=dict)
    stop: str | None = None


#: Asks about a batch: the round's number and a function that chooses the rows (not called where they are known).
Ask = Callable[[int, Callable[[], Rows]], Answers]


@dataclass(frozen=True, slots=True)
class Round:
    """A round: what was asked and answered in it, how many labels there are after it, and how good the scorer is."""

    number: int
    answers: Answers
    labelled: int
    scorer: Scorer | None
    metric: Metric | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """Every round, the last scorer, every label by row, and why it ended."""

    rounds: tuple[Round, ...]
    scorer: Scorer
    labels: Mapping[int, str]
    why: str


@dataclass(frozen=True, slots=True)
class _State:
    """What is known between two rounds."""

    labels: Mapping[int, str] = field(default_factory=dict)
    asked: frozenset[int] = frozenset()
    rounds: tuple[Round, ...] = ()

    @property
    def scorer(self) -> Scorer | None:
        return self.rounds[-1].scorer if self.rounds else None


def learn(
    pool: Pool,
    fit: Fit,
    ask: Ask,
    settings: Settings,
    *,
    seed: int,
    held_out: Mapping[int, str] | None = None,
    note: Callable[[Round], None] | None = None,
) -> Outcome:
    """Rounds of choosing, asking and fitting, until the budget is spent, nothing improves, or nothing is left to ask.

    `held_out` labels measure accuracy; their rows are never asked about. `note` hears of each round as it ends.

    Raises:
        DataError: at the end all labels are equal, or there is none.
        ValueError: the measure of value is unknown.
    """
    if settings.acquire not in MEASURES:
        raise ValueError(f"there is no measure {settings.acquire!r}; choose one of {', '.join(MEASURES)}")
    held = dict(held_out or {})
    state, why = _State(asked=frozenset(held)), "budget"
    for number, size in enumerate(settings.batches()):
        answers = ask(number, lambda size=size, state=state: _propose(pool, fit, state, settings, size, seed))  # type: ignore[misc]  # a lambda's default
        state = _absorb(state, answers, fit, held, seed)
        if note is not None:
            note(state.rounds[-1])
        why = _ended(state, settings, pool)
        if why != "budget":
            break
    if state.scorer is None:
        raise DataError(one_label(list(state.labels.values()), state.rounds[-1].answers.stop))
    return Outcome(state.rounds, state.scorer, state.labels, why)


def one_label(labels: Sequence[str], stop: str | None) -> str:
    """The sentence for labels that cannot be told apart; `stop` is why the oracle would not go on."""
    have = f"all {len(labels)} labels are {labels[0]!r}" if labels else "no document got a label"
    if stop is not None:
        return f"the oracle stopped ({stop}) when {have}, and a scorer tells at least two apart; let it answer more"
    return (
        f"{have}, and a scorer tells at least two labels apart; raise the budget, so that more documents are drawn at "
        "random, or take a pool with documents of another kind (labels that were paid for are kept)"
    )


def _ended(state: _State, settings: Settings, pool: Pool) -> str:
    """Why no further round is wanted; `budget` where one is, as long as the budget is not spent."""
    if state.rounds[-1].answers.stop is not None:
        return state.rounds[-1].answers.stop
    last = len(state.rounds) == len(settings.batches())
    if not last and plateau([r.metric for r in state.rounds if r.metric is not None], settings.patience):
        return "plateau"
    left = pool.askable.copy()
    left[list(state.asked)] = False
    return "budget" if last or left.any() else "pool"


def _absorb(state: _State, answers: Answers, fit: Fit, held: Mapping[int, str], seed: int) -> _State:
    labels = {**state.labels, **answers.labels}
    scorer = fitted(fit, labels, seed) if len(set(labels.values())) >= _TWO else None
    metric = accuracy(scorer, held) if scorer is not None and held else None
    this = Round(len(state.rounds), answers, len(labels), scorer, metric)
    asked = state.asked | set(answers.labels) | set(answers.skipped)
    return replace(state, labels=labels, asked=asked, rounds=(*state.rounds, this))


def fitted(fit: Fit, labels: Mapping[int, str], seed: int) -> Scorer:
    """A scorer of labelled rows, in the order of the rows: the order of the answers does not matter."""
    rows = np.array(sorted(labels), np.intp)
    return fit(rows, [labels[int(r)] for r in rows], seed)


def accuracy(scorer: Scorer, held: Mapping[int, str]) -> Metric:
    """The share of held-out rows whose most probable label is theirs; a row that cannot be scored is wrong."""
    rows = np.array(sorted(held), np.intp)
    p_HC = np.nan_to_num(scorer.predict()[rows], nan=-1.0)
    said = np.array(scorer.labels, object)[p_HC.argmax(axis=1)]
    right_H = (said == np.array([held[int(r)] for r in rows], object)) & (p_HC.max(axis=1) >= 0)
    low, high = wilson(int(right_H.sum()), len(rows))
    return Metric(float(right_H.mean()), low, high, right_H)


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion (Wilson 1927)."""
    p, z2 = right / n, _Z * _Z
    centre, half = p + z2 / (2 * n), _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    scale = 1 + z2 / n
    return max(0.0, (centre - half) / scale), min(1.0, (centre + half) / scale)


def plateau(metrics: Sequence[Metric], patience: int) -> bool:
    """Whether none of the last `patience` metrics is better than the one before them beyond its 95 % interval.

    The interval is that of the mean difference over the same held-out documents, so it is as narrow as pairing allows.
    """
    if not patience or len(metrics) <= patience:
        return False
    before = metrics[-patience - 1].right.astype(np.float64)
    for metric in metrics[-patience:]:
        gain_H = metric.right - before
        if gain_H.mean() > _Z * gain_H.std() / math.sqrt(len(gain_H)):
            return False
    return True


def _propose(pool: Pool, fit: Fit, state: _State, settings: Settings, size: int, seed: int) -> Rows:
    """The rows to ask about next, most valuable first."""
    open_N = pool.askable.copy()
    open_N[list(state.asked)] = False
    rows = np.flatnonzero(open_N)
    scorer = state.scorer
    if scorer is None or settings.acquire == "random":
        ids = pool.ids(rows)
        return rows[acquisition.best(acquisition.random(ids, seed=seed), ids, size)]
    if settings.acquire == "k_center":
        return _far(pool, rows, np.array(sorted(state.labels), np.intp), size, seed)
    value_R = _values(pool, fit, state, settings, rows, seed)
    if np.isnan(value_R).all():
        raise DataError(
            "no document of the pool that is left can be scored; take another pool or another learner, since texts "
            "without a word that the model knows have no score"
        )
    ids = pool.ids(rows)
    if pool.vectors is None or settings.candidates <= 1:
        return rows[acquisition.best(value_R, ids, size)]
    return rows[acquisition.spread(value_R, pool.vectors[rows], ids, size, candidates=settings.candidates * size)]


def _far(pool: Pool, rows: Rows, labelled: Rows, size: int, seed: int) -> Rows:
    """The rows farthest from everything labelled."""
    if pool.vectors is None:
        raise ValueError("k_center needs vectors")
    both = np.concatenate([labelled, rows])
    centers = np.arange(len(labelled))
    return both[acquisition.k_center(pool.vectors[both], pool.ids(both), centers, size, seed=seed)]


def _values(pool: Pool, fit: Fit, state: _State, settings: Settings, rows: Rows, seed: int) -> Values:
    """What each row is worth, by the measure of the settings."""
    assert state.scorer is not None, "without a scorer rows are drawn at random"
    if settings.acquire in COMMITTEES:
        p_MRC = np.stack([m.predict()[rows] for m in _members(pool, fit, state, settings.committee, seed)])
        return (acquisition.vote_entropy if settings.acquire == "vote_entropy" else acquisition.mean_kl)(p_MRC)
    p_RC = state.scorer.predict()[rows]
    if settings.acquire == "margin":
        return acquisition.margin(p_RC)
    if settings.acquire == "least_confidence":
        return acquisition.least_confidence(p_RC)
    value_R = acquisition.entropy(p_RC)
    if settings.acquire != "density":
        return value_R
    if pool.vectors is None:
        raise ValueError("density needs vectors")
    return acquisition.density_weighted(value_R, acquisition.density(pool.vectors)[rows], beta=settings.beta)


def _members(pool: Pool, fit: Fit, state: _State, members: int, seed: int) -> list[Scorer]:
    """Scorers that each learned from their own share of the labels, with at least one document of every label."""
    rows = np.array(sorted(state.labels), np.intp)
    labels_R = np.array([state.labels[int(r)] for r in rows], object)
    found = []
    for member in range(members):
        draw_R = draw(seed, f"committee-{member}", pool.ids(rows))
        mine_R = draw_R < np.uint64(int(MEMBER_SHARE * 2.0**64))
        for label in np.unique(labels_R):
            own = np.flatnonzero(labels_R == label)
            mine_R[own[np.argmin(draw_R[own])]] = True
        found.append(fitted(fit, dict(zip(rows[mine_R].tolist(), labels_R[mine_R].tolist(), strict=True)), seed))
    return found
