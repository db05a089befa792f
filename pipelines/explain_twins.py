"""A document's twins: which member of its cluster stayed, what it is nearest to, and how alike they are.

One pass over narrow columns finds the members of the document's clusters and the documents that it is nearest to; where
those few came from is read afterwards. No text but the document's own is read.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.duplicate_steps import Certainty, DuplicateStep, duplicate_steps, span_steps, text_of
from pipelines.sample import ORIGIN, Place, rows_of
from pipelines.view import RunView

#: Of a cluster, how many members are listed; of a text, how many repeated spans, and characters of one.
LISTED = 20
SPANS = 10
CHARACTERS = 300

TwinStatus = Literal["stayed", "another stayed", "was not considered", "not in a cluster"]


@dataclass(frozen=True, slots=True)
class TwinOutcome:
    """What a choice within clusters said: which member stayed, and some of the others."""

    reason: str
    column: str
    by: str
    status: TwinStatus
    cluster: Any
    size: int | None
    stays: dict[str, Any] | None  # the member that stayed: doc_id, id, where it came from, fate
    jaccard: float | None  # similarity to the nearest member, where the step measures it
    members: list[dict[str, Any]]
    cite: str


@dataclass(frozen=True, slots=True)
class DuplicateOutcome:
    """What one duplicate step found of the document, and whether a rule rejects it for that."""

    step: str
    kind: str
    cluster: Any  # None where the step makes no clusters or the document has nothing to compare
    size: int | None
    similarity: str | None  # jaccard or cosine
    certainty: Certainty
    threshold: float | None  # the similarity from which on the step links two documents
    nearest: dict[str, Any] | None  # the most similar document: doc_id, id, where it came from, fate
    value: float | None  # the similarity to `nearest`
    corpus: str | None  # of an index: where `nearest` was added from
    known: bool | None  # of an index that names no twin: whether it knows the document; None where it was not asked
    stays: dict[str, Any] | None  # the member of the cluster that stayed, where a choice was made among its members
    value_to_stays: float | None  # the similarity to it: the step's own where it is the nearest, else an estimate
    reasons: list[str]  # of the rules on this step's columns that reject the document
    rejected: bool  # whether there is one


@dataclass(frozen=True, slots=True)
class RepeatOutcome:
    """What a document repeats of others, or of itself."""

    step: str
    kind: str
    fraction: float | None
    bytes: int | None
    spans: int
    first: list[
        dict[str, Any]
    ]  # the first spans: begin and end in bytes of `text`, and the beginning of what they hold
    text: str


@dataclass(slots=True)
class Related:
    """The documents around one: members of its clusters, those that stayed, and the nearest."""

    members: dict[str, list[str]] = field(default_factory=dict)  # column -> doc_ids, the smallest ones
    sizes: dict[str, int] = field(default_factory=dict)
    stays: dict[int, str] = field(default_factory=dict)  # choice -> doc_id
    places: dict[str, Place] = field(default_factory=dict)
    origins: dict[str, dict[str, Any]] = field(default_factory=dict)

    def document(self, doc_id: str) -> dict[str, Any]:
        """Where a document came from and what became of it; of one outside the run only the doc_id."""
        return self.origins.get(doc_id, {"doc_id": doc_id, "id": None})


def columns(view: RunView) -> list[str]:
    """What must be read of the document itself, beside its small columns."""
    steps = span_steps(view)
    return [c for step in steps for c in (f"{step}.spans", text_of(view, step))]


def related(view: RunView, record: dict[str, Any]) -> Related:
    """The documents that share a cluster with `record`, or are nearest to it."""
    found = Related()
    clusters = {c: record[c] for c in _cluster_columns(view) if record[c] is not None}
    nearest = {record[s.column("nearest")] for s in duplicate_steps(view) if s.column("nearest") in view.fields} - {
        None
    }
    if not clusters and not nearest:
        return found
    for index in range(len(view.shards)):
        _consider(view, index, clusters, nearest, found)
    wanted = {i for ids in found.members.values() for i in ids} | set(found.stays.values()) | nearest
    _read_origins(view, found, wanted - {record["doc_id"]})
    return found


def twin(view: RunView, record: dict[str, Any], index: int, around: Related) -> TwinOutcome:
    """What a choice of the policy said of the document."""
    choice = view.policy.one_of[index]
    cluster, stays = record[choice.cluster], record[f"choice-{index}.stays"]
    step = choice.cluster.rpartition(".")[0]
    status: TwinStatus
    if cluster is None:
        status = "not in a cluster"
    elif stays is None:
        status, stays = "was not considered", around.stays.get(index)
    else:
        status = "stayed" if stays == record["doc_id"] else "another stayed"
    others = [i for i in around.members.get(choice.cluster, []) if i != record["doc_id"]]
    return TwinOutcome(
        reason=choice.reason,
        column=choice.cluster,
        by=choice.by,
        status=status,
        cluster=cluster,
        size=record.get(f"{step}.cluster_size", around.sizes.get(choice.cluster, 0)),
        stays=None if stays is None else _known(record, around, stays),
        jaccard=record.get(f"{step}.jaccard"),
        members=[around.document(i) for i in others[:LISTED]],
        cite=choice.cite,
    )


def duplicates(view: RunView, record: dict[str, Any], reasons: list[str], around: Related) -> list[DuplicateOutcome]:
    """What every duplicate step found of the document; `reasons` are those that reject it."""
    return [_duplicate(view, record, step, reasons, around) for step in duplicate_steps(view)]


def repeats(view: RunView, record: dict[str, Any]) -> list[RepeatOutcome]:
    """What every step that finds repeated spans found in the document."""
    found = []
    for step in span_steps(view):
        column = text_of(view, step)
        text, spans = (record[column] or "").encode(), record[f"{step}.spans"] or []
        first = [{**s, "text": _clip(text, s["begin"], s["end"])} for s in spans[:SPANS]]
        found.append(
            RepeatOutcome(
                step=step,
                kind=view.plan.step(step).stage.kind,
                fraction=record[f"{step}.duplicate_fraction"],
                bytes=record[f"{step}.duplicate_bytes"],
                spans=len(spans),
                first=first,
                text=column,
            )
        )
    return found


def _cluster_columns(view: RunView) -> list[str]:
    steps = [s.column("cluster") for s in duplicate_steps(view) if s.clustered]
    return list(dict.fromkeys([*steps, *(choice.cluster for choice in view.policy.one_of)]))


def _consider(view: RunView, index: int, clusters: dict[str, Any], nearest: set[str], found: Related) -> None:
    """Note the rows of a shard that belong to the document's clusters or are what it is nearest to."""
    choices = [(i, c.cluster) for i, c in enumerate(view.policy.one_of) if c.cluster in clusters]
    table = view.read(view.shards[index], [*clusters, *(f"choice-{i}.stays" for i, _ in choices)])
    doc_ids = table["doc_id"]
    for column, cluster in clusters.items():
        mine = pc.indices_nonzero(pc.equal(table[column], pa.scalar(cluster, table[column].type)))
        ids = doc_ids.take(mine).to_pylist()
        found.sizes[column] = found.sizes.get(column, 0) + len(ids)
        found.members[column] = sorted([*found.members.get(column, []), *ids])[: LISTED + 1]
        found.places |= {i: Place(index, row) for i, row in zip(ids, mine.to_pylist(), strict=True)}
        for i in (i for i, of in choices if of == column):
            stays = table[f"choice-{i}.stays"].take(mine).drop_null()
            found.stays |= {i: stays[0].as_py()} if len(stays) else {}
    there = pc.indices_nonzero(pc.is_in(doc_ids, pa.array(sorted(nearest), pa.string()))).to_pylist()
    found.places |= {doc_ids[row].as_py(): Place(index, row) for row in there}
    needed = {i for ids in found.members.values() for i in ids} | set(found.stays.values()) | nearest
    found.places = {i: place for i, place in found.places.items() if i in needed}


def _read_origins(view: RunView, found: Related, wanted: set[str]) -> None:
    by_shard: dict[int, list[int]] = {}
    for place in (found.places[i] for i in wanted if i in found.places):
        by_shard.setdefault(place.shard, []).append(place.row)
    for index, rows in sorted(by_shard.items()):
        for _, row in rows_of(view, view.shards[index], sorted(set(rows)), [*ORIGIN, "verdict.fate"]):
            found.origins[row["doc_id"]] = {
                "doc_id": row["doc_id"],
                **{name: row[name] for name in ORIGIN},
                "fate": row["verdict.fate"],
            }


def _duplicate(
    view: RunView, record: dict[str, Any], step: DuplicateStep, reasons: list[str], around: Related
) -> DuplicateOutcome:
    nearest = record.get(step.column("nearest"))
    value = record.get(step.column(step.similarity)) if step.similarity else None
    matches = record.get(step.column("matches")) if step.bloom else None
    stays = _stays(view, record, step, around)
    why = [reason for reason in reasons if reason in _reasons_of(view, step)]
    return DuplicateOutcome(
        step=step.name,
        kind=step.kind,
        cluster=record.get(step.column("cluster")),
        size=record.get(step.column("cluster_size")),
        similarity=step.similarity,
        certainty=step.certainty,
        threshold=step.threshold,
        nearest=None if nearest is None else around.document(nearest),
        value=value,
        corpus=record.get(step.column("corpus")),
        known=None if matches is None else matches > 0,
        stays=None if stays is None else _known(record, around, stays),
        value_to_stays=_value_to(view, record, step, stays, around),
        reasons=why,
        rejected=bool(why),
    )


def _stays(view: RunView, record: dict[str, Any], step: DuplicateStep, around: Related) -> str | None:
    """The member that stayed, of the last choice among the members of the step's clusters."""
    for index, choice in reversed(list(enumerate(view.policy.one_of))):
        if choice.cluster == step.column("cluster"):
            return record[f"choice-{index}.stays"] or around.stays.get(index)
    return None


def _known(record: dict[str, Any], around: Related, doc_id: str) -> dict[str, Any]:
    if doc_id != record["doc_id"]:
        return around.document(doc_id)
    return {"doc_id": doc_id, **{name: record[name] for name in ORIGIN}, "fate": record["verdict.fate"]}


def _value_to(
    view: RunView, record: dict[str, Any], step: DuplicateStep, stays: str | None, around: Related
) -> float | None:
    """The similarity to the member that stayed: the step's own number, or the share of equal sketch values."""
    if stays is None or stays == record["doc_id"] or step.similarity is None:
        return None
    if stays == record[step.column("nearest")]:
        value: float | None = record[step.column(step.similarity)]
        return value
    own = around.places.get(record["doc_id"])
    if step.signature is None or stays not in around.places or own is None:
        return None
    sketches = [_sketch(view, place, step.signature) for place in (own, around.places[stays])]
    return float(np.mean(sketches[0] == sketches[1]))


def _sketch(view: RunView, place: Place, column: str) -> "np.ndarray[Any, np.dtype[np.uint32]]":
    _, row = next(rows_of(view, view.shards[place.shard], [place.row], [column]))
    return np.frombuffer(row[column], "<u4")


def _reasons_of(view: RunView, step: DuplicateStep) -> set[str]:
    """The reasons of rules that read one of the step's columns."""
    begins = f"{step.name}."
    plain = {rule.reason for rule in view.policy.plain if rule.column.startswith(begins)}
    return plain | {choice.reason for choice in view.policy.one_of if choice.cluster.startswith(begins)}


def _clip(text: bytes, begin: int, end: int) -> str:
    """The beginning of a span, whole characters."""
    return text[begin : min(end, begin + 4 * CHARACTERS)].decode("utf-8", "ignore")[:CHARACTERS]
