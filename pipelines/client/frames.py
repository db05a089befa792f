"""Answers as tables: Arrow, or what is made of Arrow by pandas or polars, where they are installed."""

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import Any, Literal, TypeAlias

import pyarrow as pa

from stages.errors import SpecError

#: What a table is given as; `data` is the answer itself, as plain data.
Frame: TypeAlias = Literal["arrow", "pandas", "polars", "data"]
FRAMES = ("arrow", "pandas", "polars", "data")
#: Columns that are there and have their type in every table of documents.
_DOCUMENT = {"doc_id": pa.string(), "fate": pa.string(), "reasons": pa.list_(pa.string())}
_WHAT_IF = pa.schema(
    [
        *[("what", pa.string()), ("reason", pa.string())],
        *[(name, pa.int64()) for name in ("before", "after", "difference")],
    ]
)
_RULES = pa.schema(
    [(name, pa.string()) for name in ("reason", "status", "column", "test")]
    + [("value", pa.float64()), ("threshold", pa.float64())]
    + [(name, pa.string()) for name in ("value_text", "threshold_text", "group", "rules", "cite")]
)


def checked_frame(frame: str) -> str:
    """The frame, if there is such a one and what makes it is installed: said before anything is asked.

    Raises:
        SpecError: there is not.
    """
    if frame not in FRAMES:
        raise SpecError(f"the frame {frame!r} does not exist; known: {', '.join(FRAMES)}", frame=frame)
    _library(frame)
    return frame


def framed(table: pa.Table, frame: str) -> Any:
    """A table as a frame.

    Raises:
        SpecError: what makes it is not installed.
    """
    library = _library(frame)
    if library is None:
        return table
    return table.to_pandas() if frame == "pandas" else library.from_arrow(table)


def _library(frame: str) -> Any:
    if frame not in ("pandas", "polars"):
        return None
    try:
        return import_module(frame)  # optional
    except ImportError as error:
        raise SpecError(
            f"{frame} is not installed here; install it with `pip install {frame}`, or ask for frame='arrow'",
            frame=frame,
        ) from error


def documents_table(rows: Sequence[Mapping[str, Any]], total: int) -> pa.Table:
    """Documents, one a row, each measured value a column; how many there are in all is in the schema's metadata."""
    flat = [{**{k: v for k, v in row.items() if k != "values"}, **row.get("values", {})} for row in rows]
    return _table(flat, _DOCUMENT, total)


def clusters_table(clusters: Iterable[Mapping[str, Any]], total: int) -> pa.Table:
    """Members of clusters, one a row, with the cluster's name and size."""
    flat = []
    for cluster in clusters:
        own = {k: v for k, v in cluster.items() if k != "members"}
        flat += [
            {**own, **{k: v for k, v in member.items() if k != "values"}, **member.get("values", {})}
            for member in cluster["members"]
        ]
    return _table(flat, {"cluster": pa.string(), "size": pa.int64(), **_DOCUMENT}, total)


def what_if_table(answer: Mapping[str, Any]) -> pa.Table:
    """What a run keeps and would keep: documents, bytes, tokens and rejected, then documents rejected by reason."""
    before, after = answer["before"], answer["after"]
    lines = [(name, None, before[name], after[name]) for name in ("documents", "bytes", "tokens", "rejected")]
    reasons = dict.fromkeys([*before["reasons"], *after["reasons"]])
    lines += [("reason", r, before["reasons"].get(r, 0), after["reasons"].get(r, 0)) for r in reasons]
    rows = [
        (what, reason, was, would, None if was is None or would is None else would - was)
        for what, reason, was, would in lines
    ]
    return pa.Table.from_pylist([dict(zip(_WHAT_IF.names, row, strict=True)) for row in rows], _WHAT_IF)


def rules_table(explanation: Mapping[str, Any]) -> pa.Table:
    """The rules that judged a document, one a row; values that are no numbers are in the columns of text."""
    rows = []
    for rule in explanation["rules"]:
        row = {name: rule.get(name) for name in ("reason", "status", "column", "test", "group", "rules", "cite")}
        for name in ("value", "threshold"):
            value = rule.get(name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            row[name] = float(value) if number else None
            row[f"{name}_text"] = value if value is None or isinstance(value, str) else json.dumps(value)
        rows.append(row)
    return pa.Table.from_pylist(rows, _RULES)


def _table(rows: Sequence[Mapping[str, Any]], known: Mapping[str, pa.DataType], total: int) -> pa.Table:
    names = list(dict.fromkeys([*known, *(name for row in rows for name in row)]))
    columns = {name: _column([row.get(name) for row in rows], known.get(name)) for name in names}
    return pa.table(columns).replace_schema_metadata({"total": str(total)})


def _column(values: list[Any], kind: pa.DataType | None) -> pa.Array:
    """A column; one of several types is JSON text."""
    try:
        return pa.array(values, kind)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if v is None else json.dumps(v, ensure_ascii=False) for v in values], pa.string())
