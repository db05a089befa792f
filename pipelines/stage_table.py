"""Every stage as data: what it measures, its fields, its columns with units, its examples. Tables are made of it."""

from typing import Any

from stages.base import CorpusStage, RowStage, Stage
from stages.catalog import catalog, did_you_mean
from stages.errors import SpecError

ROLES = ("source", "row", "corpus", "sink")


def stage_table(kind: str | None = None) -> list[dict[str, Any]]:
    """Every stage by role and kind, or the ones of that kind.

    Raises:
        SpecError: no such kind.
    """
    lines = [_line(name, cls) for name, cls in catalog().items()]
    if kind is None:
        return lines
    chosen = [line for line in lines if kind in (line["kind"], f"{line['role']}:{line['kind']}")]
    if not chosen:
        raise SpecError(f"there is no stage {kind!r}{did_you_mean(kind, [line['kind'] for line in lines])}", kind=kind)
    return chosen


def _line(name: str, cls: type[Stage]) -> dict[str, Any]:
    role, colon, kind = name.rpartition(":")
    role = role if colon else "row" if issubclass(cls, RowStage) else "corpus"
    doc = (cls.__doc__ or "").strip()
    return {
        "kind": kind,
        "role": role,
        "version": cls.version,
        "summary": doc.split("\n\n")[0].replace("\n", " "),
        "doc": doc,
        "fields": {n: _field(f) for n, f in cls.model_fields.items() if n != "kind"},
        "columns": [_column(f) for f in cls.writes] if issubclass(cls, (RowStage, CorpusStage)) else [],
        "examples": [_example(e) for e in cls.examples] if issubclass(cls, RowStage) else [],
        "requires": list(cls.requires),
    }


def _field(field: Any) -> dict[str, Any]:
    default = None if field.is_required() else field.get_default(call_default_factory=True)
    return {"type": str(field.annotation).replace("typing.", ""), "default": default, "required": field.is_required()}


def _column(field: Any) -> dict[str, str]:
    notes = {k.decode(): v.decode() for k, v in (field.metadata or {}).items()}
    return {"name": field.name, "type": str(field.type), **notes}


def _example(example: Any) -> dict[str, Any]:
    given = {"text": example.given} if isinstance(example.given, str) else dict(example.given)
    return {"given": given, "gives": dict(example.gives), "fields": dict(example.fields or {})}


def markdown() -> str:
    """Every stage as a table for people: kind, what it does, its columns with units."""
    rows = ["| stage | role | measures or does | columns |", "|---|---|---|---|"]
    for line in sorted(stage_table(), key=lambda s: (ROLES.index(s["role"]), s["kind"])):
        columns = ", ".join(
            f"`{c['name']}`" + (f" ({c['unit']})" if c.get("unit", "1") != "1" else "") for c in line["columns"]
        )
        summary = line["summary"].replace("|", "\\|")
        rows.append(f"| `{line['kind']}` | {line['role']} | {summary} | {columns} |")
    return "\n".join(rows)
