"""Documents as the report shows them beside others: where they came from, what became of them, their text."""

from collections.abc import Iterable, Sequence
from typing import Any

from pipelines.report import shared_spans
from pipelines.sample import ORIGIN, Place, rows_of
from pipelines.view import RunView

#: Characters at the beginning of a text by which a list names a document.
BEGINNING = 200


def cards(
    view: RunView, places: Iterable[Place], text: str, columns: Sequence[str], characters: int
) -> dict[Place, dict[str, Any]]:
    """The documents at these places, with `columns` under `values` and at most `characters` of the column `text`.

    Each shard is read once, and of it the row groups that hold one of the documents.
    """
    wanted = list(dict.fromkeys([*ORIGIN, "verdict.fate", "verdict.reasons", *columns, text]))
    by_shard: dict[int, set[int]] = {}
    for place in places:
        by_shard.setdefault(place.shard, set()).add(place.row)
    found = {}
    for index, rows in sorted(by_shard.items()):
        for row, record in rows_of(view, view.shards[index], sorted(rows), wanted):
            found[Place(index, row)] = _card(record, text, columns, characters)
    return found


def _card(record: dict[str, Any], text: str, columns: Sequence[str], characters: int) -> dict[str, Any]:
    whole = record[text] or ""
    return {
        "doc_id": record["doc_id"],
        **{name: record[name] for name in ORIGIN},
        "fate": record["verdict.fate"],
        "reasons": record["verdict.reasons"] or [],
        "values": {name: record[name] for name in columns},
        "text": whole[:characters],
        "text_characters": len(whole),
    }


def side_by_side(documents: Sequence[dict[str, Any]], ngram: int) -> list[dict[str, Any]]:
    """Cards with their text in pieces: what the first shares with any other, and each other with the first.

    `identical` says that a text is the first one's to the letter; its pieces are left out.
    """
    texts = [document["text"] for document in documents]
    found = []
    for i, document in enumerate(documents):
        against = texts[1:] if i == 0 else texts[:1]
        runs = shared_spans.compared(texts[i], against, ngram)
        same = i > 0 and texts[i] == texts[0] and document["text_characters"] == documents[0]["text_characters"]
        beyond = document["text_characters"] - len(texts[i])
        found.append(
            {
                **{k: v for k, v in document.items() if k != "text"},
                "begins": texts[i][:BEGINNING],
                "identical": same,
                "shared_fraction": shared_spans.shared_fraction(runs),
                "pieces": [] if same else shared_spans.pieces(texts[i], runs, beyond),
            }
        )
    return found
