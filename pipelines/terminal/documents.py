"""Documents on a terminal: a sample, and the explanation of one."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from pipelines.explain import Explanation, RuleOutcome
from pipelines.quantities import count, value
from pipelines.terminal import twins
from pipelines.terminal.parts import FATE_STYLES, KEPT, REJECTED, SOFT, plain, table
from pipelines.visible import preview

SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "eq": "=", "in": "in"}
_STATUS_STYLES = {"pass": KEPT, "fail": REJECTED, "null, dropped": REJECTED}
_BEFORE = 60  # characters shown before the first difference of a rewritten text
_BROKEN = ("fail", "null, dropped")


def documents(found: Sequence[Mapping[str, Any]], characters: int = 400) -> RenderableType:
    """Documents one below the other, each with its fate, reasons and the beginning of its text."""
    if not found:
        return Text("no such documents", SOFT)
    return Group(*(part for document in found for part in _document(document, characters)))


def explanation(it: Explanation, characters: int = 600) -> RenderableType:
    """Why one document stayed or went."""
    parts: list[RenderableType] = [_head(it)]
    if it.quarantine:
        q = it.quarantine
        parts += [
            Text(),
            plain(f"set aside by {q['step']} ({q['reason']}): {q['message']}", FATE_STYLES["quarantined"]),
        ]
    if it.position:
        parts.append(plain(_place(it.position), KEPT))
    if it.rules:
        parts += [Text(), _rules(it.rules)]
    parts += twins.section([twins.twin(found) for found in it.twins])
    parts += twins.section([twins.duplicate(found) for found in it.duplicates])
    parts += twins.section([twins.repeats(found) for found in it.repeats])
    parts += [Text(), _provenance(it.provenance)]
    if it.original is not None:
        parts += _texts(it, characters)
    return Group(*parts)


def _document(document: Mapping[str, Any], characters: int) -> list[RenderableType]:
    style = FATE_STYLES.get(document["fate"], "")
    name = document["id"] or ""
    head = Text.assemble((document["fate"], style), " ", plain(name, "bold"), " ", (document["doc_id"], SOFT))
    place = plain(f"{document['source']} · {document['path']} #{document['ordinal']}", SOFT)
    parts: list[RenderableType] = [head, place]
    if document["reasons"]:
        parts.append(plain(", ".join(document["reasons"]), style))
    body = document.get("text") or document.get("message") or ""
    parts.append(Padding(Text(preview(body, characters)), (0, 0, 1, 2)))
    return parts


def _head(it: Explanation) -> Text:
    fate = Text(it.fate, f"bold {FATE_STYLES[it.fate]}")
    why = plain(f": {', '.join(it.reasons)}") if it.reasons else Text("")
    return Text.assemble(plain(it.id or it.doc_id, "bold"), " ", (it.doc_id, SOFT), "\n", fate, why)


def _place(position: Mapping[str, Any]) -> str:
    if position["file"] is None:
        return f"document {count(position['rank'])} of the export, which is not in the store any more"
    return f"row {count(position['row'])} of {position['file']} (document {count(position['rank'])} of the export)"


def _rules(rules: Sequence[RuleOutcome]) -> RenderableType:
    made = table("", "rule", ">value", "test", "source")
    for rule in sorted(rules, key=lambda r: r.status not in _BROKEN):
        style = _STATUS_STYLES.get(rule.status, SOFT)
        made.add_row(
            Text(rule.status, style),
            Text.assemble(plain(rule.reason), "\n", plain(rule.column, SOFT)),
            plain(value(rule.value), style if rule.status in _BROKEN else "", characters=40),
            plain(threshold(rule), characters=80),
            plain(rule.cite, SOFT, characters=60),
        )
    return made


def threshold(rule: RuleOutcome) -> str:
    """`≥ 50`, `≤ p70 = 6.41 [per en]`."""
    text = f"{SYMBOLS[rule.test]} {value(rule.written)}"
    if rule.threshold != rule.written:
        text += f" = {value(rule.threshold)}"
    if rule.group is not None:
        text += f" [per {rule.group}]"
    if rule.where:
        text += " where " + " and ".join(f"{c} is {value(v)}" for c, v in rule.where.items())
    return text


def _provenance(provenance: Mapping[str, Any]) -> RenderableType:
    made = table("", "")
    made.show_header = False
    place = f"{provenance['path']} #{provenance['ordinal']} of {provenance['source']}"
    made.add_row(Text("from", SOFT), plain(place))
    for name in ("url", "lang", "license", "shard"):
        if provenance.get(name):
            made.add_row(Text(name, SOFT), plain(str(provenance[name]), characters=200))
    return made


def _texts(it: Explanation, characters: int) -> list[RenderableType]:
    parts: list[RenderableType] = [Text(), Text(f"text, {count(len(it.original or ''))} characters", SOFT)]
    parts.append(Padding(Text(preview(it.original or "", characters)), (0, 0, 0, 2)))
    if it.rewritten:
        original, leaving = it.original or "", it.leaving or ""
        pairs = zip(original, leaving, strict=False)
        same = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(original), len(leaving)))
        begin = max(0, same - _BEFORE)
        where = f", different from character {count(same)} on" if begin else ""
        parts += [Text(), Text(f"as it leaves, {count(len(leaving))} characters{where}", SOFT)]
        shown = ("…" if begin else "") + preview(leaving[begin:], characters)
        parts.append(Padding(Text(shown), (0, 0, 0, 2)))
    return parts
