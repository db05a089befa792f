"""One document: why it stayed or went, whose copy it is, what was found in it, what was rewritten, and where it went."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import pyarrow as pa
from fastapi import APIRouter, Path, Query, Request, Response

from pipelines.duplicate_steps import duplicate_steps, text_of
from pipelines.report.shared_spans import COMPARED, Run, compared, pieces, shared_fraction
from pipelines.sample import Place, rows_of
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.pages.asking import MAX_OFFSET, Asked, AskedFor
from pipelines.service.pages.passages import SHOWN, Marked, marked
from pipelines.service.pages.rendering import page
from pipelines.service.pages.rewriting import COMPARED as REWRITTEN
from pipelines.service.pages.rewriting import rewritten, shortened, spaces_shown
from pipelines.service.routes.runs import RunId
from pipelines.service.security.authentication import Reader, Served
from pipelines.view import RunView

router = APIRouter(include_in_schema=False)

_LOSES = ("fail", "null, dropped")


@router.get("/runs/{run}/documents/{document:path}")
def document(
    request: Request,
    run: RunId,
    document: Annotated[str, Path(min_length=1, max_length=2_000)],
    service: Served,
    token: Reader,
    asked: AskedFor,
    at: Annotated[int | None, Query(ge=0, le=MAX_OFFSET)] = None,
) -> Response:
    """Everything about a document; with the list that it was opened from (`at`: its place there), the way to the next."""
    del token
    row = service.row(run)
    told = service.explain(run, document)
    explorer: Explorer = service.explorer(run)
    place = explorer.find(told["doc_id"])
    return page(
        request,
        "document.html.j2",
        here="runs",
        row=row,
        told=told,
        asked=asked,
        at=at,
        beside=_beside(explorer, asked, at),
        decisive=[r for r in told["rules"] if r["status"] in _LOSES],
        others=[r for r in told["rules"] if r["status"] not in _LOSES],
        duplicates=_duplicates(explorer, told, place),
        texts=_texts(explorer.view, told, place),
        parts=_rewritten(told),
        compared=REWRITTEN,
        spaces=spaces_shown,
    )


def _beside(explorer: Explorer, asked: Asked, at: int | None) -> dict[str, tuple[str, int] | None]:
    """The documents before and after in the list: their doc_id and place."""
    if at is None:
        return {"previous": None, "next": None}
    start = max(0, at - 1)
    rows = explorer.documents(
        asked.fate, asked.reason, asked.tests(), offset=start, limit=at - start + 2, sort=asked.sort
    ).rows
    found = {start + i: row["doc_id"] for i, row in enumerate(rows)}
    places = {"previous": at - 1, "next": at + 1}
    return {name: (found[n], n) if n in found else None for name, n in places.items()}


# -- duplicates ---------------------------------------------------------------------------------------------------------


def _duplicates(explorer: Explorer, told: Mapping[str, Any], place: Place | None) -> list[dict[str, Any]]:
    """What each duplicate step found, with both texts where it names another document of the run."""
    found = []
    steps = {step.name: step for step in duplicate_steps(explorer.view)} if told["duplicates"] else {}
    for outcome in told["duplicates"]:
        other = outcome["stays"] if outcome["stays"] and outcome["rejected"] else outcome["nearest"]
        if other is None and outcome["stays"] is not None:
            other = outcome["stays"]
        beside = explorer.find(other["doc_id"]) if other and other["doc_id"] != told["doc_id"] else None
        step = steps[outcome["step"]]
        both = None
        if beside is not None and place is not None:
            both = _side_by_side(explorer.view, step.text, (place, beside), step.ngram)
        value = outcome["value_to_stays"] if other is outcome["stays"] else outcome["value"]
        found.append({**outcome, "other": other, "to_other": value, "both": both})
    return found


def _side_by_side(view: RunView, column: str, places: tuple[Place, Place], ngram: int) -> dict[str, Any]:
    mine, theirs = (_column(view, place, column) or "" for place in places)
    if mine == theirs:
        return {"identical": True, "characters": len(mine), "shared": 1.0}
    texts = mine[:COMPARED], theirs[:COMPARED]
    runs = compared(texts[0], [texts[1]], ngram), compared(texts[1], [texts[0]], ngram)
    return {
        "identical": False,
        "shared": shared_fraction(runs[0]),
        "mine": _pieces(mine, runs[0]),
        "theirs": _pieces(theirs, runs[1]),
    }


def _pieces(text: str, runs: list[Run]) -> list[dict[str, Any]]:
    return pieces(text[:COMPARED], runs, max(0, len(text) - COMPARED))


def _column(view: RunView, place: Place, column: str) -> Any:
    _, record = next(rows_of(view, view.shards[place.shard], [place.row], [column]))
    return record[column]


# -- texts --------------------------------------------------------------------------------------------------------------


def _texts(view: RunView, told: Mapping[str, Any], place: Place | None) -> list[tuple[str, Marked]]:
    """The texts to read, with what steps found in them: the one that leaves, and others that spans are of."""
    if place is None:
        return []
    steps = {step: text_of(view, step) for step in _span_steps(view)}
    columns = list(dict.fromkeys([view.text, *steps.values()]))
    wanted = [*columns, *(f"{step}.spans" for step in steps)]
    _, record = next(rows_of(view, view.shards[place.shard], [place.row], list(dict.fromkeys(wanted))))
    found = []
    for column in columns:
        spans = [(s, mark) for step, of in steps.items() if of == column for s, mark in _spans(record, step)]
        text = record[column] if record[column] is not None else told["original"] if column == view.text else None
        if text is not None and (spans or column == view.text):
            found.append((column, marked(text, spans, SHOWN)))
    return found


def _span_steps(view: RunView) -> list[str]:
    """The steps that say where in a text they found something."""
    found = []
    for step in view.plan.steps:
        field = view.fields.get(f"{step.name}.spans")
        if field is not None and pa.types.is_list(field.type) and pa.types.is_struct(field.type.value_type):
            names = {f.name for f in field.type.value_type}
            found += [step.name] if {"begin", "end"} <= names else []
    return found


def _spans(record: Mapping[str, Any], step: str) -> Iterator[tuple[Mapping[str, Any], str]]:
    for span in record[f"{step}.spans"] or []:
        yield span, f"{step}: {span.get('kind') or 'repeated'}"


def _rewritten(told: Mapping[str, Any]) -> list[Any]:
    if not told["rewritten"] or told["original"] is None or told["leaving"] is None:
        return []
    return shortened(rewritten(told["original"], told["leaving"]))
