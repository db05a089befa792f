"""Two runs side by side: what became of how many, what their specs say otherwise, and which documents moved and why."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

import numpy as np
from fastapi import APIRouter, Query, Request, Response
from numpy.typing import NDArray

from pipelines.runs import RunFolder
from pipelines.service.explorer.comparing import Pairs
from pipelines.service.explorer.explorer import Explorer
from pipelines.service.explorer.reading import place_of
from pipelines.service.pages.asking import MAX_OFFSET
from pipelines.service.pages.rendering import page
from pipelines.service.security.authentication import Reader, Served
from pipelines.service.service import Service

router = APIRouter(include_in_schema=False)

#: Documents a page, characters of each, differences of specs that are listed, runs that can be chosen.
PAGE, BEGINNING, MOST, CHOICES = 20, 240, 60, 100
Name = Annotated[str | None, Query(max_length=200)]


@router.get("/compare")
def compare(
    request: Request,
    service: Served,
    token: Reader,
    a: Name = None,
    b: Name = None,
    moved: Annotated[Literal["lost", "gained"], Query()] = "lost",
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET)] = 0,
) -> Response:
    """Choose two finished runs, or see how two differ."""
    del token
    finished = service.rows(state=("SUCCEEDED",), limit=CHOICES).rows
    values: dict[str, Any] = {"here": "runs", "choices": finished, "a": a or "", "b": b or "", "moved": moved}
    if not a or not b:
        return page(request, "compare.html.j2", **values, found=None)
    found = _compared(service, a, b, moved, offset)

    def address(**changes: Any) -> str:
        return urlencode({"a": a, "b": b, "moved": moved, "offset": offset} | changes)

    return page(request, "compare.html.j2", **values, found=found, offset=offset, page_size=PAGE, address=address)


def _compared(service: Service, a: str, b: str, moved: str, offset: int) -> dict[str, Any]:
    rows = service.row(a), service.row(b)
    one, other = (service.explorer(name) for name in (a, b))
    pairs = Pairs.open(one.arrays, other.arrays, service.reading.pairs_folder)
    places = {"lost": pairs.lost, "gained": pairs.gained}[moved]
    return {
        "rows": rows,
        "runs": [e.view.run for e in (one, other)],
        "funnel": list(_funnel(one, other)),
        "fates": pairs.fates,
        "reasons": pairs.reasons[moved],
        "counts": {"lost": len(pairs.lost), "gained": len(pairs.gained)},
        "documents": _documents((one, other), np.asarray(places[offset : offset + PAGE]), moved),
        "differences": list(_differences(_spec(one), _spec(other)))[:MOST],
    }


def _funnel(one: Explorer, other: Explorer) -> Iterator[tuple[str, Any, Any, str]]:
    """Lines of the funnel: what is counted, in both runs, and how it is written."""
    totals = [e.view.ledger["total"] for e in (one, other)]
    for name in (
        "documents_in",
        "exported",
        "rejected",
        "quarantined",
        "bytes_in",
        "bytes_exported",
        "tokens_exported",
    ):
        yield name.replace("_", " "), totals[0][name], totals[1][name], "size" if "bytes" in name else "count"
    counts = [e.view.ledger["reasons"] for e in (one, other)]
    for reason in dict.fromkeys([*counts[0], *counts[1]]):
        yield f"rejected: {reason}", counts[0].get(reason), counts[1].get(reason), "count"


def _documents(explorers: tuple[Explorer, Explorer], pairs: NDArray[np.int64], moved: str) -> list[dict[str, Any]]:
    """Moved documents with their text in the run that keeps them, and what the other run has against them."""
    keeps, lets_go = (0, 1) if moved == "lost" else (1, 0)
    holder, against = explorers[keeps], explorers[lets_go]
    texts = holder.read([place_of(holder.arrays, int(r)) for r in pairs[:, keeps]], BEGINNING)
    found = []
    for text, row in zip(texts, pairs[:, lets_go].tolist(), strict=True):
        why = against.arrays.reasons_of(row) if row >= 0 else []
        found.append({**text, "why": why, "absent": row < 0})
    return found


def _spec(explorer: Explorer) -> Mapping[str, Any]:
    found: Mapping[str, Any] = RunFolder(explorer.view.store, explorer.view.run).find("spec.json")["spec"]
    return found


def _differences(one: Any, other: Any, where: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two specs differ: the place, and what each says; None where it says nothing."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for name in dict.fromkeys([*one, *other]):
            yield from _differences(one.get(name), other.get(name), f"{where}.{name}" if where else str(name))
    elif isinstance(one, list) and isinstance(other, list):
        for i in range(max(len(one), len(other))):
            both = [some[i] if i < len(some) else None for some in (one, other)]
            yield from _differences(both[0], both[1], f"{where}[{i}]")
    elif one != other:
        yield where, one, other
