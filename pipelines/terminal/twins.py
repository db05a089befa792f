"""A document's twins on a terminal: who stayed, what is nearest and how alike, and what is repeated."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pipelines.explain_twins import DuplicateOutcome, RepeatOutcome, TwinOutcome
from pipelines.quantities import count, share, size, value
from pipelines.terminal.parts import FATE_STYLES, KEPT, REJECTED, SOFT, plain, table

_SPANS = 3
_SPAN_CHARACTERS = 110


def twin(found: TwinOutcome) -> RenderableType:
    """What a choice within clusters said."""
    if found.status == "not in a cluster":
        return plain(f"{found.reason}: has no value in {found.column}, so it is nobody's copy", SOFT)
    others = (found.size or 1) - 1
    if not others:
        return plain(f"{found.reason}: alone in {found.column}, so it is nobody's copy", SOFT)
    style = {"stayed": KEPT, "another stayed": REJECTED}.get(found.status, SOFT)
    text = Text.assemble(
        plain(f"{found.reason}: ", "bold"),
        f"{count(others)} other {'copy' if others == 1 else 'copies'} in {found.column}; chosen by {found.by}; ",
        (found.status, style),
    )
    if found.stays and found.status != "stayed":
        text.append_text(plain(f": {_name(found.stays)}"))
    return text


def duplicate(found: DuplicateOutcome) -> RenderableType:
    """What one duplicate step found: the cluster, the one that stayed, the nearest, and what follows."""
    head = Text.assemble(plain(found.step, "bold"), plain(f" ({found.kind}): {_cluster(found)}", SOFT))
    rows = table("", "")
    rows.show_header = False
    stays = found.stays if found.size != 1 else None
    same = stays is not None and found.nearest is not None and stays["doc_id"] == found.nearest["doc_id"]
    if stays is not None and not same:
        rows.add_row(Text("stayed", SOFT), _document(stays, _alike(found, found.value_to_stays, "estimated", None)))
    if found.nearest is not None:
        alike = _alike(found, found.value, found.certainty, found.threshold)
        where = f"in the corpus {found.corpus}" if found.corpus else ""
        rows.add_row(Text("stayed, and nearest" if same else "nearest", SOFT), _document(found.nearest, alike, where))
    if found.rejected:
        rows.add_row(Text("rejected for it", REJECTED), plain(", ".join(found.reasons)))
    return Group(head, Padding(rows, (0, 0, 0, 2))) if rows.row_count else head


def repeats(found: RepeatOutcome) -> RenderableType:
    """How much of a document is repeated, and the first of it."""
    text = plain(found.step, "bold")
    if found.fraction is None:
        return text.append_text(plain(f" ({found.kind}): nothing to compare", SOFT))
    much = f"{share(found.fraction, 1)} of the text, {size(found.bytes or 0)} in {count(found.spans)} {'span' if found.spans == 1 else 'spans'} of {found.text}"
    text.append_text(plain(f" ({found.kind}): {much if found.spans else 'nothing is repeated'}", SOFT))
    for span in found.first[:_SPANS]:
        text.append_text(Text.assemble("\n  ", plain(f"{count(span['begin'])} to {count(span['end'])}: ", SOFT)))
        text.append_text(plain(span["text"], characters=_SPAN_CHARACTERS))
    return text


def section(parts: Sequence[RenderableType]) -> list[RenderableType]:
    """Parts one below the other, after an empty line; nothing where there are none."""
    return [Text(), *parts] if parts else []


def _cluster(found: DuplicateOutcome) -> str:
    if found.known is not None:
        return "known to the index, a Bloom filter, which names no twin" if found.known else "not known to the index"
    if found.cluster is None:
        return "not in a cluster" if found.corpus is None and found.nearest is None else "looked up"
    if found.size == 1:
        return "alone in its cluster"
    return f"one of {count(found.size or 0)} in the cluster {found.cluster}"


def _document(document: Mapping[str, Any], *notes: str) -> Text:
    text = plain(_name(document))
    if document.get("path") is not None:
        text.append_text(plain(f" · {document['path']} #{document['ordinal']} of {document['source']}", SOFT))
    if document.get("fate"):
        text.append_text(Text.assemble(" · ", (document["fate"], FATE_STYLES.get(document["fate"], ""))))
    return text.append_text(plain("".join(f" · {note}" for note in notes if note)))


def _alike(found: DuplicateOutcome, number: float | None, certainty: str, threshold: float | None) -> str:
    """`Jaccard 0.913 (estimated; linked from 0.719)`; nothing where it is not known."""
    if number is None or found.similarity is None:
        return ""
    notes = [certainty] if certainty != "exact" else []
    notes += [] if threshold is None else [f"linked from {value(threshold)}"]
    return f"{found.similarity.capitalize()} {value(number)}" + (f" ({'; '.join(notes)})" if notes else "")


def _name(document: Mapping[str, Any]) -> str:
    return f"{document['doc_id']} ({document['id'] or 'no id'})"
