"""Why a document stayed or went: every rule with its value and threshold, its twins, where it came from, where it is.

Finding a document reads its two id columns only; its text is read from its own shard alone.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from pipelines import explain_twins
from pipelines.explain_twins import DuplicateOutcome, RepeatOutcome, TwinOutcome
from pipelines.plan import ORDER
from pipelines.sample import ORIGIN, Place, rows_of
from pipelines.shards import Shard
from pipelines.view import RunView
from stages.document import DOCUMENT
from stages.errors import SpecError
from stages.rules import BoundRule, Percentile, judge

Status = Literal["pass", "fail", "not applicable", "null, kept", "null, dropped"]
STATUSES: tuple[Status, ...] = ("pass", "fail", "not applicable", "null, kept", "null, dropped")
#: Of an ambiguous name, how many candidates are listed.
LISTED = 20
_DIGITS = 32
_SHORTEST = 6  # hex digits that count as the beginning of a doc_id
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What one rule said. `threshold` is a number also where the rule is a percentile (`written`, of `group`)."""

    reason: str
    column: str
    value: Any
    test: str
    written: Any
    threshold: Any
    group: str | None
    status: Status
    where: dict[str, list[Any]]
    cite: str
    rules: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """A document's fate and everything that led to it."""

    run: str
    doc_id: str
    id: str | None
    fate: Literal["kept", "rejected", "quarantined"]
    reasons: list[str]
    rules: list[RuleOutcome]  # none for a quarantined document: it was not judged
    twins: list[TwinOutcome]
    duplicates: list[DuplicateOutcome]  # what every duplicate step found, whether a rule uses it or not
    repeats: list[RepeatOutcome]  # spans that occur elsewhere
    quarantine: dict[str, Any] | None  # step, reason, message
    provenance: dict[str, Any]  # source, path, ordinal, url, lang, license, shard, keys
    position: dict[str, Any] | None  # export, rank, file and row; both None when the export was deleted
    values: dict[str, Any]  # every measured value that is not text
    original: str | None
    leaving: str | None
    rewritten: bool

    def json(self) -> dict[str, Any]:
        """The explanation as data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Found:
    """Where a document is; a malformed record is in no shard."""

    doc_id: str
    id: str | None
    shard: Shard | None = None
    row: int = -1


def explain(view: RunView, name: str) -> Explanation:
    """The explanation of the document with that doc_id (or a unique beginning of it), or that id.

    Raises:
        SpecError: no such document, or several.
    """
    found = list(_find(view, name))
    if not found:
        raise SpecError(
            f"the run {view.run} has no document {name!r}; `tamis sample {view.run} --fate rejected` shows some, "
            "and a document's id or the beginning of its doc_id names it",
            run=view.run,
            document=name,
        )
    if len(found) > 1:
        listed = [{"doc_id": f.doc_id, "id": f.id} for f in found[:LISTED]]
        more = f" (and {len(found) - LISTED} more)" if len(found) > LISTED else ""
        ids = ", ".join(f.doc_id for f in found[:LISTED])
        raise SpecError(
            f"{len(found)} documents of the run {view.run} are called {name!r}: {ids}{more}; write one doc_id",
            run=view.run,
            document=name,
            candidates=listed,
        )
    return _unread(view, found[0]) if found[0].shard is None else _explained(view, found[0].shard, found[0].row)


def explain_at(view: RunView, place: Place) -> Explanation:
    """The explanation of the document at a place; nothing is looked for."""
    return _explained(view, view.shards[place.shard], place.row)


def is_doc_id(name: str) -> bool:
    """Whether a name is a whole doc_id."""
    return len(name) == _DIGITS and set(name.lower()) <= _HEX


def _find(view: RunView, name: str) -> Iterator[_Found]:
    """Every document of that name; a whole doc_id is looked for alone, and a quarantined record by either name."""
    exact = is_doc_id(name)
    begins = _SHORTEST <= len(name) < _DIGITS and set(name.lower()) <= _HEX
    for shard in view.shards:
        table = view.read(shard, ["id"])
        for row in _matches(table, name, exact=exact, begins=begins):
            yield _Found(table["doc_id"][row].as_py(), table["id"][row].as_py(), shard, row)
            if exact and table["doc_id"][row].as_py() == name.lower():
                return
    malformed = view.quarantined()
    malformed = malformed.filter(pc.is_in(malformed["step"], pa.array(list(view.spec.sources), pa.string())))
    for row in _matches(malformed, name, exact=exact, begins=begins):
        yield _Found(malformed["doc_id"][row].as_py(), malformed["id"][row].as_py())


def _matches(table: pa.Table, name: str, *, exact: bool, begins: bool) -> list[int]:
    mask = pc.fill_null(pc.equal(table["id"], name), False)  # noqa: FBT003 - Arrow's argument
    if exact:
        mask = pc.or_(mask, pc.equal(table["doc_id"], name.lower()))
    elif begins:
        mask = pc.or_(mask, pc.starts_with(table["doc_id"], name.lower()))
    rows: list[int] = pc.indices_nonzero(mask).to_pylist()
    return rows


def _explained(view: RunView, shard: Shard, row: int) -> Explanation:
    columns = [c for c, field in view.fields.items() if _is_small(c, field, view)]
    texts = list(dict.fromkeys(("text", view.text)))
    wanted = list(dict.fromkeys([*columns, *view.policy.columns, *texts, *explain_twins.columns(view)]))
    _, record = next(rows_of(view, shard, [row], wanted))
    quarantine = _quarantine(view, record["doc_id"])
    original, leaving = record["text"], record[view.text]
    fate, reasons = record["verdict.fate"], record["verdict.reasons"] or []
    around = explain_twins.related(view, record)
    choices = () if quarantine else view.policy.one_of
    return Explanation(
        run=view.run,
        doc_id=record["doc_id"],
        id=record["id"],
        fate=fate,
        reasons=reasons,
        rules=[] if quarantine else _rules(view, record),
        twins=[explain_twins.twin(view, record, i, around) for i in range(len(choices))],
        duplicates=explain_twins.duplicates(view, record, reasons, around),
        repeats=explain_twins.repeats(view, record),
        quarantine=quarantine,
        provenance=_provenance(view, record, shard),
        position=_position(view, shard, record) if fate == "kept" else None,
        values={c: record[c] for c in columns if "." in c and not c.startswith(("verdict.", "choice-"))},
        original=original,
        leaving=leaving,
        rewritten=leaving is not None and leaving != original,
    )


def _is_small(name: str, field: pa.Field, view: RunView) -> bool:
    """Whether a column is shown as a value: not a text, a list of numbers or bytes."""
    leaf = name.rpartition(".")[2]
    small = pa.types.is_primitive(field.type) or pa.types.is_string(field.type) or name == "verdict.reasons"
    return small and (leaf != "text" or (name == view.text and "." not in name)) and name != "text"


def _rules(view: RunView, record: dict[str, Any]) -> list[RuleOutcome]:
    """What every plain rule says of the document, judged again from its stored values."""
    plain = view.policy.plain
    schema = pa.schema([view.fields[c].with_name(c) for c in view.policy.plain_columns])
    table = pa.Table.from_pylist([{c: record[c] for c in schema.names}], schema)
    statuses = judge(plain, table, view.thresholds)
    return [_rule(view, rule, record, int(statuses[i][0])) for i, rule in enumerate(plain)]


def _rule(view: RunView, rule: BoundRule, record: dict[str, Any], status: int) -> RuleOutcome:
    value, group = rule.value, None
    threshold: Any = list(value) if isinstance(value, tuple) else value
    if isinstance(value, Percentile):
        resolved = view.thresholds.get(rule.reason)
        if rule.per is not None:
            group = record[rule.per]
            group = str(group).lower() if isinstance(group, bool) else None if group is None else str(group)
            threshold = resolved.get(group) if isinstance(resolved, dict) else None
        else:
            threshold = resolved
    return RuleOutcome(
        reason=rule.reason,
        column=rule.column,
        value=record[rule.column],
        test=rule.test,
        written=str(value) if isinstance(value, Percentile) else threshold,
        threshold=threshold,
        group=group,
        status=STATUSES[status],
        where={c: list(v) for c, v in rule.where},
        cite=rule.cite,
        rules=rule.rules,
    )


def _provenance(view: RunView, record: dict[str, Any], shard: Shard) -> dict[str, Any]:
    keys = {view.spec.name: None} if not view.plan.steps else {s.name: s.key for s in view.plan.steps}
    return {
        **{name: record[name] for name in (*ORIGIN, "snapshot", "domain") if name != "id"},
        "meta": _meta(record["meta"]),
        "shard": shard.digest,
        "keys": {**dict(view.plan.source_keys), **keys, "verdict": view.plan.verdict_key},
    }


def _meta(text: str | None) -> Any:
    """The record's other fields. They were written by us, so they parse."""
    return None if text is None else json.loads(text)


def _quarantine(view: RunView, doc_id: str) -> dict[str, Any] | None:
    table = view.quarantined()
    rows = table.filter(pc.equal(table["doc_id"], doc_id)).select(["step", "reason", "message"]).to_pylist()
    return rows[0] if rows else None


def _unread(view: RunView, found: _Found) -> Explanation:
    """A malformed record: there is a place and a message, and nothing else."""
    table = view.quarantined()
    row = table.filter(pc.equal(table["doc_id"], found.doc_id)).to_pylist()[0]
    return Explanation(
        run=view.run,
        doc_id=found.doc_id,
        id=found.id,
        fate="quarantined",
        reasons=[],
        rules=[],
        twins=[],
        duplicates=[],
        repeats=[],
        quarantine={k: row[k] for k in ("step", "reason", "message")},
        provenance={k: row[k] for k in ("source", "path", "ordinal")},
        position=None,
        values={},
        original=None,
        leaving=None,
        rewritten=False,
    )


def _position(view: RunView, shard: Shard, record: dict[str, Any]) -> dict[str, Any]:
    """File and row (from 0) in the run's own export, and rank (from 0) among all exported documents.

    The final order is that of `order`, else source, path, ordinal: then the rank counts the kept documents before this
    one, from narrow columns.
    """
    if view.plan.order is not None:
        rank = record[f"{ORDER}.position"]
    else:
        place = (shard.source, record["path"], record["ordinal"])
        rank = sum(_kept_before(view, other, place) for other in view.shards)
    found = {"export": view.record["export"], "rank": rank}
    row = rank
    for file in _exported_files(view):
        if row < file["rows"]:
            return {**found, "file": file["name"], "row": row}
        row -= file["rows"]
    return {**found, "file": None, "row": None}


def _kept_before(view: RunView, shard: Shard, place: tuple[str, str, int]) -> int:
    source, path, ordinal = place
    if shard.source > source:
        return 0
    columns = ["verdict.keep"] if shard.source < source else ["verdict.keep", "path", "ordinal"]
    table = view.read(shard, columns)
    if shard.source < source:
        return int(pc.sum(table["verdict.keep"]).as_py() or 0)
    same = pc.and_(pc.equal(table["path"], path), pc.less(table["ordinal"], ordinal))
    before = pc.and_(table["verdict.keep"], pc.or_(pc.less(table["path"], path), same))
    return int(pc.sum(before).as_py() or 0)


def _exported_files(view: RunView) -> list[dict[str, Any]]:
    """The files of the run's export with their rows, in order; none when somebody deleted it."""
    note = view.store.find_json(f"runs/{view.run}/export-{view.spec.sink.kind}.json")
    manifest = view.store.find_json(f"{note['path']}/manifest.json") if note else None
    return list(manifest["files"]) if manifest else []


assert set(ORIGIN) <= set(DOCUMENT.names)
