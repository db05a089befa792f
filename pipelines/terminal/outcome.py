"""The outcome of a run: how many documents went in, were set aside, rejected and exported, and for which reasons."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from pipelines.quantities import count, duration, share, size
from pipelines.terminal.parts import KEPT, QUARANTINED, REJECTED, SOFT, Bar, plain, table

REASONS_SHOWN = 20


def funnel(
    run: str,
    ledger: Mapping[str, Any],
    *,
    export: str | None = None,
    report: str | None = None,
    shown: int = REASONS_SHOWN,
) -> RenderableType:
    """The funnel of a finished run, its reasons with bars, and where the export and the report are."""
    parts: list[RenderableType] = [Text(), _fates(ledger["total"]), Text()]
    if ledger.get("reasons"):
        parts += [_reasons(ledger, shown), Text()]
    return Group(*parts, *_places(run, export, report, ledger["total"]))


def runs(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """The runs of a store, the latest last."""
    if not listed:
        return Text("no runs yet; begin with: tamis run SPEC", SOFT)
    made = table("run", "state", "begun", ">in", ">exported", ">text out")
    for entry in listed:
        total = entry["total"]
        begun = datetime.fromtimestamp(entry["created"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        numbers = ("–",) * 3
        if total:
            numbers = (count(total["documents_in"]), count(total["exported"]), size(total["bytes_exported"]))
        made.add_row(plain(entry["run"]), entry["state"], begun, *numbers)
    return made


def _fates(total: Mapping[str, Any]) -> RenderableType:
    into = total["documents_in"]
    made = table("", ">documents", "", ">", ">text")
    made.show_header = False
    made.add_row("in", count(into), Bar([(into, SOFT)], into, 32), "", size(total["bytes_in"]))
    for name, style in (("quarantined", QUARANTINED), ("rejected", REJECTED), ("exported", KEPT)):
        n = total[name]
        text = size(total["bytes_exported"]) if name == "exported" else ""
        made.add_row(Text(name, style), count(n), Bar([(n, style)], into, 32), share(n, into), text)
    if total.get("tokens_exported") is not None:
        made.add_row("", "", "", "", f"{count(total['tokens_exported'])} tokens")
    return made


def _reasons(ledger: Mapping[str, Any], shown: int) -> RenderableType:
    details: Mapping[str, Any] = ledger.get("verdict", {}).get("reasons", {})
    order = sorted(ledger["reasons"].items(), key=lambda item: (-item[1], item[0]))
    hit = [(name, n) for name, n in order if n]
    most = hit[0][1] if hit else 1
    made = table("reason", "", ">documents", ">only this", ">text")
    for name, n in hit[:shown]:
        more = details.get(name, {})
        alone = more.get("alone", 0)
        made.add_row(
            plain(name),
            Bar([(alone, REJECTED), (n - alone, f"{REJECTED} dim")], most),
            count(n),
            count(alone) if more else "–",
            size(more["bytes"]) if "bytes" in more else "–",
        )
    if len(hit) > shown:
        made.add_row(Text(f"and {len(hit) - shown} more", SOFT))
    idle = len(order) - len(hit)
    if idle:
        made.add_row(Text(f"{idle} {'other ' if hit else ''}reason{'s' if idle > 1 else ''} rejected nothing", SOFT))
    return made


def _places(run: str, export: str | None, report: str | None, total: Mapping[str, Any]) -> list[RenderableType]:
    made = table("", "")
    made.show_header = False
    made.add_row(Text("run", SOFT), plain(run))
    if export:
        made.add_row(Text("export", SOFT), plain(export))
    if report:
        made.add_row(Text("report", SOFT), plain(report))
    cost = f"{duration(total['seconds'])}, {duration(total['cpu_seconds'])} of processor time"
    made.add_row(Text("took", SOFT), f"{cost}, at most {size(total['peak_memory_bytes'])} of memory in one process")
    return [made]
