"""Where the documents went: sources, fates, and the rule file that alone rejected them (or several did)."""

from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from pipelines.quantities import count, share
from pipelines.report.svg import drawing, tag
from pipelines.report.tally import SEVERAL
from pipelines.visible import one_line

_SOURCES = 7
_NODE = 10
_GAP = 16
_LEAST = 1.5
_EDGE = 10.0
_HALF_LINE = 8.0
_LABEL = 30  # characters
_LETTER = 6.9  # mean width of one, in pixels


@dataclass(slots=True)
class _Node:
    name: str
    documents: int
    class_: str
    x: float = 0
    y: float = 0
    height: float = 0
    out: float = 0  # how much of the node's height is already used by links that leave it
    into: float = 0


@dataclass(frozen=True, slots=True)
class _Link:
    start: _Node
    end: _Node
    documents: int


def sankey(report: dict[str, Any], *, width: int, sources: bool) -> Markup:
    """The drawing; a narrow one leaves the sources out. Without documents there is nothing to draw."""
    if not report["total"]["documents_in"]:
        return Markup("")
    columns, links = _graph(report, sources=sources)
    whole = max(1, report["total"]["documents_in"])
    height = max(260.0, max(len(c) for c in columns) * 34.0)
    _place(columns, whole, width, height)
    height = max(n.y + max(n.height, n.height / 2 + _HALF_LINE) for column in columns for n in column) + _EDGE
    ribbons = [_ribbon(link, whole) for link in links]
    nodes = [_node(n, whole) for column in columns for n in column]
    total = report["total"]
    label = (
        f"Flow of {count(total['documents_in'])} documents: {count(total['exported'])} exported, "
        f"{count(total['rejected'])} rejected, {count(total['quarantined'])} quarantined"
    )
    return drawing(width, height, label, *ribbons, *nodes, class_="sankey " + ("wide" if sources else "narrow"))


def _graph(report: dict[str, Any], *, sources: bool) -> tuple[list[list[_Node]], list[_Link]]:
    total = report["total"]
    fates = {
        "kept": _Node("exported", total["exported"], "kept"),
        "rejected": _Node("rejected", total["rejected"], "rejected"),
        "quarantined": _Node("quarantined", total["quarantined"], "quarantined"),
    }
    fates = {k: n for k, n in fates.items() if n.documents}
    ends = [_Node(f"only {g['group']}", g["only"], "rejected") for g in report["groups"] if g["only"]]
    if report["several_groups"]["documents"]:
        ends.append(_Node(SEVERAL, report["several_groups"]["documents"], "rejected"))
    ends.sort(key=lambda n: -n.documents)
    links = [_Link(fates["rejected"], end, end.documents) for end in ends]
    columns = [list(fates.values()), ends]
    if sources:
        starts, more = _sources(report["sources"], fates)
        columns.insert(0, starts)
        links = more + links
    return [c for c in columns if c], links


def _sources(table: list[dict[str, Any]], fates: dict[str, _Node]) -> tuple[list[_Node], list[_Link]]:
    shown = table if len(table) <= _SOURCES + 1 else table[:_SOURCES]
    rest = table[len(shown) :]
    rows = list(shown)
    if rest:
        keys = ("documents", "kept", "rejected", "quarantined")
        rows.append({"name": f"{len(rest)} more sources", **{k: sum(r[k] for r in rest) for k in keys}})
    nodes, links = [], []
    for row in rows:
        node = _Node(row["name"], row["documents"], "source")
        nodes.append(node)
        links += [_Link(node, end, row[fate]) for fate, end in fates.items() if row[fate]]
    return nodes, links


def _place(columns: list[list[_Node]], whole: int, width: float, height: float) -> None:
    longest = max(len(one_line(n.name, _LABEL)) + len(count(n.documents)) for n in columns[-1])
    margin = min(width * 0.6, 12 + _LETTER * longest)
    step = (width - margin - _NODE) / max(1, len(columns) - 1)
    inside = height - 2 * _EDGE
    room = inside - _GAP * (max(len(c) for c in columns) - 1)
    for i, column in enumerate(columns):
        heights = [max(_LEAST, room * n.documents / whole) for n in column]
        used = sum(heights) + _GAP * (len(column) - 1)
        last = i == len(columns) - 1 and i > 0
        slack = max(0.0, inside - used)
        y = _EDGE + (slack if last else slack / 2 if i == 1 else 0.0)
        for node, tall in zip(column, heights, strict=True):
            node.x, node.y, node.height = i * step, y, tall
            y += tall + _GAP


def _ribbon(link: _Link, whole: int) -> Markup:
    scale_start = link.start.height / max(1, link.start.documents)
    scale_end = link.end.height / max(1, link.end.documents)
    tall_start, tall_end = link.documents * scale_start, link.documents * scale_end
    x0, x1 = link.start.x + _NODE, link.end.x
    a, b = link.start.y + link.start.out, link.end.y + link.end.into
    link.start.out += tall_start
    link.end.into += tall_end
    bend = (x0 + x1) / 2
    path = (
        f"M{x0:.1f},{a:.1f}C{bend:.1f},{a:.1f} {bend:.1f},{b:.1f} {x1:.1f},{b:.1f}"
        f"L{x1:.1f},{b + tall_end:.1f}C{bend:.1f},{b + tall_end:.1f} {bend:.1f},{a + tall_start:.1f} {x0:.1f},{a + tall_start:.1f}Z"
    )
    text = f"{link.start.name} → {link.end.name}: {count(link.documents)} documents ({share(link.documents, whole)})"
    return tag("path", tag("title", text), d=path, class_=f"ribbon {link.end.class_}")


def _node(node: _Node, whole: int) -> Markup:
    middle = node.y + node.height / 2
    text = tag(
        "text",
        tag("tspan", one_line(node.name, _LABEL), class_="name"),
        tag("tspan", f" {count(node.documents)}", class_="amount"),
        x=node.x + _NODE + 6,
        y=middle + 4,
    )
    title = tag("title", f"{node.name}: {count(node.documents)} documents ({share(node.documents, whole)})")
    rect = tag("rect", title, x=node.x, y=node.y, width=_NODE, height=node.height, class_=f"node {node.class_}")
    return rect + text
