"""Other thresholds next to those of the run."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pipelines.quantities import NARROW, count, share, size, value
from pipelines.terminal.parts import KEPT, REJECTED, SOFT, plain, table


def what_if(answer: Mapping[str, Any]) -> RenderableType:
    """The run as it is and as it would be: documents, text and tokens kept, and reasons, with the differences."""
    before, after = answer["before"], answer["after"]
    made = table("", ">as it is", ">as it would be", ">difference")
    for name in ("documents", "bytes", "tokens"):
        if before[name] is not None:
            show = size if name == "bytes" else count
            label = "text kept" if name == "bytes" else f"{name} kept"
            made.add_row(label, show(before[name]), show(after[name]), _change(before[name], after[name]))
    made.add_row("rejected", count(before["rejected"]), count(after["rejected"]), Text(""))
    moved = f"{count(answer['gained'])} documents would be gained, {count(answer['lost'])} lost"
    if answer["before_selection"]:
        moved += "; all counts are of what `select` chooses from"
    return Group(
        *(_rule(rule) for rule in answer["rules"]), Text(), made, Text(), plain(moved), Text(), _reasons(before, after)
    )


def _rule(rule: Mapping[str, Any]) -> Text:
    """`stats.words>=60 replaces stats.words >= 50 (gopher-quality/short-doc)`."""
    text = plain(rule["rule"], "bold")
    if rule["effect"] == "replaces":
        text.append_text(
            plain(f" replaces {', '.join(rule['was'])} ({', '.join(dict.fromkeys(rule['reasons']))})", SOFT)
        )
    else:
        text.append_text(plain(" is added; the run has no rule that bounds this column so", SOFT))
    for found in rule["thresholds"].values():
        numbers = list(found.values()) if isinstance(found, Mapping) else [found]
        known = [n for n in numbers if n is not None]
        if known:
            ends = value(known[0]) if len(known) == 1 else f"{value(min(known))} to {value(max(known))}"
            text.append_text(plain(f" = {ends}", SOFT))
    return text


def _change(before: float, after: float) -> Text:
    if before == after:
        return Text("none", SOFT)
    sign, style = ("+", KEPT) if after > before else ("−", REJECTED)
    part = f"{sign}{share(abs(after - before), before)}" if before else f"{sign}{NARROW}new"
    return Text(part, style)


def _reasons(before: Mapping[str, Any], after: Mapping[str, Any]) -> RenderableType:
    made = table("reason", ">as it is", ">as it would be", ">difference")
    for name in dict.fromkeys((*before["reasons"], *after["reasons"])):
        was, would = before["reasons"].get(name, 0), after["reasons"].get(name, 0)
        difference = (
            Text("none", SOFT) if was == would else Text(f"{would - was:+,}", REJECTED if would > was else KEPT)
        )
        made.add_row(plain(name), count(was), count(would), difference)
    return made
