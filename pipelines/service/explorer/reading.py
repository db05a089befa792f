"""Documents as they are shown: what arrays know of them, and their texts and origins from their shards alone."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.sample import FATES, ORIGIN, Place, rows_of, value_columns
from pipelines.service.explorer.arrays import Arrays
from pipelines.view import RunView


def described(arrays: Arrays, rows: NDArray[Any], columns: Sequence[str]) -> list[dict[str, Any]]:
    """What arrays know of some documents; opens no file of the store."""
    values = [arrays.column(c).some(rows) for c in columns]
    return [
        {
            "row": row,
            "place": place_of(arrays, row),
            "doc_id": arrays.doc_ids[row].tobytes().hex(),
            "fate": FATES[arrays.fate[row]],
            "reasons": arrays.reasons_of(row),
            "values": {c: found[i] for c, found in zip(columns, values, strict=True)},
        }
        for i, row in enumerate(rows.tolist())
    ]


def place_of(arrays: Arrays, row: int) -> Place:
    """Where the document with that number is."""
    shard = int(np.searchsorted(arrays.starts, row, "right")) - 1
    return Place(shard, row - int(arrays.starts[shard]))


def read(
    view: RunView, arrays: Arrays, held: Sequence[str], places: Sequence[Place], characters: int | None
) -> list[dict[str, Any]]:
    """What `pipelines.sample.documents` gives, where the `held` columns come from arrays: far fewer files are opened."""
    values = [v for v in value_columns(view) if v != view.text]
    mine = [v for v in values if v in held]
    columns = list(dict.fromkeys([*ORIGIN, view.text, *(v for v in values if v not in held)]))
    found: dict[Place, dict[str, Any]] = {}
    for index in sorted({p.shard for p in places}):
        shard, rows = view.shards[index], sorted({p.row for p in places if p.shard == index})
        records = dict(rows_of(view, shard, rows, columns))
        textless = [row for row, record in records.items() if record[view.text] is None]
        originals = {row: record["text"] for row, record in rows_of(view, shard, textless, ["text"])}
        known = described(arrays, arrays.starts[index] + np.array(rows, np.int64), mine)
        for row, about in zip(rows, known, strict=True):
            record = records[row]
            text = originals.get(row, record[view.text])
            found[Place(index, row)] = {
                "doc_id": record["doc_id"],
                **{name: record[name] for name in ORIGIN},
                "fate": about["fate"],
                "reasons": about["reasons"],
                "values": {v: about["values"][v] if v in held else record[v] for v in values},
                "text": text if characters is None or text is None else text[:characters],
                "text_characters": None if text is None else len(text),
            }
    return [found[p] for p in places]
