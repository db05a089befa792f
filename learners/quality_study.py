"""A classifier fitted on one part of the labelled documents, calibrated on another, and measured on a third."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from learners import leakage, splits
from learners.calibration import isotonic, platt, temperature
from learners.metrics import measure_many, measure_two, reliability
from learners.quality import Fitted, Settings, fit, labels_of
from stages.classifiers.calibration import Calibration, Method
from stages.errors import DataError, SpecError

#: What people call the class that they want, and the other one.
GOOD = frozenset({"1", "clean", "edu", "good", "ham", "high", "hq", "keep", "pos", "positive", "true", "yes"})
BAD = frozenset(
    {"0", "bad", "cc", "dirty", "drop", "false", "junk", "low", "lq", "neg", "negative", "no", "raw", "spam"}
)
SHOWN, CHARACTERS = 10, 500
#: Fewer documents of a class than this to calibrate with say too little.
LEAST = 10


@dataclass(frozen=True, slots=True)
class Plan:
    """How to fit and measure: settings, the high label (None: guessed of two), and what parts are for.

    `calibrate` and `held_out` are shares of the documents.
    """

    settings: Settings
    high: str | None = None
    calibration: Method = "platt"
    calibrate: float = 0.2
    held_out: float = 0.2


@dataclass(frozen=True, slots=True)
class Study:
    """The classifier, and what is known of it. `card` has no costs and no data yet."""

    fitted: Fitted
    high: str | None
    calibration: Calibration
    card: dict[str, Any]

    def identity(self) -> dict[str, Any]:
        """What scores depend on beside the files."""
        return {**self.fitted.identity(), "high": self.high, "calibration": self.calibration.json()}


def study(table: pa.Table, plan: Plan, *, seed: int) -> Study:
    """Split by text, fit, calibrate, measure.

    Args:
        table: `text`, `label`, `source` (or null) and `where` (for people), all strings.
        plan: how.
        seed: of the split, the training and the bootstrap.

    Raises:
        DataError: fewer than two labels, a label without a text to fit on, or nothing is held out.
        SpecError: the high label is none of the labels, or the shares leave nothing to fit on.

    """
    labels = labels_of(table["label"])
    rows = _filled(table, labels)
    high, warnings = _high(labels, plan.high)
    hashes = splits.digests(rows["text"].to_pylist(), seed=seed)
    order = np.argsort(hashes, kind="stable")  # of the texts alone, so that the order of the files does not show
    rows, hashes = rows.take(pa.array(order)), hashes[order]
    warnings += _contradictions(rows, hashes)
    train, calibrate, held_out = _parts(rows, hashes, plan, labels)
    fitted = fit(train, settings=plan.settings, seed=seed)
    map_, said = _calibration(fitted, calibrate, high, plan.calibration)
    measured = _measured(fitted, map_, high, held_out, seed)
    warnings += said + _leaks(train, held_out, measured["accuracy"])
    card = {
        "settings": {
            **plan.settings.json(),
            "seed": seed,
            "calibration": map_.json(),
            "high": high,
            "labels": [*labels],
        },
        "parts": {n: _counts(t) for n, t in (("train", train), ("calibrate", calibrate), ("held out", held_out))},
        "left_out": {"blank or without a label": table.num_rows - rows.num_rows},
        **measured["card"],
        "warnings": warnings,
    }
    return Study(fitted, high, map_, card)


def _filled(table: pa.Table, labels: Sequence[str]) -> pa.Table:
    """The rows with a text that is more than white space, and a label; each label has one."""
    there = [bool(text and text.strip()) and label is not None for text, label in _pairs(table)]
    rows = table.filter(pa.array(there, pa.bool_()))
    if missing := sorted(set(labels) - set(rows["label"].to_pylist())):
        raise DataError(f"the label {missing[0]!r} has no text with a word; give it texts, or leave it out")
    return rows


def _parts(rows: pa.Table, hashes: NDArray[np.uint64], plan: Plan, labels: Sequence[str]) -> list[pa.Table]:
    """What to fit on, to calibrate on, and to measure on."""
    if not (0 <= plan.calibrate < 1 and 0 < plan.held_out < 1 and plan.calibrate + plan.held_out < 1):
        raise SpecError("the held-out share and the calibration share are between 0 and 1 and leave a rest to fit on")
    part_N = splits.parts(hashes, calibrate=plan.calibrate, held_out=plan.held_out)
    found = [rows.filter(pa.array(part_N == part)) for part in (splits.TRAIN, splits.CALIBRATE, splits.HELD_OUT)]
    if lacking := sorted(set(labels) - set(found[0]["label"].to_pylist())):
        raise DataError(
            f"the label {lacking[0]!r} has too few texts: none is left to fit on, as shares of "
            f"{plan.held_out:g} and {plan.calibrate:g} are for measuring; give more texts"
        )
    if not found[2].num_rows:
        raise DataError("there are too few texts: none is held out for measuring; give more, or a larger --held-out")
    return found


def _pairs(table: pa.Table) -> list[tuple[str | None, str | None]]:
    return list(zip(table["text"].to_pylist(), table["label"].to_pylist(), strict=True))


def _counts(table: pa.Table) -> dict[str, int]:
    counts = table["label"].value_counts().to_pylist()
    return {c["values"]: c["counts"] for c in sorted(counts, key=lambda c: str(c["values"]))}


def _high(labels: Sequence[str], given: str | None) -> tuple[str | None, list[str]]:
    """The label whose probability is `p_high`, and a warning where nothing says which one it is."""
    if given is not None:
        if given not in labels:
            raise SpecError(
                f"no text has the label {given!r}, which is to be the high one; the labels are {_list(labels)}"
            )
        return given, []
    if len(labels) != 2:  # noqa: PLR2004 - of more there is no other one
        return None, []
    good = [label for label in labels if label.lower() in GOOD]
    rest = [label for label in labels if label.lower() not in BAD]
    for found in (good, rest):
        if len(found) == 1:
            return found[0], []
    unsaid = (
        f"p_high is the probability of {labels[-1]!r}, as nothing says which of {_list(labels)} is the good one; "
        "say it with --high"
    )
    return labels[-1], [unsaid]


def _list(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels))


def _contradictions(rows: pa.Table, hashes: NDArray[np.uint64]) -> list[str]:
    """A warning where equal texts have different labels. Rows are in the order of their hashes."""
    labels: dict[int, set[str]] = {}
    for value, label in zip(hashes.tolist(), rows["label"].to_pylist(), strict=True):
        labels.setdefault(value, set()).add(label)
    several = sum(len(own) > 1 for own in labels.values())
    return [f"{several} texts have more than one label; clear them up"] if several else []


def _calibration(fitted: Fitted, rows: pa.Table, high: str | None, method: Method) -> tuple[Calibration, list[str]]:
    """The map fitted on the calibration part, and a warning where there is none though it was wanted."""
    if method == "none":
        return Calibration(), []
    p_NC, y_N = _scored(fitted, rows)
    least = min((int((y_N == i).sum()) for i in range(len(fitted.labels))), default=0)
    if least < LEAST:
        return Calibration(), [
            f"probabilities are not calibrated: the calibration part has {least} documents of a label and needs {LEAST}"
        ]
    if len(fitted.labels) > 2 or high is None:  # noqa: PLR2004 - more than two
        return temperature(p_NC, y_N), []
    place = fitted.labels.index(high)
    found = (isotonic if method == "isotonic" else platt)(p_NC[:, place], y_N == place)
    if found.method == "none":
        return found, ["probabilities are not calibrated: on the calibration part a higher one is not more often right"]
    return found, []


def _scored(fitted: Fitted, rows: pa.Table) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Probabilities and the places of the labels, of the rows that have any."""
    texts = pa.array(rows["text"].to_pylist(), pa.string())
    p_NC = fitted.predict(texts) if rows.num_rows else np.zeros((0, len(fitted.labels)))
    y_N = np.array([fitted.labels.index(label) for label in rows["label"].to_pylist()], np.int64)
    there = ~np.isnan(p_NC).any(axis=1)
    return p_NC[there], y_N[there]


def _measured(fitted: Fitted, map_: Calibration, high: str | None, rows: pa.Table, seed: int) -> dict[str, Any]:
    """Metrics, curves and the documents at both ends, of the held-out part."""
    place = None if high is None else fitted.labels.index(high)
    p_NC, y_N = _scored(fitted, rows)
    if not len(y_N):
        raise DataError("no held-out text has a word that the classifier can score; give more texts")
    two = place is not None and len(fitted.labels) == 2  # noqa: PLR2004 - of two
    p_NC = map_.all(p_NC, place if two else None)
    if not two or place is None:
        metrics = measure_many(y_N, p_NC)
        return {
            "accuracy": metrics[0].value,
            "card": {"metrics": [m.json() for m in metrics], **_ends(rows, p_NC, place)},
        }
    key = int.from_bytes(hashlib.blake2b(f"{seed}\0quality-bootstrap".encode(), digest_size=8).digest(), "big")
    metrics = measure_two(y_N == place, p_NC[:, place], seed=key)
    points = reliability(y_N == place, p_NC[:, place])
    curve = {
        "title": "reliability on held-out documents",
        "x": f"mean probability of {high!r}",
        "y": f"share that is {high!r}",
        "series": [{"name": str(map_.method), "points": points}],
    }
    card = {"metrics": [m.json() for m in metrics], "curves": [curve], **_ends(rows, p_NC, place)}
    return {"accuracy": metrics[0].value, "card": card}


def _ends(rows: pa.Table, p_NC: NDArray[np.float64], place: int | None) -> dict[str, Any]:
    """The held-out documents that are liked most and least."""
    if place is None or rows.num_rows != len(p_NC):
        return {}
    order = np.argsort(p_NC[:, place], kind="stable")
    shown = [
        {
            "text": rows["text"][int(i)].as_py()[:CHARACTERS],
            "score": float(p_NC[i, place]),
            "where": rows["where"][int(i)].as_py(),
            "label": rows["label"][int(i)].as_py(),
        }
        for i in order
    ]
    return {"likes": shown[::-1][:SHOWN], "hates": shown[:SHOWN]}


def _leaks(train: pa.Table, held_out: pa.Table, accuracy: float) -> list[str]:
    """Warnings where a classifier that sees the source alone, or the length alone, is nearly as good."""
    labels = train["label"].to_pylist(), held_out["label"].to_pylist()
    sources = train["source"].to_pylist(), held_out["source"].to_pylist()
    sizes = leakage.lengths(*([len(t) for t in part["text"].to_pylist()] for part in (train, held_out)))
    found = [leakage.shortcut("length", (sizes[0], labels[0]), (sizes[1], labels[1]))]
    if len(set(sources[0])) > 1:
        found.append(leakage.shortcut("source", (sources[0], labels[0]), (sources[1], labels[1])))
    usual = leakage.shortcut("label", ([0] * len(labels[0]), labels[0]), ([0] * len(labels[1]), labels[1])).accuracy
    return leakage.warnings(accuracy, usual, found)
