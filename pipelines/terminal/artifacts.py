"""The artifacts of a store as a table."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import RenderableType
from rich.text import Text

from pipelines.terminal.parts import REJECTED, SOFT, plain, table

_CHARACTERS = 120


def artifacts_table(listed: Sequence[Mapping[str, Any]]) -> RenderableType:
    """Names with the newest artifact of each; what is damaged says so."""
    if not listed:
        return Text("nothing was learned yet; begin with: tamis learn", SOFT)
    made = table("name", "kind", "newest", "named", "what")
    for entry in listed:
        if entry["problem"] is not None:
            made.add_row(plain(entry["name"], "bold"), "–", "–", "–", plain(entry["problem"], REJECTED))
            continue
        named = "–"
        if entry["created"] is not None:
            named = datetime.fromtimestamp(entry["created"], UTC).strftime("%Y-%m-%d %H:%M UTC")
        made.add_row(
            plain(entry["name"], "bold"),
            plain(entry["kind"]),
            Text(entry["id"].removeprefix(f"{entry['name']}-"), SOFT),
            Text(named, SOFT),
            plain(entry["what"] or "", characters=_CHARACTERS),
        )
    return made
